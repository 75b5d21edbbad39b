//! Lists and watches of the past, of the future and of nobody's making.

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::Row;
use super::bodies::{CONFIG_MAPS, config_map};
use crate::world::{PATIENCE, World};

pub const ROWS: &[Row] = &[
    Row::new(13, "continue tokens that are forged, foreign or old", |w| {
        Box::pin(tokens(w))
    }),
    Row::new(14, "a watch of what is compacted", |w| {
        Box::pin(compacted(w))
    }),
    Row::new(15, "revisions of the far future", |w| Box::pin(future(w))),
];

/// Objects of this many bytes fill the ring of their kind's events with few writes.
const LARGE_BYTES: usize = 1 << 20;
/// More of them than the ring of 8 MiB holds.
const N_LARGE: usize = 12;
/// More lists at revisions of their own than the server keeps snapshots for.
const N_LISTS: usize = 80;

/// Writes until the events of a moment ago are gone from the ring.
pub async fn overflow(world: &World, name: &str) -> Result<()> {
    let admin = world.admin();
    let mut object = config_map(json!({ "name": name }));
    object["data"] = json!({"k": "x".repeat(LARGE_BYTES)});
    admin.post(CONFIG_MAPS, &object).await?.coded(&[201])?;
    let path = format!("{CONFIG_MAPS}/{name}");
    for idx in 0..N_LARGE {
        let patch = json!({"metadata": {"annotations": {"n": idx.to_string()}}});
        admin.patch("merge", &path, &patch).await?.coded(&[200])?;
    }
    admin.send("DELETE", &path, &[], "").await?.coded(&[200])
}

async fn tokens(world: &World) -> Result<()> {
    let admin = world.admin();
    for idx in 0..3 {
        let object = config_map(json!({ "name": format!("page-{idx}") }));
        admin.post(CONFIG_MAPS, &object).await?.coded(&[201])?;
    }
    let page = admin.get(&format!("{CONFIG_MAPS}?limit=1")).await?.json()?;
    let token = page["metadata"]["continue"]
        .as_str()
        .context("a token")?
        .to_owned();
    let long = "A".repeat(16 << 10);
    let (first, rest) = token.split_at(1);
    let changed = format!("{}{rest}", if first == "A" { "B" } else { "A" });
    for forged in ["forged", "AAAA", "", "%00", &long, &changed, &token[1..]] {
        let answer = admin
            .get(&format!("{CONFIG_MAPS}?limit=1&continue={forged}"))
            .await?;
        if forged.is_empty() {
            answer.coded(&[200])?;
        } else {
            answer.refused(400, "BadRequest", "continue")?;
        }
    }
    // A token of another list.
    let answer = admin
        .get(&format!("/api/v1/secrets?limit=1&continue={token}"))
        .await?;
    answer.refused(400, "BadRequest", "continue")?;

    overflow(world, "between-pages").await?;
    for idx in 0..N_LISTS {
        let patch = json!({"metadata": {"annotations": {"n": idx.to_string()}}});
        let path = format!("{CONFIG_MAPS}/page-0");
        admin.patch("merge", &path, &patch).await?.coded(&[200])?;
        admin
            .get("/api/v1/configmaps?limit=1")
            .await?
            .coded(&[200])?;
    }
    let path = format!("{CONFIG_MAPS}?limit=1&continue={token}");
    let old = admin.get(&path).await?;
    old.refused(410, "Expired", "too old")?;
    // The refusal carries a token to go on with, inconsistently.
    let status: Value = serde_json::from_slice(&old.body)?;
    let again = status["metadata"]["continue"]
        .as_str()
        .context("a second token")?;
    admin
        .get(&format!("{CONFIG_MAPS}?limit=1&continue={again}"))
        .await?
        .json()?;
    for idx in 0..3 {
        let path = format!("{CONFIG_MAPS}/page-{idx}");
        admin.send("DELETE", &path, &[], "").await?.coded(&[200])?;
    }
    Ok(())
}

async fn compacted(world: &World) -> Result<()> {
    overflow(world, "past").await?;
    let admin = world.admin();
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=1");
    let request = admin.request("GET", &path, &[], "".into())?;
    let response = admin.open(request).await?;
    let event = match response.status().as_u16() {
        410 => return Ok(()),
        200 => {
            let mut frames = response.into_body().into_data_stream();
            let next = tokio::time::timeout(PATIENCE, frames.next()).await?;
            next.context("the stream ends without a word")??
        }
        code => anyhow::bail!("answered {code}"),
    };
    let event: Value = serde_json::from_slice(&event)?;
    ensure!(
        event["type"] == "ERROR" && event["object"]["code"] == 410,
        "{event}"
    );
    ensure!(event["object"]["reason"] == "Expired", "{event}");
    Ok(())
}

async fn future(world: &World) -> Result<()> {
    for path in [
        "/api/v1/pods?resourceVersion=999999999",
        "/api/v1/pods?resourceVersion=999999999&resourceVersionMatch=Exact",
        "/api/v1/pods?watch=true&resourceVersion=999999999",
        "/api/v1/namespaces/default/configmaps/kube-root-ca.crt?resourceVersion=999999999",
    ] {
        let answer = world.admin().get(path).await?;
        answer.refused(504, "Timeout", "Too large resource version")?;
    }
    for revision in ["x", "-1", "99999999999999999999999", "1.5", "%00"] {
        let path = format!("/api/v1/pods?resourceVersion={revision}");
        world.admin().get(&path).await?.coded(&[400])?;
    }
    Ok(())
}
