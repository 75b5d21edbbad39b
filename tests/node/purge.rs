//! `kontiki down --purge` leaves the machine as it was.

use std::process::Command;

use kontiki_tests::LocalCluster;

use crate::workload::{containers, manifest, wait_ready};

const NODE_PORT: u16 = 31082;

/// Links, rules, namespaces and processes of this machine, in a comparable form.
fn machine() -> Vec<String> {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut lines: Vec<String> = run("ip", &["-br", "link"])
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| format!("link {name}"))
        .collect();
    lines.extend(
        run("nft", &["list", "tables"])
            .lines()
            .map(|table| format!("nft {table}")),
    );
    lines.extend(
        run("ip", &["route"])
            .lines()
            .map(|route| format!("route {}", route.trim_end())),
    );
    lines.extend(
        run("iptables-save", &[])
            .lines()
            .filter(|l| l.starts_with("-A"))
            .map(Into::into),
    );
    lines.extend(
        run("ip", &["netns", "list"])
            .lines()
            .map(|name| format!("netns {name}")),
    );
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_leaves_no_trace() {
    let before = machine();
    let cluster = LocalCluster::up(3, 2);
    let kubectl = cluster.kubectl();
    kubectl.apply(&manifest("web", 4, NODE_PORT)).await.unwrap();
    wait_ready(&kubectl, "web", 4).await;
    assert_ne!(machine(), before, "a running cluster shows");
    let settings = cluster.settings();
    assert!(!containers(&cluster).is_empty());
    let output = cluster.kontiki(&["down", "--purge"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(machine(), before);
    let filter = format!("label=kontiki.cluster={}", settings.cluster_id);
    let left = Command::new("docker")
        .args(["ps", "-aq", "--filter", &filter])
        .output()
        .unwrap();
    assert!(
        left.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&left.stdout)
    );
    assert!(!cluster.layout.dir().exists());
}
