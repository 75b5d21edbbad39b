//! Encryption at rest over a cluster: nothing to be read on any disk, keys that change while everybody writes, replicas
//! that come late, keys that are missing.

#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod common;

use std::path::Path;

use common::{Cluster, PATIENCE, key};
use kontiki_consensus::{Config, Consensus, Encryption, ReplicaId, Resources, Retention, Sealing};

const SHORT: Retention = Retention {
    snapshot_entries: 20,
    keep_entries: 5,
};
/// In every object that these tests write (`common::sized`), as the first of its data.
const CANARY: &[u8] = b"\"data\":\"x";

/// Whether bytes are in any file below a folder.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        // RocksDB removes files meanwhile.
        let content = std::fs::read(path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// Waits until a replica's disk agrees with a rotation, and tells how it stands.
async fn settled(replica: &Consensus, rotation: u64) -> Encryption {
    let settled = async {
        loop {
            let status = replica.encryption().await.unwrap();
            if status.settled && status.rotation >= rotation {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    settled.expect("all records under one key")
}

async fn fill(cluster: &Cluster, through: ReplicaId, names: std::ops::Range<u32>) {
    for n in names {
        cluster.write(through, &format!("c{n}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_on_under_writes_and_reaches_a_replica_that_was_away() {
    let mut cluster = Cluster::with(3, SHORT).await;
    fill(&cluster, 1, 0..50).await;
    let mut before = Vec::new();
    for replica in cluster.running() {
        before.push(settled(replica, 0).await.keys[0].id);
    }
    assert!(
        before[0] != before[1] && before[1] != before[2],
        "keys are each one's own"
    );
    let away = cluster.follower().await;
    cluster.stop(away).await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.get(leader).rotate_keys().await, Ok(1));
    fill(&cluster, leader, 50..120).await;
    for replica in cluster.running() {
        let status = settled(replica, 1).await;
        assert_eq!(status.keys.len(), 1, "the old key is gone");
        assert!(!before.contains(&status.keys[0].id));
        assert_eq!(status.objects.sealed.get(&status.keys[0].id), Some(&120));
        assert!(status.entries.sealed.keys().eq([&status.keys[0].id]));
    }
    cluster.launch(away).await;
    cluster.read(away).await;
    let status = settled(cluster.get(away), 1).await;
    assert!(!before.contains(&status.keys[0].id));
    assert_eq!(status.objects.sealed, [(status.keys[0].id, 120)].into());
    cluster.assert_equal().await;
    assert!(
        !holds(cluster.root.path(), CANARY),
        "nothing to be read on any disk"
    );
    // All of them from what is on their disks.
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.launch(id).await;
    }
    cluster.read(1).await;
    assert!(
        cluster
            .get(1)
            .store()
            .snapshot()
            .get(&key("c119"))
            .is_some()
    );
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_came_by_a_snapshot_keeps_none_of_the_senders_keys() {
    let mut cluster = Cluster::with(1, SHORT).await;
    fill(&cluster, 1, 0..60).await;
    cluster.get(1).rotate_keys().await.unwrap();
    let sender = settled(cluster.get(1), 1).await.keys[0].id;
    cluster.get(1).trigger_snapshot().await;
    while cluster.get(1).status().purged_index == 0 {
        cluster.read(1).await;
    }
    cluster.launch(2).await;
    cluster.get(1).add_learner(cluster.member(2)).await.unwrap();
    assert!(
        cluster.get(2).status().snapshot_index > 0,
        "it came as a snapshot"
    );
    let status = settled(cluster.get(2), 1).await;
    assert!(status.keys.len() == 1 && status.keys[0].id != sender);
    cluster.stop(2).await;
    cluster.launch(2).await;
    cluster.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_data_of_older_builds_is_sealed_and_can_be_made_plain_again() {
    let mut cluster = Cluster::with(1, SHORT).await;
    let with = |cluster: &Cluster, resources| {
        let sealing = Sealing {
            resources,
            ..cluster.sealing(1)
        };
        Config {
            sealing,
            ..cluster.config(1)
        }
    };
    for (resources, n, readable) in [
        (Resources::NONE, 30, true),
        (Resources::exactly(["configmaps"]), 60, false),
        (Resources::NONE, 90, true),
    ] {
        cluster.stop(1).await;
        let replica = Consensus::start(with(&cluster, resources)).await.unwrap();
        cluster.join(1, replica);
        cluster.read(1).await;
        fill(&cluster, 1, n - 30..n).await;
        settled(cluster.get(1), 0).await;
        cluster.get(1).store().validate().unwrap();
        assert_eq!(
            cluster.get(1).store().snapshot().count("configmaps"),
            n as usize
        );
        assert_eq!(holds(&cluster.dir(1), CANARY), readable, "after {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_wrong_key_is_named_and_nothing_starts() {
    let mut cluster = Cluster::start(1).await;
    fill(&cluster, 1, 0..3).await;
    let id = cluster.get(1).encryption().await.unwrap().keys[0]
        .id
        .to_string();
    cluster.stop(1).await;
    let keyring = cluster.sealing(1).keyring;
    let good = std::fs::read_to_string(&keyring).unwrap();
    let refused = async || {
        let started = Consensus::start(cluster.config(1)).await;
        let error = started.err().unwrap().to_string();
        assert!(error.contains(&id) && error.lines().count() == 1, "{error}");
        error
    };
    std::fs::remove_file(&keyring).unwrap();
    let error = refused().await;
    assert!(error.contains(&keyring.display().to_string()), "{error}");
    assert!(!keyring.exists(), "no new keyring hides it");
    let secret = good.rsplit(' ').nth(1).unwrap();
    let zero = "0".repeat(secret.len());
    std::fs::write(&keyring, good.replace(secret, &zero)).unwrap();
    let error = refused().await;
    assert!(
        error.contains("not that of key") && !error.contains(&zero),
        "{error}"
    );
    std::fs::write(&keyring, &good).unwrap();
    cluster.launch(1).await;
    cluster.read(1).await;
}
