//! Measurements of a running cluster through its public API, so that they run against any Kubernetes API server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::https::Client;

mod create_pods;
mod disk;
mod get_pods;
mod load;

/// One measurement.
pub struct Bench {
    /// Name on the command line.
    pub name: &'static str,
    /// What it does.
    pub run: fn(Load) -> BoxFuture<'static, Result<Report>>,
}

/// All measurements.
pub const BENCHES: &[Bench] = &[create_pods::BENCH, get_pods::BENCH];

/// What to measure with.
pub struct Load {
    /// The API server.
    pub client: Client,
    /// Connections that work at once, one request each.
    pub connections: usize,
    /// Operations in all.
    pub count: usize,
    /// Namespace to work in.
    pub namespace: String,
    /// Folder whose disk's sync rate is measured.
    pub disk: PathBuf,
}

/// Figures of one measurement.
#[derive(Debug)]
pub struct Report {
    /// Operations that succeeded.
    pub n_done: usize,
    /// Operations that failed, with the first failure.
    pub n_failed: usize,
    /// The first failure.
    pub first_failure: Option<String>,
    /// Wall time of all.
    pub elapsed: Duration,
    /// Latency of each, sorted.
    pub latencies: Vec<Duration>,
    /// Syncs a second of one writer that appends 4 KiB to the disk in question.
    pub disk_syncs_per_s: f64,
}

impl Report {
    fn percentile_ms(&self, percent: usize) -> f64 {
        let idx =
            (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(idx)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }

    fn rate(&self) -> f64 {
        self.n_done as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// For machines.
    pub fn to_json(&self, name: &str) -> Value {
        json!({
            "bench": name,
            "perSecond": self.rate(),
            "done": self.n_done,
            "failed": self.n_failed,
            "firstFailure": self.first_failure,
            "elapsedSeconds": self.elapsed.as_secs_f64(),
            "p50Ms": self.percentile_ms(50),
            "p99Ms": self.percentile_ms(99),
            "diskSyncsPerSecond": self.disk_syncs_per_s,
        })
    }

    /// For people.
    pub fn print(&self, name: &str) {
        println!(
            "{name}: {:.0}/s ({} in {:.2} s)",
            self.rate(),
            self.n_done,
            self.elapsed.as_secs_f64()
        );
        println!(
            "latency p50 {:.1} ms, p99 {:.1} ms",
            self.percentile_ms(50),
            self.percentile_ms(99)
        );
        println!("disk: {:.0} syncs/s of one writer", self.disk_syncs_per_s);
        if let Some(failure) = &self.first_failure {
            println!("failed: {}, the first: {failure}", self.n_failed);
        }
    }
}
