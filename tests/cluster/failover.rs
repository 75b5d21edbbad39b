//! The control plane goes on when its leader does not.

use bytes::Bytes;
use kontiki_tests::{LocalCluster, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

const KILLS: usize = 5;
const PATH: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_after_a_leader_kill() {
    let cluster = LocalCluster::up(3, 0);
    let client = cluster.client();
    for kill in 0..KILLS {
        let leader = cluster.leader().await;
        cluster
            .signal(&format!("server-{leader}"), Signal::SIGKILL)
            .await;
        eventually("a write is acknowledged", || async {
            let body = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "generateName": format!("after-kill-{kill}-") },
            });
            let mut connection = client.connect().await.ok()?;
            let answer = connection
                .send("POST", PATH, Bytes::from(body.to_string()))
                .await
                .ok()?;
            (answer.code == 201).then_some(())
        })
        .await;
        cluster.up_again();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_is_replaced_and_its_writes_are_not_acknowledged() {
    let cluster = LocalCluster::up(3, 0);
    let leader = cluster.leader().await;
    let other = if leader == 1 { 2 } else { 1 };
    let name = format!("server-{leader}");
    cluster.signal(&name, Signal::SIGSTOP).await;
    eventually("another leader writes", || async {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "generateName": "while-paused-" },
        });
        let client = cluster.client_of(other);
        let mut connection = client.connect().await.ok()?;
        let answer = connection
            .send("POST", PATH, Bytes::from(body.to_string()))
            .await
            .ok()?;
        (answer.code == 201).then_some(())
    })
    .await;
    cluster.signal(&name, Signal::SIGCONT).await;
    // Linearizable reads of the old leader show what was written without it.
    let read = eventually("the old leader follows", || async {
        let answer = cluster.client_of(leader).get(PATH).await.ok()?;
        answer.json().ok()
    })
    .await;
    let items = read["items"].as_array().unwrap();
    let n_found = items.iter().filter(|item| {
        item["metadata"]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("while-paused-"))
    });
    assert!(n_found.count() >= 1);
}
