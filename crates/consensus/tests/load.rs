//! Throughput and latency of proposals and reads, printed; asserts only what must hold on any machine.

#![allow(clippy::unwrap_used)]

#[path = "common/cluster.rs"]
mod common;

use std::time::Duration;

use common::{Cluster, create};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_consensus::Lane;
use tokio::time::Instant;

fn percentile(samples: &mut [Duration], part: f64) -> Duration {
    samples.sort();
    samples[((samples.len() - 1) as f64 * part) as usize]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_of_many_callers_share_entries_and_syncs() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let before = cluster.get(leader).status().last_log_index;
    for (label, id, callers, each) in [
        ("leader", leader, 1, 100),
        ("leader", leader, 64, 50),
        ("follower", follower, 64, 50),
    ] {
        let began = Instant::now();
        let tasks = (0..callers).map(|caller| {
            let replica = cluster.get(id).clone();
            spawn(TaskKind::Command, async move {
                let mut latencies = Vec::new();
                for n in 0..each {
                    let began = Instant::now();
                    let name = format!("{label}-{callers}-{caller}-{n}");
                    let results = replica.propose(create(&name), Lane::User).await.unwrap();
                    assert!(results[0].is_done());
                    latencies.push(began.elapsed());
                }
                latencies
            })
        });
        let mut latencies: Vec<Duration> = futures::future::join_all(tasks)
            .await
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
        let rate = latencies.len() as f64 / began.elapsed().as_secs_f64();
        let (p50, p99) = (
            percentile(&mut latencies, 0.5),
            percentile(&mut latencies, 0.99),
        );
        println!("{callers} callers on the {label}: {rate:.0}/s, p50 {p50:?}, p99 {p99:?}");
    }
    let entries = cluster.get(leader).status().last_log_index - before;
    assert!(
        entries < 100 + 6400 / 2,
        "{entries} entries for 6500 proposals: batching is broken"
    );
    let mut reads = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        cluster.get(follower).read_barrier().await.unwrap();
        reads.push(began.elapsed());
    }
    let (p50, p99) = (percentile(&mut reads, 0.5), percentile(&mut reads, 0.99));
    println!("read barrier on a follower: p50 {p50:?}, p99 {p99:?}; {entries} entries");
    cluster.assert_equal().await;
}
