//! What containers and the machine use, looked at when somebody asks.
//!
//! A rate takes two looks. The last look is kept for the next one; who asks first after a long time waits for a second
//! look. All who ask within a moment share one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kontiki_runtime::{Result, labels};

use crate::machine;
use crate::node::Node;

/// Who asks within so long gets the last look.
const FRESH_MS: u64 = 5_000;
/// A look that is older says nothing of the present rate.
const STALE_MS: u64 = 120_000;
/// Between two looks for one who would have none to compare with.
const BETWEEN: Duration = Duration::from_secs(1);
/// Containers asked for at once.
const AT_ONCE: usize = 8;

/// Use of processor and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// When it was looked at, in Unix milliseconds.
    pub at_ms: u64,
    /// Processor time since the start, in nanoseconds.
    pub cpu_ns: u64,
    /// Thousand-millionths of a processor at present; none with one look only.
    pub cpu_nano_cores: Option<u64>,
    /// Memory, with caches.
    pub memory_bytes: u64,
    /// Memory that cannot be had back.
    pub working_set_bytes: u64,
}

/// A container's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsed {
    /// Engine's id.
    pub id: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
    /// What it uses.
    pub used: Used,
}

/// One look at everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The machine.
    pub node: Used,
    /// Running containers, pause containers aside.
    pub containers: Vec<ContainerUsed>,
}

/// Looks, and remembers the last look.
#[derive(Default)]
pub struct Sampler(tokio::sync::Mutex<Option<Usage>>);

impl Sampler {
    /// The present use.
    pub async fn take(&self, node: &Node) -> Result<Usage> {
        let mut last = self.0.lock().await;
        let now = node.now_ms();
        let age = |usage: &Usage| now.saturating_sub(usage.node.at_ms);
        if let Some(usage) = last.as_ref()
            && age(usage) < FRESH_MS
            && usage.node.cpu_nano_cores.is_some()
        {
            return Ok(usage.clone());
        }
        if last.as_ref().is_none_or(|usage| age(usage) > STALE_MS) {
            *last = Some(look(node).await?);
            tokio::time::sleep(BETWEEN).await;
        }
        let mut usage = look(node).await?;
        if let Some(before) = last.as_ref() {
            compare(before, &mut usage);
        }
        *last = Some(usage.clone());
        Ok(usage)
    }
}

/// Works the rates out.
fn compare(before: &Usage, usage: &mut Usage) {
    usage.node.cpu_nano_cores = rate(before.node, usage.node);
    let known: BTreeMap<&str, Used> = before
        .containers
        .iter()
        .map(|container| (container.id.as_str(), container.used))
        .collect();
    for container in &mut usage.containers {
        // A container that is new has run from its start: all it used is of the time since the last look.
        let before = known.get(container.id.as_str()).copied();
        let before = before.unwrap_or(Used {
            at_ms: before_ms(usage.node.at_ms, container.used.at_ms),
            ..Used::default()
        });
        container.used.cpu_nano_cores = rate(before, container.used);
    }
}

/// For what has no earlier look: a second before.
fn before_ms(node_ms: u64, own_ms: u64) -> u64 {
    node_ms.min(own_ms).saturating_sub(1000)
}

fn rate(before: Used, after: Used) -> Option<u64> {
    let ms = after.at_ms.checked_sub(before.at_ms).filter(|ms| *ms > 0)?;
    let ns = after.cpu_ns.saturating_sub(before.cpu_ns);
    Some(ns.saturating_mul(1000) / ms)
}

async fn look(node: &Node) -> Result<Usage> {
    let found = node.runtime.list(node.own_labels()).await?;
    let running = found.into_iter().filter(|line| {
        let name = line.labels.get(labels::CONTAINER);
        line.running && name.is_some_and(|name| name != labels::PAUSE)
    });
    let looks = running.map(|line| async move {
        let stats = node.runtime.stats(&line.id).await.ok()?;
        let label = |name: &str| line.labels.get(name).cloned().unwrap_or_default();
        Some(ContainerUsed {
            namespace: label(labels::POD_NAMESPACE),
            pod: label(labels::POD_NAME),
            pod_uid: label(labels::POD_UID),
            container: label(labels::CONTAINER),
            used: Used {
                at_ms: node.now_ms(),
                cpu_ns: stats.cpu_ns,
                cpu_nano_cores: None,
                memory_bytes: stats.memory_bytes,
                working_set_bytes: stats.working_set_bytes,
            },
            id: line.id,
        })
    });
    // One that ends meanwhile is left out.
    let looks = stream::iter(looks).buffer_unordered(AT_ONCE);
    let mut containers: Vec<ContainerUsed> = looks.filter_map(std::future::ready).collect().await;
    containers.sort_by(|a, b| {
        let key = |it: &ContainerUsed| (it.namespace.clone(), it.pod.clone(), it.container.clone());
        key(a).cmp(&key(b))
    });
    let total = machine::memory_bytes("MemTotal");
    let node = Used {
        at_ms: node.now_ms(),
        cpu_ns: machine::cpu_ns(),
        cpu_nano_cores: None,
        memory_bytes: total.saturating_sub(machine::memory_bytes("MemFree")),
        working_set_bytes: total.saturating_sub(machine::memory_bytes("MemAvailable")),
    };
    Ok(Usage { node, containers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(at_ms: u64, cpu_ns: u64) -> Used {
        Used {
            at_ms,
            cpu_ns,
            ..Used::default()
        }
    }

    fn usage(at_ms: u64, containers: &[(&str, u64)]) -> Usage {
        let containers = containers.iter().map(|(id, cpu_ns)| ContainerUsed {
            id: (*id).into(),
            used: used(at_ms, *cpu_ns),
            ..ContainerUsed::default()
        });
        Usage {
            node: used(at_ms, at_ms * 1_000_000),
            containers: containers.collect(),
        }
    }

    #[test]
    fn a_rate_is_what_was_used_between_two_looks() {
        let before = usage(10_000, &[("a", 0), ("b", 5_000_000_000)]);
        let mut after = usage(
            12_000,
            &[("a", 1_000_000_000), ("b", 1), ("new", 500_000_000)],
        );
        compare(&before, &mut after);
        let rates: Vec<_> = after
            .containers
            .iter()
            .map(|it| it.used.cpu_nano_cores.unwrap())
            .collect();
        assert_eq!(rates, [500_000_000, 0, 500_000_000]);
        assert_eq!(after.node.cpu_nano_cores, Some(1_000_000_000));
        assert_eq!(rate(used(5, 0), used(5, 9)), None);
    }
}
