//! `/stats/summary` (upstream's `stats/v1alpha1`).

use std::collections::BTreeMap;

use kontiki_api::time;
use serde_json::{Value, json};

use super::usage::{ContainerUsed, Usage, Used};
use crate::node::Node;

/// The summary.
pub fn summary(node: &Node, usage: &Usage) -> Value {
    let mut pods: BTreeMap<&str, Vec<&ContainerUsed>> = BTreeMap::new();
    for container in &usage.containers {
        pods.entry(&container.pod_uid).or_default().push(container);
    }
    let pods: Vec<Value> = pods
        .into_values()
        .map(|containers| pod(&containers))
        .collect();
    json!({
        "node": {
            "nodeName": node.name,
            "cpu": cpu(usage.node),
            "memory": memory(usage.node, Some(node.capacity.memory_bytes)),
        },
        "pods": pods,
    })
}

fn pod(containers: &[&ContainerUsed]) -> Value {
    let first = containers[0];
    let mut total = Used::default();
    let mut rate = Some(0);
    for ContainerUsed { used, .. } in containers {
        total.at_ms = total.at_ms.max(used.at_ms);
        total.cpu_ns += used.cpu_ns;
        total.memory_bytes += used.memory_bytes;
        total.working_set_bytes += used.working_set_bytes;
        rate = rate.zip(used.cpu_nano_cores).map(|(sum, one)| sum + one);
    }
    total.cpu_nano_cores = rate;
    let containers = containers.iter().map(|it| {
        json!({
            "name": it.container,
            "cpu": cpu(it.used),
            "memory": memory(it.used, None),
        })
    });
    json!({
        "podRef": {"name": first.pod, "namespace": first.namespace, "uid": first.pod_uid},
        "containers": containers.collect::<Vec<_>>(),
        "cpu": cpu(total),
        "memory": memory(total, None),
    })
}

fn cpu(used: Used) -> Value {
    let mut cpu = json!({
        "time": time::rfc3339(used.at_ms),
        "usageCoreNanoSeconds": used.cpu_ns,
    });
    if let Some(rate) = used.cpu_nano_cores {
        cpu["usageNanoCores"] = rate.into();
    }
    cpu
}

fn memory(used: Used, of: Option<u64>) -> Value {
    let mut memory = json!({
        "time": time::rfc3339(used.at_ms),
        "usageBytes": used.memory_bytes,
        "workingSetBytes": used.working_set_bytes,
    });
    if let Some(of) = of {
        memory["availableBytes"] = of.saturating_sub(used.working_set_bytes).into();
    }
    memory
}
