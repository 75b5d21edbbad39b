//! Many watchers on one kind: how late events reach them at a steady rate of writes.
//!
//! As in a cluster: nearly every watcher follows one object by a field selector, as an agent does, and a few follow all.
//! Lateness counts from the moment a write is sent, so that it holds on any server, whatever that does in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::try_join_all;
use kontiki_base::task::{TaskKind, spawn};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::load::{self, json_bytes};
use super::{Bench, Load, Report, percentile, usage};
use crate::https::Lines;

/// The measurement. Its count is the events, its connections are the watchers.
pub const BENCH: Bench = Bench {
    name: "watch",
    default_count: 20_000,
    default_connections: 5000,
    run: |load| {
        async move {
            load::make_namespace(&load).await?;
            let figures = measured(&load).await;
            load::remove_namespace(&load).await?;
            Ok(Box::new(figures?) as Box<dyn Report>)
        }
        .boxed()
    },
};

/// Events a second.
const RATE: u32 = 1000;
/// Writes under way at once.
const WRITERS: usize = 64;
/// Watchers of one connection; servers allow at least a hundred streams.
const STREAMS: usize = 100;
/// Every so many, a watcher follows all objects.
const ALL_EVERY: usize = 500;
/// Longest wait for an event that was written.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lateness that waits to be noted.
const QUEUE: usize = 64 * 1024;
/// The annotation that tells which event it is.
const SEQUENCE: &str = "bench-sequence";

#[derive(Debug)]
struct Lateness {
    n_watchers: usize,
    elapsed: Duration,
    n_missing: usize,
    /// Sorted.
    late: Vec<Duration>,
    extra: Vec<(String, u64)>,
    cpu: Vec<(String, Duration)>,
}

fn path_of(load: &Load) -> String {
    format!("/api/v1/namespaces/{}/configmaps", load.namespace)
}

async fn measured(load: &Load) -> Result<Lateness> {
    let path = path_of(load);
    let creating = path.clone();
    let request = move |idx: usize| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": format!("bench-{idx}") },
            "data": { "setting": "x".repeat(500) },
        });
        ("POST", creating.clone(), json_bytes(&object))
    };
    load::fill(load, 0..load.connections, Arc::new(request)).await?;
    let list = load.client.get(&format!("{path}?limit=1")).await?.json()?;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
    if let Some(local) = &load.local {
        usage::forget_peak(local)?;
    }
    let resident = load.local.as_ref().map(usage::resident).unwrap_or_default();
    let start = Instant::now();
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..load.count).map(|_| AtomicU64::new(0)).collect());
    let (note, mut noted) = mpsc::channel(QUEUE);
    open_watchers(load, revision, start, &sent, &note).await?;
    drop(note);

    let cpu = usage::cpu(load.local.as_ref());
    let begun = Instant::now();
    let writing = write_all(load, start, begun, &sent);
    let n_wanted = n_deliveries(load);
    let reading = async {
        let mut late = Vec::with_capacity(n_wanted);
        while late.len() < n_wanted {
            match timeout(PATIENCE, noted.recv()).await {
                Ok(Some(one)) => late.push(one),
                Ok(None) | Err(_) => break,
            }
        }
        late
    };
    let (written, mut late) = tokio::join!(writing, reading);
    written?;
    late.sort_unstable();
    let peak = load.local.as_ref().map(usage::peak).unwrap_or_default();
    Ok(Lateness {
        n_watchers: load.connections,
        elapsed: begun.elapsed(),
        n_missing: n_wanted - late.len(),
        late,
        extra: usage::grown(&resident, &peak),
        cpu: usage::between(&cpu, &usage::cpu(load.local.as_ref())),
    })
}

/// Events times the watchers that see each: its own, unless that one follows all, and all that follow all.
fn n_deliveries(load: &Load) -> usize {
    let n_all = load.connections.div_ceil(ALL_EVERY);
    let has_own = (0..load.count).filter(|idx| !(idx % load.connections).is_multiple_of(ALL_EVERY));
    load.count * n_all + has_own.count()
}

