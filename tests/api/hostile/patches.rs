//! Patches that grow, lie or never end.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Row;
use super::bodies::{CONFIG_MAPS, config_map};
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(5, "10,001 operations of a JSON patch", |w| {
        Box::pin(many_operations(w))
    }),
    Row::new(6, "a JSON patch that doubles what is there", |w| {
        Box::pin(doubling(w))
    }),
    Row::new(7, "patches of what the server keeps", |w| {
        Box::pin(identity(w))
    }),
    Row::new(6, "patches of long lists", |w| Box::pin(long_lists(w))),
];

async fn made(world: &World, name: &str) -> Result<(String, Value)> {
    let object = config_map(json!({ "name": name, "annotations": {"a": "x"} }));
    let made = world.admin().post(CONFIG_MAPS, &object).await?.json()?;
    Ok((format!("{CONFIG_MAPS}/{name}"), made))
}

async fn remove(world: &World, path: &str) -> Result<()> {
    world
        .admin()
        .send("DELETE", path, &[], "")
        .await?
        .coded(&[200])
}

async fn many_operations(world: &World) -> Result<()> {
    let (path, _) = made(world, "operations").await?;
    let operation = json!({"op": "test", "path": "/kind", "value": "ConfigMap"});
    let patch = Value::Array(vec![operation; 10_001]);
    let answer = world.admin().patch("json", &path, &patch).await?;
    answer.refused(413, "RequestEntityTooLarge", "10000")?;
    remove(world, &path).await
}

async fn doubling(world: &World) -> Result<()> {
    let (path, _) = made(world, "doubling").await?;
    let seed = json!({"op": "add", "path": "/x", "value": {"y": "z".repeat(1024)}});
    let copy = |idx: usize| json!({"op": "copy", "from": "/x", "path": format!("/x/y{idx}")});
    let mut patch = vec![seed];
    patch.extend((0..40).map(copy));
    let answer = world
        .admin()
        .patch("json", &path, &Value::Array(patch))
        .await?;
    answer.refused(413, "RequestEntityTooLarge", "")?;
    remove(world, &path).await
}

async fn identity(world: &World) -> Result<()> {
    let (path, before) = made(world, "identity").await?;
    for metadata in [
        json!({"uid": "00000000-0000-0000-0000-000000000000"}),
        json!({"resourceVersion": "1"}),
        json!({"creationTimestamp": "2001-01-01T00:00:00Z"}),
        json!({"name": "another"}),
        json!({"namespace": "kube-system"}),
        json!({"selfLink": "/x"}),
        json!({"generation": 77}),
        json!({"deletionTimestamp": "2001-01-01T00:00:00Z"}),
        json!({"managedFields": [{"manager": ""}]}),
    ] {
        for kind in ["merge", "strategic-merge"] {
            let patch = json!({ "metadata": metadata });
            let answer = world.admin().patch(kind, &path, &patch).await?;
            answer.coded(&[200, 400, 409, 422])?;
        }
    }
    let after = world.admin().get(&path).await?.json()?;
    for field in [
        "uid",
        "creationTimestamp",
        "name",
        "namespace",
        "generation",
        "deletionTimestamp",
    ] {
        ensure!(
            before["metadata"].get(field) == after["metadata"].get(field),
            "{field}: {after}"
        );
    }
    remove(world, &path).await
}

/// Lists are merged by comparing their items: a hundred thousand of them must not be ten thousand million comparisons.
async fn long_lists(world: &World) -> Result<()> {
    let (path, _) = made(world, "lists").await?;
    let items: Vec<String> = (0..100_000).map(|idx| format!("a.b/{idx}")).collect();
    let reversed: Vec<&String> = items.iter().rev().collect();
    let patch = json!({"metadata": {
        "$setElementOrder/finalizers": reversed, "finalizers": items}});
    let answer = world
        .admin()
        .patch("strategic-merge", &path, &patch)
        .await?;
    answer.coded(&[200, 400, 413, 422])?;
    let patch = json!({"metadata": {
        "$deleteFromPrimitiveList/finalizers": items, "finalizers": items}});
    let answer = world
        .admin()
        .patch("strategic-merge", &path, &patch)
        .await?;
    answer.coded(&[200, 400, 413, 422])?;
    let unpinned = json!({"metadata": {"finalizers": null}});
    world
        .admin()
        .patch("merge", &path, &unpinned)
        .await?
        .coded(&[200])?;
    remove(world, &path).await
}
