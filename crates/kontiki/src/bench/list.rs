//! LIST of a namespace of many pods in JSON: when the first byte comes, how long all takes, what it costs the server in
//! memory beside what it holds anyway (for a cluster of `kontiki up`, whose processes can be looked at).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::create_pods::pod;
use super::load::{self, json_bytes};
use super::{Bench, CONNECTIONS, Load, Report, percentile, usage};

/// The measurement. Its count is the pods in the list.
pub const BENCH: Bench = Bench {
    name: "list",
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

/// Lists, one after another.
const LISTS: usize = 5;

#[derive(Debug)]
struct Lists {
    n_pods: usize,
    n_bytes: usize,
    /// Sorted.
    first_byte: Vec<Duration>,
    /// Sorted.
    whole: Vec<Duration>,
    /// By how much each process grew at most.
    extra: Vec<(String, u64)>,
}

async fn measured(load: &Load) -> Result<Lists> {
    let path = format!("/api/v1/namespaces/{}/pods", load.namespace);
    let (creating, count) = (path.clone(), load.count);
    let request = move |idx: usize| ("POST", creating.clone(), json_bytes(&pod(idx)));
    load::fill(load, 0..count, Arc::new(request)).await?;
    let mut lists = Lists {
        n_pods: count,
        n_bytes: 0,
        first_byte: Vec::new(),
        whole: Vec::new(),
        extra: Vec::new(),
    };
    for _ in 0..LISTS {
        let mut connection = load.client.connect().await?;
        let before = match &load.local {
            Some(local) => {
                usage::forget_peak(local)?;
                usage::resident(local)
            }
            None => Vec::new(),
        };
        let asked = Instant::now();
        let mut body = connection.body(&path).await?;
        let first = body.frame().await.context("an empty answer")??;
        lists.first_byte.push(asked.elapsed());
        lists.n_bytes = first.data_ref().map_or(0, bytes::Bytes::len);
        while let Some(frame) = body.frame().await {
            lists.n_bytes += frame?.data_ref().map_or(0, bytes::Bytes::len);
        }
        lists.whole.push(asked.elapsed());
        if let Some(local) = &load.local {
            let grown = usage::grown(&before, &usage::peak(local));
            lists.extra = larger(&lists.extra, grown);
        }
    }
    lists.first_byte.sort_unstable();
    lists.whole.sort_unstable();
    Ok(lists)
}

fn larger(known: &[(String, u64)], new: Vec<(String, u64)>) -> Vec<(String, u64)> {
    let larger = |(name, bytes): (String, u64)| {
        let before = known.iter().find(|(other, _)| *other == name);
        let bytes = bytes.max(before.map_or(0, |(_, before)| *before));
        (name, bytes)
    };
    new.into_iter().map(larger).collect()
}

impl Lists {
    fn median_ms(sorted: &[Duration]) -> f64 {
        percentile(sorted, 50).map_or(0.0, |median| median.as_secs_f64() * 1e3)
    }
}

impl Report for Lists {
    fn to_json(&self) -> Value {
        let extra = self.extra.iter();
        let extra = extra.map(|(name, bytes)| (name.clone(), json!(bytes)));
        json!({
            "bench": BENCH.name,
            "pods": self.n_pods,
            "bytes": self.n_bytes,
            "lists": self.whole.len(),
            "firstByteP50Ms": Self::median_ms(&self.first_byte),
            "wholeP50Ms": Self::median_ms(&self.whole),
            "extraResidentBytes": extra.collect::<serde_json::Map<_, _>>(),
        })
    }

    fn print(&self) {
        println!(
            "list: {} pods, {:.1} MB, {} times",
            self.n_pods,
            self.n_bytes as f64 / 1e6,
            self.whole.len()
        );
        println!(
            "first byte after {:.1} ms, all after {:.0} ms (medians)",
            Self::median_ms(&self.first_byte),
            Self::median_ms(&self.whole)
        );
        for (name, bytes) in &self.extra {
            println!(
                "{name} grew by {:.1} MiB at most",
                *bytes as f64 / 1024.0 / 1024.0
            );
        }
    }
}
