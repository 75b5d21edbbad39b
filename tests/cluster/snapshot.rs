//! Snapshots: saved, inspected, restored into a new cluster; a flipped bit is found.

use kontiki_tests::LocalCluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_restores_and_a_damaged_one_is_refused() {
    let cluster = LocalCluster::up(1, 0);
    let kubectl = cluster.kubectl();
    kubectl
        .apply("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"kept\"}}")
        .await
        .unwrap();
    let file = cluster.scratch().join("cluster.snapshot");
    let path = file.to_str().unwrap();
    let output = cluster.kontiki(&["snapshot", "save", path]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = cluster.kontiki(&["snapshot", "status", path, "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(status["revision"].as_u64().unwrap() > 0, "{status}");

    let restored = cluster.scratch().join("restored");
    let folder = restored.to_str().unwrap();
    let output = cluster.kontiki(&["snapshot", "restore", path, "--to", folder]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = cluster.kontiki(&["snapshot", "restore", path, "--to", folder]);
    assert!(
        !output.status.success(),
        "a folder that holds data is refused"
    );

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = cluster.scratch().join("damaged.snapshot");
    std::fs::write(&damaged, bytes).unwrap();
    let other = cluster.scratch().join("other");
    let args = [
        "snapshot",
        "restore",
        damaged.to_str().unwrap(),
        "--to",
        other.to_str().unwrap(),
    ];
    let output = cluster.kontiki(&args);
    assert!(!output.status.success(), "a flipped bit is refused");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(complaint.trim().lines().count(), 1, "{complaint}");
    assert!(
        !other.join("store/state").exists(),
        "nothing is left of a refused restore"
    );
}
