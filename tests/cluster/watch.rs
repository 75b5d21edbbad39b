//! A watch that loses its replica goes on at another: no gap, no duplicate, no relist.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kontiki::https::Client;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_tests::LocalCluster;
use nix::sys::signal::Signal;
use serde_json::json;

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const N_WRITES: usize = 300;
const KILL_AFTER: usize = 100;

/// Writes `w-0`, `w-1`, ... through a replica that lives, each until it is there.
async fn write_all(client: Client, n_written: Arc<std::sync::atomic::AtomicUsize>) {
    for idx in 0..N_WRITES {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("w-{idx:04}") },
        });
        loop {
            let Ok(mut connection) = client.connect().await else {
                continue;
            };
            let sent = connection
                .send("POST", PATH, Bytes::from(body.to_string()))
                .await;
            // After an unknown outcome the name may be taken: by this very write.
            if sent.is_ok_and(|answer| matches!(answer.code, 201 | 409)) {
                break;
            }
        }
        n_written.store(idx + 1, Ordering::Relaxed);
    }
}

/// Reads a watch of one replica line by line until `enough`, noting name and revision of each event.
async fn follow(
    client: &Client,
    from: &str,
    seen: &mut Vec<(String, u64)>,
    enough: impl Fn(&[(String, u64)]) -> bool,
) -> Result<(), u64> {
    let path = format!("{PATH}?watch=true&resourceVersion={from}&allowWatchBookmarks=true");
    let mut connection = client.connect().await.map_err(|_| 0u64)?;
    let mut lines = connection.stream(&path).await.map_err(|_| 0u64)?;
    while let Ok(Some(line)) = lines.next_line().await {
        let event: serde_json::Value = serde_json::from_slice(&line).unwrap();
        match event["type"].as_str().unwrap() {
            "ADDED" => {
                let metadata = &event["object"]["metadata"];
                let revision = metadata["resourceVersion"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                seen.push((metadata["name"].as_str().unwrap().to_owned(), revision));
            }
            "ERROR" => return Err(event["object"]["code"].as_u64().unwrap()),
            _ => {}
        }
        if enough(seen) {
            return Ok(());
        }
    }
    Err(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_on_another_replica_without_a_relist() {
    let cluster = LocalCluster::up(3, 0);
    let leader = cluster.leader().await;
    let other = leader % 3 + 1;
    let list = cluster
        .client_of(leader)
        .get(PATH)
        .await
        .unwrap()
        .json()
        .unwrap();
    let start = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let n_written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let writer = spawn(
        TaskKind::Command,
        write_all(cluster.client_of(other), n_written.clone()),
    );
    let killed = AtomicBool::new(false);
    let mut seen = Vec::new();
    // First on the leader, until it is killed in the middle of the writes.
    let first = follow(&cluster.client_of(leader), &start, &mut seen, |seen| {
        if seen.len() >= KILL_AFTER && !killed.swap(true, Ordering::Relaxed) {
            let pid = cluster.process(&format!("server-{leader}")).pid().unwrap();
            nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
        }
        false
    })
    .await;
    assert_eq!(
        first,
        Err(0),
        "the watch of the killed leader ends without a 410"
    );
    assert!(killed.load(Ordering::Relaxed));
    let is_last = |seen: &[(String, u64)]| {
        seen.last()
            .is_some_and(|(name, _)| *name == format!("w-{:04}", N_WRITES - 1))
    };
    let from = seen.last().unwrap().1.to_string();
    let second = follow(&cluster.client_of(other), &from, &mut seen, is_last).await;
    assert_eq!(second, Ok(()), "the resumed watch needs no relist");
    writer.await.unwrap();
    let names: Vec<&str> = seen
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.starts_with("w-"))
        .collect();
    let wanted: Vec<String> = (0..N_WRITES).map(|idx| format!("w-{idx:04}")).collect();
    assert_eq!(names, wanted, "every event once, in order");
    assert!(
        seen.windows(2).all(|pair| pair[0].1 < pair[1].1),
        "revisions grow"
    );
}
