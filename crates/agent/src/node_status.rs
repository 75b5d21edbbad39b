//! The Node object that this agent registers, and the changes of its status.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kontiki_api::time::rfc3339;
use kontiki_runtime::{Info, Result as RuntimeResult};
use serde_json::{Value, json};

use crate::config::AgentConfig;
use crate::machine;
use crate::node::Node;

/// How often health is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// Below this share of free memory the node is under pressure (kubelet's 100 MiB, at least).
const MEMORY_FREE_BYTES: u64 = 100 << 20;
/// Below this share of free disk the node is under pressure, in hundredths (kubelet's `nodefs.available<10%`; 5
/// here, for small machines).
const DISK_FREE_PERCENT: u64 = 5;

/// What is looked at, so that a status is sent only when something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why the node is not ready; `None` when it is.
    pub not_ready: Option<String>,
    /// Little memory left.
    pub memory_pressure: bool,
    /// Little disk left.
    pub disk_pressure: bool,
    /// The engine.
    pub info: Info,
}

/// Looks at the machine and the engine.
pub fn health(engine: RuntimeResult<Info>, last: Info, data_dir: &Path, real: bool) -> Health {
    let (info, not_ready) = match engine {
        Ok(info) => (info, None),
        Err(error) => (last, Some(format!("container runtime is down: {error}"))),
    };
    let (size, free) = machine::disk(data_dir);
    Health {
        not_ready,
        memory_pressure: real && machine::memory_bytes("MemAvailable") < MEMORY_FREE_BYTES,
        disk_pressure: real && free * 100 < size * DISK_FREE_PERCENT,
        info,
    }
}

/// Watches health, and tells when it changes.
pub async fn watch(config: AgentConfig, node: std::sync::Arc<Node>, mut last: Health) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let engine = node.runtime.info().await;
        let now = health(engine, last.info.clone(), &node.data_dir, node.writes_files);
        if now != last {
            if let Some(reason) = &now.not_ready {
                tracing::warn!(reason, "node is not ready");
            }
            let status = status(&config, &node, &now, node.now_ms());
            node.outbox.put_node(Bytes::from(status.to_string()));
            last = now;
        }
    }
}

/// The whole Node object.
pub fn object(config: &AgentConfig, node: &Node, health: &Health, now_ms: u64) -> Value {
    let mut labels = serde_json::Map::new();
    for (name, value) in [
        ("kubernetes.io/hostname", node.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine::architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine::architecture()),
    ] {
        labels.insert(name.to_owned(), value.into());
    }
    for (name, value) in &config.labels {
        labels.insert(name.clone(), value.clone().into());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": node.name, "labels": labels },
        "spec": {},
        "status": status(config, node, health, now_ms),
    })
}

/// Its status.
pub fn status(config: &AgentConfig, node: &Node, health: &Health, now_ms: u64) -> Value {
    let capacity = &node.capacity;
    let resources = json!({
        "cpu": cpu(capacity.cpu_milli),
        "memory": format!("{}Ki", capacity.memory_bytes / 1024),
        "ephemeral-storage": format!("{}Ki", capacity.ephemeral_storage_bytes / 1024),
        "pods": capacity.pods.to_string(),
    });
    let hollow = !node.writes_files;
    let or = |text: &str, other: &str| {
        if text.is_empty() {
            other.to_owned()
        } else {
            text.to_owned()
        }
    };
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            { "type": "InternalIP", "address": node.ip.to_string() },
            { "type": "Hostname", "address": node.name },
        ],
        "nodeInfo": {
            "architecture": machine::architecture(),
            "bootID": machine::boot_id(),
            "containerRuntimeVersion": health.info.version,
            "kernelVersion": or(&health.info.kernel_version, "unknown"),
            "kubeProxyVersion": "",
            "kubeletVersion": format!("v1.35.0-kontiki.{}", config.version),
            "machineID": if hollow { node.name.clone() } else { machine::machine_id() },
            "operatingSystem": "linux",
            "osImage": or(&health.info.os_image, "Linux"),
            "systemUUID": if hollow { node.name.clone() } else { machine::machine_id() },
        },
        "conditions": conditions(health, now_ms),
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
    })
}

fn cpu(milli: u64) -> String {
    if milli.is_multiple_of(1000) {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    }
}

/// Conditions; the server keeps the transition times of those that did not change.
fn conditions(health: &Health, now_ms: u64) -> Value {
    let now = rfc3339(now_ms);
    let one = |kind: &str, holds: bool, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": if holds { "True" } else { "False" },
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        })
    };
    let memory = if health.memory_pressure {
        one(
            "MemoryPressure",
            true,
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
        )
    } else {
        one(
            "MemoryPressure",
            false,
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        )
    };
    let disk = if health.disk_pressure {
        one(
            "DiskPressure",
            true,
            "KubeletHasDiskPressure",
            "kubelet has disk pressure",
        )
    } else {
        one(
            "DiskPressure",
            false,
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        )
    };
    let pid = one(
        "PIDPressure",
        false,
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
    );
    let ready = match &health.not_ready {
        None => one(
            "Ready",
            true,
            "KubeletReady",
            "kubelet is posting ready status",
        ),
        Some(why) => one("Ready", false, "KubeletNotReady", why),
    };
    json!([memory, disk, pid, ready])
}