async fn open_watchers(
    load: &Load,
    revision: &str,
    start: Instant,
    sent: &Arc<Vec<AtomicU64>>,
    note: &mpsc::Sender<Duration>,
) -> Result<()> {
    let mut connection = load.client.connect_many().await?;
    for idx in 0..load.connections {
        if idx > 0 && idx.is_multiple_of(STREAMS) {
            connection = load.client.connect_many().await?;
        }
        let path = path_of(load);
        let mut path = format!("{path}?watch=true&resourceVersion={revision}&timeoutSeconds=3600");
        if !idx.is_multiple_of(ALL_EVERY) {
            path.push_str(&format!("&fieldSelector=metadata.name%3Dbench-{idx}"));
        }
        let lines = connection.stream(&path).await?;
        let (sent, note) = (sent.clone(), note.clone());
        spawn(TaskKind::Command, follow(lines, start, sent, note));
    }
    Ok(())
}

async fn follow(
    mut lines: Lines,
    start: Instant,
    sent: Arc<Vec<AtomicU64>>,
    note: mpsc::Sender<Duration>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(sent) = sequence(&line).and_then(|idx| sent.get(idx)) else {
            continue;
        };
        let sent = Duration::from_micros(sent.load(Ordering::Relaxed));
        if note
            .send(start.elapsed().saturating_sub(sent))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Which event it is, found without decoding all of it.
fn sequence(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    let (_, rest) = line.split_once(&format!("\"{SEQUENCE}\":\""))?;
    rest.split_once('"')?.0.parse().ok()
}

/// Writes all events, each at its moment.
async fn write_all(load: &Load, start: Instant, begun: Instant, sent: &[AtomicU64]) -> Result<()> {
    let next = AtomicU64::new(0);
    let path = path_of(load);
    let worker = |_| async {
        let mut connection = load.client.connect().await?;
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some(moment) = sent.get(idx) else {
                return anyhow::Ok(());
            };
            sleep_until(begun + Duration::from_secs(1) / RATE * idx as u32).await;
            let patch = json!({ "metadata": { "annotations": { SEQUENCE: idx.to_string() } } });
            let path = format!("{path}/bench-{}", idx % load.connections);
            moment.store(start.elapsed().as_micros() as u64, Ordering::Relaxed);
            let body = Bytes::from(patch.to_string());
            connection.send("PATCH", &path, body).await?.json()?;
        }
    };
    try_join_all((0..WRITERS).map(worker)).await.map(drop)
}

impl Lateness {
    fn percentile_ms(&self, percent: usize) -> f64 {
        percentile(&self.late, percent).map_or(0.0, |late| late.as_secs_f64() * 1e3)
    }

    fn per_second(&self) -> f64 {
        self.late.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Report for Lateness {
    fn to_json(&self) -> Value {
        let extra = self.extra.iter();
        let extra = extra.map(|(name, bytes)| (name.clone(), json!(bytes)));
        let cpu = self.cpu.iter();
        let cpu = cpu.map(|(name, used)| (name.clone(), json!(used.as_secs_f64())));
        json!({
            "bench": BENCH.name,
            "watchers": self.n_watchers,
            "eventsPerSecond": RATE,
            "delivered": self.late.len(),
            "missing": self.n_missing,
            "deliveredPerSecond": self.per_second(),
            "elapsedSeconds": self.elapsed.as_secs_f64(),
            "p50Ms": self.percentile_ms(50),
            "p99Ms": self.percentile_ms(99),
            "extraResidentBytes": extra.collect::<serde_json::Map<_, _>>(),
            "cpuSeconds": cpu.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn print(&self) {
        println!(
            "watch: {} watchers, {RATE} events/s, {:.0} deliveries/s ({} in {:.1} s, {} missing)",
            self.n_watchers,
            self.per_second(),
            self.late.len(),
            self.elapsed.as_secs_f64(),
            self.n_missing
        );
        println!(
            "seen after p50 {:.1} ms, p99 {:.1} ms from the sending of the write",
            self.percentile_ms(50),
            self.percentile_ms(99)
        );
        for (name, bytes) in &self.extra {
            println!(
                "{name} grew by {:.1} MiB at most",
                *bytes as f64 / 1024.0 / 1024.0
            );
        }
        let cpu = self.cpu.iter();
        let cpu = cpu.map(|(name, used)| format!("{name} {:.1} s", used.as_secs_f64()));
        println!("cpu: {}", cpu.collect::<Vec<_>>().join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::sequence;

    #[test]
    fn an_event_tells_which_it_is() {
        let line = br#"{"object":{"metadata":{"annotations":{"bench-sequence":"42"}}}}"#;
        assert_eq!(sequence(line), Some(42));
        assert_eq!(sequence(b"{}"), None);
    }
}
