//! A rolling update of six pods under load fails no request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kontiki_base::task::{TaskKind, spawn};
use kontiki_tests::{LocalCluster, eventually};

use crate::workload::{get, manifest, node_port, wait_ready};

const REPLICAS: u64 = 6;
const NODE_PORT: u16 = 31080;
/// Eight clients, each a request every 100 ms at most: at least 50 a second.
const CLIENTS: usize = 8;
const PACE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_during_a_rolling_update() {
    let cluster = LocalCluster::up(3, 2);
    let kubectl = cluster.kubectl();
    kubectl
        .apply(&manifest("web", REPLICAS as u32, NODE_PORT))
        .await
        .unwrap();
    wait_ready(&kubectl, "web", REPLICAS).await;
    let address = node_port(NODE_PORT);
    let seen = eventually("requests reach every pod", || async {
        let mut seen = BTreeSet::new();
        for _ in 0..REPLICAS * 10 {
            seen.insert(get(&address).await?);
        }
        (seen.len() as u64 == REPLICAS).then_some(seen)
    })
    .await;
    assert!(seen.iter().all(|body| body.contains("v1")), "{seen:?}");

    let (stop, n_sent, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, n_sent, failed) = (stop.clone(), n_sent.clone(), failed.clone());
            let address = address.clone();
            spawn(TaskKind::Command, async move {
                let mut tick = tokio::time::interval(PACE);
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    n_sent.fetch_add(1, Ordering::Relaxed);
                    if get(&address).await.is_none() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    kubectl
        .run(&["set", "image", "deployment/web", "web=kontiki-sample:v2"])
        .await
        .unwrap();
    kubectl
        .run(&["rollout", "status", "deployment/web", "--timeout=120s"])
        .await
        .unwrap();
    eventually("only v2 answers", || async {
        let mut all_new = true;
        for _ in 0..REPLICAS * 5 {
            all_new &= get(&address).await?.contains("v2");
        }
        all_new.then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (sent, failed) = (
        n_sent.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
    );
    assert!(sent > 100, "only {sent} requests were sent");
    assert_eq!(failed, 0, "of {sent} requests");

    let history = kubectl
        .run(&["rollout", "history", "deployment/web"])
        .await
        .unwrap();
    assert!(history.contains('2'), "{history}");
    kubectl
        .run(&["rollout", "undo", "deployment/web"])
        .await
        .unwrap();
    kubectl
        .run(&["rollout", "status", "deployment/web", "--timeout=120s"])
        .await
        .unwrap();
    let body = get(&address).await.unwrap_or_default();
    assert!(body.contains("v1") || body.contains("v2"), "{body}");
}
