//! Neither an agent's nor the control plane's death touches a running container.

use std::time::Duration;

use kontiki_tests::{LocalCluster, eventually, eventually_within};
use nix::sys::signal::Signal;

use crate::workload::{containers, get, manifest, node_port, pods, wait_ready};

const NODE_PORT: u16 = 31081;
/// How long the control plane is away: longer than any grace period of a node.
const AWAY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_adopts_what_runs() {
    let cluster = LocalCluster::up(1, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(&manifest("web", 3, NODE_PORT)).await.unwrap();
    wait_ready(&kubectl, "web", 3).await;
    let before = containers(&cluster);
    assert_eq!(
        before.len(),
        6,
        "three pods with their pause containers: {before:?}"
    );
    for _ in 0..3 {
        cluster.signal("node-1", Signal::SIGKILL).await;
        assert_eq!(
            containers(&cluster),
            before,
            "containers outlive their agent"
        );
        cluster.up_again();
        // A change made now is acted on: the new agent is at work.
        kubectl
            .run(&["scale", "deployment/web", "--replicas=4"])
            .await
            .unwrap();
        wait_ready(&kubectl, "web", 4).await;
        let after = containers(&cluster);
        assert!(
            before
                .iter()
                .all(|container| after.iter().any(|other| other == container))
        );
        assert_eq!(after.len(), 8, "no duplicates: {after:?}");
        kubectl
            .run(&["scale", "deployment/web", "--replicas=3"])
            .await
            .unwrap();
        eventually("the newest pod is gone", || async {
            (containers(&cluster).len() == 6).then_some(())
        })
        .await;
        assert_eq!(containers(&cluster), before);
    }
    assert!(
        pods(&kubectl, "web")
            .await
            .iter()
            .all(|pod| { pod["status"]["containerStatuses"][0]["restartCount"] == 0 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_run_on_without_a_control_plane() {
    let cluster = LocalCluster::up(3, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(&manifest("web", 2, NODE_PORT)).await.unwrap();
    wait_ready(&kubectl, "web", 2).await;
    let address = node_port(NODE_PORT);
    eventually("the service answers", || get(&address)).await;
    let before = containers(&cluster);
    for server in 1..=3 {
        cluster
            .signal(&format!("server-{server}"), Signal::SIGKILL)
            .await;
    }
    let away_since = tokio::time::Instant::now();
    eventually_within(3 * AWAY, "the service answers all the while", || async {
        assert!(
            get(&address).await.is_some(),
            "no answer after {:?}",
            away_since.elapsed()
        );
        (away_since.elapsed() >= AWAY).then_some(())
    })
    .await;
    assert_eq!(containers(&cluster), before);
    cluster.up_again();
    wait_ready(&kubectl, "web", 2).await;
    assert_eq!(
        containers(&cluster),
        before,
        "the state agrees with what ran on"
    );
    let pods = pods(&kubectl, "web").await;
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| pod["status"]["phase"] == "Running"));
}
