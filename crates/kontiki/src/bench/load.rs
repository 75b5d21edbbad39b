//! The load generator: so many connections, one request at a time on each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use bytes::Bytes;
use kontiki_base::task::{TaskKind, spawn};
use tokio::time::Instant;

use super::{Load, Report, disk};

/// Makes the request of one operation: method, path, body.
pub type Request = dyn Fn(usize) -> (&'static str, String, Bytes) + Send + Sync;

/// Runs `load.count` operations over `load.connections` connections.
pub async fn run(load: &Load, request: Arc<Request>) -> Result<Report> {
    let disk_syncs_per_s = disk::syncs_per_s(&load.disk).await?;
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(load.client.connect().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let count = load.count;
    let workers: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (next, request) = (next.clone(), request.clone());
            spawn(TaskKind::Command, async move {
                let mut latencies = Vec::new();
                let mut failures = Vec::new();
                loop {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    if idx >= count {
                        return (latencies, failures);
                    }
                    let (method, path, body) = request(idx);
                    let sent = Instant::now();
                    match connection
                        .send(method, &path, body)
                        .await
                        .and_then(|a| a.json())
                    {
                        Ok(_) => latencies.push(sent.elapsed()),
                        Err(error) => failures.push(format!("{error:#}")),
                    }
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    let mut failures = Vec::new();
    for worker in workers {
        let (worked, failed) = worker.await?;
        latencies.extend(worked);
        failures.extend(failed);
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok(Report {
        n_done: latencies.len(),
        n_failed: failures.len(),
        first_failure: failures.into_iter().next(),
        elapsed,
        latencies,
        disk_syncs_per_s,
    })
}

/// Makes the namespace to work in.
pub async fn make_namespace(load: &Load) -> Result<()> {
    let body = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": load.namespace },
    });
    let answer = load
        .client
        .connect()
        .await?
        .send("POST", "/api/v1/namespaces", json_bytes(&body))
        .await?;
    if answer.code != 409 {
        answer.json()?;
    }
    Ok(())
}

/// Removes the namespace and what is in it.
pub async fn remove_namespace(load: &Load) -> Result<()> {
    let path = format!("/api/v1/namespaces/{}", load.namespace);
    load.client
        .connect()
        .await?
        .send("DELETE", &path, Bytes::new())
        .await?
        .json()?;
    Ok(())
}

/// A body.
pub fn json_bytes(value: &serde_json::Value) -> Bytes {
    Bytes::from(value.to_string())
}
