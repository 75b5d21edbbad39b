//! The load generator: so many connections, one request at a time on each.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use kontiki_base::task::{TaskKind, spawn};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Load, Report, disk, percentile, usage};

/// Longest wait for the end of what an earlier run left, and between two looks.
const NAMESPACE_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
/// Connections that fill a namespace at once.
const FILLERS: usize = 64;

/// Figures of so many like operations.
#[derive(Debug)]
pub struct Throughput {
    name: &'static str,
    n_failed: usize,
    first_failure: Option<String>,
    elapsed: Duration,
    /// Latency of each operation that succeeded, sorted.
    latencies: Vec<Duration>,
    /// Syncs a second of one writer that appends 4 KiB to the disk in question.
    disk_syncs_per_s: f64,
    /// Processor time of the client and of each process of a local cluster.
    cpu: Vec<(String, Duration)>,
}

/// Makes the request of one operation: method, path, body.
pub type Request = dyn Fn(usize) -> (&'static str, String, Bytes) + Send + Sync;

/// Runs `load.count` operations over `load.connections` connections.
pub async fn run(
    name: &'static str,
    load: &Load,
    request: Arc<Request>,
) -> Result<Box<dyn Report>> {
    let disk_syncs_per_s = disk::syncs_per_s(&load.disk).await?;
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(load.client.connect().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let cpu_before = usage::cpu(load.local.as_ref());
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
    let cpu = usage::between(&cpu_before, &usage::cpu(load.local.as_ref()));
    latencies.sort_unstable();
    Ok(Box::new(Throughput {
        name,
        n_failed: failures.len(),
        first_failure: failures.into_iter().next(),
        elapsed,
        latencies,
        disk_syncs_per_s,
        cpu,
    }))
}

impl Throughput {
    fn percentile_ms(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }

    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Milliseconds of processor time an operation, by process.
    fn cpu_ms(&self) -> impl Iterator<Item = (&str, f64)> {
        let n_done = self.latencies.len().max(1) as f64;
        let per_operation = move |used: Duration| used.as_secs_f64() * 1e3 / n_done;
        let all = self.cpu.iter();
        all.map(move |(name, used)| (name.as_str(), per_operation(*used)))
    }
}

impl Report for Throughput {
    fn to_json(&self) -> Value {
        let cpu = self.cpu_ms().map(|(name, ms)| (name.to_owned(), json!(ms)));
        json!({
            "bench": self.name,
            "perSecond": self.rate(),
            "done": self.latencies.len(),
            "failed": self.n_failed,
            "firstFailure": self.first_failure,
            "elapsedSeconds": self.elapsed.as_secs_f64(),
            "p50Ms": self.percentile_ms(50),
            "p99Ms": self.percentile_ms(99),
            "diskSyncsPerSecond": self.disk_syncs_per_s,
            "cpuMsPerOperation": cpu.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn print(&self) {
        println!(
            "{}: {:.0}/s ({} in {:.2} s)",
            self.name,
            self.rate(),
            self.latencies.len(),
            self.elapsed.as_secs_f64()
        );
        println!(
            "latency p50 {:.1} ms, p99 {:.1} ms",
            self.percentile_ms(50),
            self.percentile_ms(99)
        );
        println!("disk: {:.0} syncs/s of one writer", self.disk_syncs_per_s);
        let cpu = self.cpu_ms().map(|(name, ms)| format!("{name} {ms:.3} ms"));
        println!("cpu an operation: {}", cpu.collect::<Vec<_>>().join(", "));
        if let Some(failure) = &self.first_failure {
            println!("failed: {}, the first: {failure}", self.n_failed);
        }
    }
}

/// Makes so many objects of an earlier step: fails where one fails, prints nothing.
pub async fn fill(load: &Load, range: Range<usize>, request: Arc<Request>) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(range.start));
    let worker = |_| async {
        let mut connection = load.client.connect().await?;
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            if idx >= range.end {
                return anyhow::Ok(());
            }
            let (method, path, body) = request(idx);
            let made = connection.send(method, &path, body).await?;
            // What an earlier run left serves as well.
            if made.code != 409 {
                made.json()?;
            }
        }
    };
    try_join_all((0..FILLERS).map(worker)).await.map(drop)
}

/// Makes the namespace, or takes the one that is there; one that an earlier run left ending is waited for.
pub async fn make_namespace(load: &Load) -> Result<()> {
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": load.namespace },
    });
    let path = format!("/api/v1/namespaces/{}", load.namespace);
    let mut connection = load.client.connect().await?;
    let deadline = Instant::now() + NAMESPACE_TIMEOUT;
    loop {
        let made = connection.send("POST", "/api/v1/namespaces", json_bytes(&body));
        let made = made.await?;
        if made.code != 409 {
            return made.json().map(drop);
        }
        let found = connection.send("GET", &path, Bytes::new()).await?;
        if found.code == 200 && found.json()?["status"]["phase"] != "Terminating" {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "namespace {} does not end; name another with --namespace",
                load.namespace
            );
        }
        sleep(POLL).await;
    }
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
