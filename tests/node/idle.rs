//! What a cluster takes while nobody asks anything of it: memory of its own, and entries of the log. Processor time and the
//! pages of the binary depend on how it was built: `kontiki bench idle` shows them.

use std::time::Duration;

use kontiki_tests::{Kubectl, LocalCluster, eventually_within};

/// Memory that a replica allocates, half of what it may take in all.
const REPLICA_BYTES: u64 = 30_000_000;
/// The same of an agent.
const AGENT_BYTES: u64 = 15_000_000;
/// Heartbeats come every ten seconds; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The moment of a node's last heartbeat, as its Lease tells it on a replica that has heard it.
async fn heartbeat(kubectl: &Kubectl) -> Option<String> {
    let lease = ["get", "lease", "node-1", "--namespace", "kube-node-lease"];
    let lease = kubectl.json(&lease).await.ok()?;
    Some(lease["spec"]["renewTime"].as_str()?.to_owned())
}

async fn next_heartbeat(kubectl: &Kubectl) {
    let seen = eventually_within(PATIENCE, "a heartbeat", || heartbeat(kubectl)).await;
    eventually_within(PATIENCE, "the next heartbeat", || async {
        (heartbeat(kubectl).await? > seen).then_some(())
    })
    .await;
}

fn allocated_bytes(cluster: &LocalCluster, process: &str) -> u64 {
    let pid = cluster.process(process).pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_cluster_writes_nothing_and_holds_little() {
    let cluster = LocalCluster::up(3, 2);
    let kubectl = cluster.kubectl();
    eventually_within(
        PATIENCE,
        "heartbeats that nothing is written for",
        || async {
            let before = cluster.status()?["lastLogIndex"].as_u64()?;
            next_heartbeat(&kubectl).await;
            next_heartbeat(&kubectl).await;
            let after = cluster.status()?["lastLogIndex"].as_u64()?;
            (before == after).then_some(())
        },
    )
    .await;
    for (names, limit) in [
        (
            ["server-1", "server-2", "server-3"].as_slice(),
            REPLICA_BYTES,
        ),
        (["node-1", "node-2"].as_slice(), AGENT_BYTES),
    ] {
        for name in names {
            let held = allocated_bytes(&cluster, name);
            assert!(held <= limit, "{name} holds {held} bytes");
        }
    }
}
