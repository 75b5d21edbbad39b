//! Snapshots: saved with the cluster's keys, inspected, restored into a new cluster; a flipped bit is found.

use std::os::unix::fs::PermissionsExt as _;

use kontiki::join::SERVER_FILES;
use kontiki::server::KEYRING;
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
    let mut keys = SERVER_FILES.to_vec();
    keys.push(KEYRING);
    keys.sort_unstable();
    assert_eq!(status["keys"], serde_json::json!(keys));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys and Secrets");

    let restored = cluster.scratch().join("restored");
    let folder = restored.to_str().unwrap();
    let output = cluster.kontiki(&["snapshot", "restore", path, "--to", folder]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for name in keys {
        let key = std::fs::metadata(restored.join("pki").join(name)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let output = cluster.kontiki(&["snapshot", "restore", path, "--to", folder]);
    assert!(
        !output.status.success(),
        "a folder that holds data is refused"
    );
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains("is not empty"), "{complaint}");

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
    assert!(!other.exists(), "nothing is left of a refused restore");
}
