//! A leader that is gone is succeeded at once, however long its lease.

#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod common;

use std::time::Duration;

use common::{Cluster, PATIENCE, key};
use kontiki_consensus::{Consensus, Timing};

/// Nobody stands for election by time while these tests run.
const FOR_EVER: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_secs(3600),
    election_max: Duration::from_secs(7200),
    stalled_sync: Duration::from_secs(60),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_ended_is_succeeded_before_its_lease_is_over() {
    let mut cluster = Cluster::empty(FOR_EVER);
    // A runtime of its own, whose end takes the leader's tasks and sockets away as a kill does.
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let starting = process.handle().spawn(Consensus::start(cluster.config(1)));
    cluster.join(1, starting.await.unwrap().unwrap());
    cluster.launch(2).await;
    cluster.launch(3).await;
    cluster.bootstrap().await;
    assert_eq!(cluster.leader().await, 1);
    cluster.write(2, "before").await.unwrap();

    process.shutdown_background();
    cluster.replicas[0] = None;
    // The proposal waits for a leader, and finds the new one.
    let written = tokio::time::timeout(PATIENCE, cluster.write(3, "after"));
    assert!(written.await.unwrap().unwrap()[0].is_done());
    for id in [2, 3] {
        cluster.read(id).await;
        let snapshot = cluster.get(id).store().snapshot();
        assert!(snapshot.get(&key("before")).is_some() && snapshot.get(&key("after")).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_follower_changes_no_leader() {
    let mut cluster = Cluster::empty(FOR_EVER);
    for id in 1..=3 {
        cluster.launch(id).await;
    }
    cluster.bootstrap().await;
    let before = *cluster.get(1).leadership().borrow();
    cluster.stop(3).await;
    cluster.write(2, "without-3").await.unwrap();
    cluster.launch(3).await;
    cluster.read(3).await;
    for replica in cluster.running() {
        let now = *replica.leadership().borrow();
        assert_eq!((now.term, now.leader), (before.term, Some(1)));
    }
}
