//! Resident memory of each replica for each pod that it stores: the slope between half of the pods and all, so that what
//! a server takes anyway is no part of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::load::{self, json_bytes};
use super::{Bench, CONNECTIONS, Load, Report, usage};

/// The measurement. Its count is the pods.
pub const BENCH: Bench = Bench {
    name: "memory",
    default_count: 100_000,
    default_connections: CONNECTIONS,
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

/// Bytes of a pod as the server answers it.
const POD_BYTES: usize = 2500;
/// How long a server may take to give back what writing took.
const SETTLING: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Slope {
    n_pods: usize,
    pod_bytes: usize,
    /// Resident bytes with half of the pods, and with all, by process.
    resident: Vec<(String, u64, u64)>,
}

async fn measured(load: &Load) -> Result<Slope> {
    let local = load.local.as_ref().context(
        "memory looks at the processes of a cluster of `kontiki up`: name its --data-dir",
    )?;
    let path = format!("/api/v1/namespaces/{}/pods", load.namespace);
    let padding = padding(load, &path).await?;
    let creating = path.clone();
    let request = move |idx: usize| ("POST", creating.clone(), json_bytes(&pod(idx, padding)));
    let request: Arc<load::Request> = Arc::new(request);
    let half = load.count / 2;
    ensure!(half > 0, "a slope takes two pods");
    load::fill(load, 0..half, request.clone()).await?;
    sleep(SETTLING).await;
    let before = usage::resident(local);
    load::fill(load, half..load.count, request).await?;
    sleep(SETTLING).await;
    let stored = load.client.get(&format!("{path}/bench-0")).await?;
    let after = usage::resident(local).into_iter();
    let resident = after.filter_map(|(name, after)| {
        let before = before.iter().find(|(other, _)| *other == name)?.1;
        Some((name, before, after))
    });
    Ok(Slope {
        n_pods: load.count - half,
        pod_bytes: stored.body.len(),
        resident: resident.collect(),
    })
}

/// Bytes of an annotation that make a pod of the wanted size.
async fn padding(load: &Load, path: &str) -> Result<usize> {
    let mut connection = load.client.connect().await?;
    let body = json_bytes(&pod(0, 0));
    let path = format!("{path}?dryRun=All");
    let tried = connection.send("POST", &path, body).await?;
    tried.json()?;
    Ok(POD_BYTES.saturating_sub(tried.body.len()))
}

/// A small pod that no node takes.
fn pod(idx: usize, padding: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("bench-{idx}"),
            "labels": { "app": "bench" },
            "annotations": { "kontiki.io/padding": "x".repeat(padding) },
        },
        "spec": {
            "schedulerName": "none",
            "containers": [{ "name": "main", "image": "registry.example/bench/application:1.0.0" }],
        },
    })
}

impl Slope {
    fn per_pod(&self) -> impl Iterator<Item = (&str, f64)> {
        let n_pods = self.n_pods as f64;
        self.resident.iter().map(move |(name, before, after)| {
            (name.as_str(), (*after as f64 - *before as f64) / n_pods)
        })
    }
}

impl Report for Slope {
    fn to_json(&self) -> Value {
        let slopes = self
            .per_pod()
            .map(|(name, bytes)| (name.to_owned(), json!(bytes)));
        json!({
            "bench": BENCH.name,
            "pods": self.n_pods,
            "podBytes": self.pod_bytes,
            "residentBytesPerPod": slopes.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn print(&self) {
        println!(
            "memory: {} pods of {} bytes each",
            self.n_pods, self.pod_bytes
        );
        for (name, bytes) in self.per_pod() {
            println!("{name}: {bytes:.0} resident bytes a pod");
        }
    }
}
