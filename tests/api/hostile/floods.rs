//! One client that takes all it can get: others are served.

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use futures::future::try_join_all;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::bodies::{CONFIG_MAPS, config_map};
use super::lists::overflow;
use super::{MIB, Row};
use crate::wire::{Answer, Caller};
use crate::world::{PATIENCE, World};

pub const ROWS: &[Row] = &[
    Row::new(16, "10,000 watches of one client", |w| Box::pin(watches(w))).with_memory(768 * MIB),
    Row::new(17, "a watch that nobody reads", |w| Box::pin(stalled(w))).with_memory(160 * MIB),
    Row::new(18, "500 full lists at once", |w| Box::pin(lists(w))).with_memory(256 * MIB),
];

const N_WATCHES: usize = 10_000;
/// Streams of one connection, fewer than the server allows.
const STREAMS: usize = 250;
const N_LISTS: usize = 500;
/// Objects that each of them reads.
const N_OBJECTS: usize = 1000;

async fn watches(world: &World) -> Result<()> {
    let flooder = world.editor("flooder").await?;
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=0");
    let (mut open, mut refused) = (Vec::new(), None);
    'flood: for _ in 0..N_WATCHES / STREAMS {
        let mut connection = flooder.http2().await?;
        for _ in 0..STREAMS {
            let request = flooder.request("GET", &path, &[], "".into())?;
            connection.ready().await?;
            let response = connection.send_request(request).await?;
            if response.status().as_u16() != 200 {
                refused = Some(Answer::whole(response).await?);
                break 'flood;
            }
            open.push((connection.clone(), response));
        }
    }
    let refused = refused.with_context(|| format!("{} watches are open", open.len()))?;
    refused.refused(429, "TooManyRequests", "watches")?;
    ensure!(
        refused.headers.contains_key("retry-after"),
        "{:?}",
        refused.headers
    );
    ensure!(open.len() >= 5000, "only {} watches", open.len());
    // Others watch, and see what happens.
    let other = world.editor("other").await?;
    let response = other
        .open(other.request("GET", &path, &[], "".into())?)
        .await?;
    ensure!(response.status() == 200, "{}", response.status());
    let mut frames = response.into_body().into_data_stream();
    let object = config_map(json!({"name": "seen-by-others"}));
    world
        .admin()
        .post(CONFIG_MAPS, &object)
        .await?
        .coded(&[201])?;
    let seeing = async {
        while let Some(frame) = frames.next().await {
            if String::from_utf8_lossy(&frame?).contains("seen-by-others") {
                return Ok(());
            }
        }
        anyhow::bail!("the watch of another user ended")
    };
    tokio::time::timeout(PATIENCE, seeing).await??;
    let path = format!("{CONFIG_MAPS}/seen-by-others");
    world
        .admin()
        .send("DELETE", &path, &[], "")
        .await?
        .coded(&[200])
}

async fn stalled(world: &World) -> Result<()> {
    let reader = world.editor("stalled").await?;
    let path = format!("{CONFIG_MAPS}?watch=true");
    let response = reader
        .open(reader.request("GET", &path, &[], "".into())?)
        .await?;
    // Several times of what the ring and the sockets hold.
    for idx in 0..6 {
        overflow(world, &format!("unread-{idx}")).await?;
    }
    // It is told that it missed something, or closed: never fed from a queue of its own.
    let mut body = response.into_body().into_data_stream();
    let mut last = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.next().await {
            last.extend_from_slice(&frame);
            let keep = last.len().saturating_sub(4096);
            last.drain(..keep);
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .context("the stalled watch goes on")?;
    let end = String::from_utf8_lossy(&last);
    let is_told = end.contains(r#""type":"ERROR""#) && end.contains(r#""code":410"#);
    ensure!(
        is_told || !end.ends_with("}\n"),
        "ends as if nothing were missed: {end}"
    );
    Ok(())
}

async fn lists(world: &World) -> Result<()> {
    let admin = world.admin();
    let mut filling = admin.http2().await?;
    for idx in 0..N_OBJECTS {
        let object = config_map(json!({ "name": format!("full-{idx}") })).to_string();
        let headers = [("content-type", "application/json")];
        filling.ready().await?;
        let request = admin.request("POST", CONFIG_MAPS, &headers, object.into())?;
        let made = Answer::whole(filling.send_request(request).await?).await?;
        made.coded(&[201])?;
    }
    let flooder = world.editor("lister").await?;
    let node = world.node("list-witness");
    let flood = try_join_all((0..N_LISTS / STREAMS).map(|_| burst(&flooder)));
    let heartbeats = async {
        for idx in 0..10 {
            let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
            let lease =
                json!({"metadata": {"name": "list-witness"}, "spec": {"holderIdentity": "x"}});
            let renewed = if idx == 0 {
                node.post(path, &lease).await?
            } else {
                let path = format!("{path}/list-witness");
                let patch = json!({"spec": {"leaseDurationSeconds": 40 + idx}});
                node.patch("merge", &path, &patch).await?
            };
            renewed.coded(&[200, 201]).context("a heartbeat")?;
        }
        anyhow::Ok(())
    };
    let (answers, _) = tokio::try_join!(flood, heartbeats)?;
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    let n_refused = answers.iter().filter(|answer| answer.code == 429).count();
    for answer in &answers {
        answer.coded(&[200, 429])?;
        ensure!(
            answer.code == 200 || answer.headers.contains_key("retry-after"),
            "{:?}",
            answer.headers
        );
    }
    ensure!(
        n_refused > 0,
        "all of {} lists were served at once",
        answers.len()
    );
    let path = format!("{CONFIG_MAPS}?fieldSelector=metadata.name!=kube-root-ca.crt");
    admin.send("DELETE", &path, &[], "").await?.coded(&[200])
}

async fn burst(caller: &Caller) -> Result<Vec<Answer>> {
    let connection = caller.http2().await?;
    let one = || async {
        let mut connection = connection.clone();
        let request = caller.request("GET", CONFIG_MAPS, &[], "".into())?;
        connection.ready().await?;
        Answer::whole(connection.send_request(request).await?).await
    };
    try_join_all((0..STREAMS).map(|_| one())).await
}
