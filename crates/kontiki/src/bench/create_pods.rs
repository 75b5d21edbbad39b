//! Pod creates through REST: what a client waits for an acknowledged, synced, replicated write.

use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::json;

use super::load::{self, json_bytes};
use super::{Bench, CONNECTIONS};

/// The measurement.
pub const BENCH: Bench = Bench {
    name: "create-pods",
    default_count: 20_000,
    default_connections: CONNECTIONS,
    run: |load| {
        async move {
            load::make_namespace(&load).await?;
            let namespace = load.namespace.clone();
            let path = format!("/api/v1/namespaces/{namespace}/pods");
            let request = move |idx: usize| ("POST", path.clone(), json_bytes(&pod(idx)));
            let report = load::run(BENCH.name, &load, Arc::new(request)).await;
            load::remove_namespace(&load).await?;
            report
        }
        .boxed()
    },
};

/// A pod of about 1.5 KB that no node takes: the figure is about writes, not about containers.
pub fn pod(idx: usize) -> serde_json::Value {
    let env: Vec<_> = (0..8)
        .map(
            |n| json!({ "name": format!("SETTING_{n}"), "value": format!("value-of-setting-{n}") }),
        )
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("bench-{idx}"),
            "labels": { "app": "bench", "app.kubernetes.io/managed-by": "kontiki-bench" },
            "annotations": { "kontiki.io/purpose": "x".repeat(200) },
        },
        "spec": {
            "schedulerName": "none",
            "containers": [{
                "name": "main",
                "image": "registry.example/bench/application:1.0.0",
                "env": env,
                "ports": [{ "containerPort": 8080, "name": "http" }],
                "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
                "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http" } },
            }],
        },
    })
}
