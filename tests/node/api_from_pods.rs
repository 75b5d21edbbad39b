//! A pod reaches the API by the Service `kubernetes`, also of replicas that listen on loopback otherwise.

use std::process::Command;

use kontiki_tests::{Kubectl, LocalCluster, eventually};
use nix::sys::signal::Signal;

use crate::workload::{containers, manifest, wait_ready};

const NODE_PORT: u16 = 31085;

/// The service's address, once it is there.
async fn service_ip(kubectl: &Kubectl) -> String {
    eventually("the service is made", || async {
        let service = kubectl.json(&["get", "service", "kubernetes"]).await.ok()?;
        service["spec"]["clusterIP"].as_str().map(str::to_owned)
    })
    .await
}

/// What `/livez` of the API says to a container's network namespace, its certificate checked.
fn livez(cluster: &LocalCluster, container: &str, ip: &str) -> Option<String> {
    let inspected = Command::new("docker")
        .args(["inspect", "-f", "{{.State.Pid}}", container])
        .output()
        .unwrap();
    let pid = String::from_utf8(inspected.stdout).unwrap();
    let output = Command::new("nsenter")
        .args(["--target", pid.trim(), "--net", "curl", "-sS", "-m", "5"])
        .arg("--cacert")
        .arg(cluster.layout.pki().join("api-ca.crt"))
        .arg(format!("https://{ip}/livez"))
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reaches_the_api_also_after_a_leader_kill() {
    let cluster = LocalCluster::up(3, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(&manifest("web", 1, NODE_PORT)).await.unwrap();
    wait_ready(&kubectl, "web", 1).await;
    let ip = service_ip(&kubectl).await;
    let container = containers(&cluster).into_keys().next().unwrap();
    let reached = || async { livez(&cluster, &container, &ip) };
    assert_eq!(eventually("the API answers", reached).await, "ok");

    let leader = cluster.leader().await;
    cluster
        .signal(&format!("server-{leader}"), Signal::SIGKILL)
        .await;
    assert_eq!(eventually("another replica answers", reached).await, "ok");
}
