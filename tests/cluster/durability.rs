//! An acknowledged write is on a quorum's disk: it survives any kill.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kontiki::https::Client;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_tests::{LocalCluster, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

const WRITERS: usize = 4;
const KILLS_OF_EACH: usize = 10;
const KILLS_OF_ALL: usize = 3;
/// Writes between two faults, so that each fault meets load.
const WRITES_BETWEEN: usize = 20;
const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// Names that the API acknowledged with 201.
type Acknowledged = Arc<std::sync::Mutex<BTreeSet<String>>>;

/// Writes until told to stop, over a new connection after each failure; a failed write counts for nothing.
async fn write(client: Client, writer: usize, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let mut n_written = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = client.connect().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let name = format!("write-{writer}-{n_written}");
            n_written += 1;
            let body = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": name }, "data": { "value": name },
            });
            match connection
                .send("POST", PATH, Bytes::from(body.to_string()))
                .await
            {
                Ok(answer) if answer.code == 201 => {
                    acknowledged.lock().unwrap().insert(name);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}

async fn more_writes(acknowledged: &Acknowledged) {
    let before = acknowledged.lock().unwrap().len();
    eventually("writes go on", || async {
        (acknowledged.lock().unwrap().len() >= before + WRITES_BETWEEN).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost() {
    let cluster = LocalCluster::up(3, 0);
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let work = write(cluster.client(), writer, acknowledged.clone(), stop.clone());
            spawn(TaskKind::Command, work)
        })
        .collect();
    for round in 0..KILLS_OF_EACH {
        for server in 1..=3 {
            more_writes(&acknowledged).await;
            cluster
                .signal(&format!("server-{server}"), Signal::SIGKILL)
                .await;
            more_writes(&acknowledged).await;
            cluster.up_again();
        }
        eprintln!(
            "round {round}: {} acknowledged",
            acknowledged.lock().unwrap().len()
        );
    }
    for _ in 0..KILLS_OF_ALL {
        more_writes(&acknowledged).await;
        for server in 1..=3 {
            cluster
                .signal(&format!("server-{server}"), Signal::SIGKILL)
                .await;
        }
        cluster.up_again();
    }
    more_writes(&acknowledged).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    for server in 1..=3 {
        let stored = names(&cluster.client_of(server)).await;
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(
            lost.is_empty(),
            "server-{server} lost {lost:?} of {}",
            acknowledged.len()
        );
    }
}

async fn names(client: &Client) -> BTreeSet<String> {
    let list = client.get(PATH).await.unwrap().json().unwrap();
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
