//! Replicas come and go while the cluster serves.

use kontiki_tests::{LocalCluster, eventually};
use serde_json::Value;

fn members(cluster: &LocalCluster) -> Option<Vec<Value>> {
    cluster.status()?["members"].as_array().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_on_request() {
    let cluster = LocalCluster::up(3, 0);
    let leader = cluster.leader().await;
    let next = leader % 3 + 1;
    let output = cluster.kontiki(&["member", "transfer", &next.to_string()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eventually("the chosen replica leads", || async {
        (cluster.status()?["leaderId"].as_u64()? == u64::from(next)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_replica_no_longer_counts() {
    let cluster = LocalCluster::up(3, 0);
    let leader = cluster.leader().await;
    let removed = leader % 3 + 1;
    let output = cluster.kontiki(&["member", "remove", &removed.to_string()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eventually("two members are left", || async {
        (members(&cluster)?.len() == 2).then_some(())
    })
    .await;
    let output = cluster.kontiki(&["member", "remove", "99"]);
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("99") && complaint.trim().lines().count() == 1,
        "{complaint}"
    );
}
