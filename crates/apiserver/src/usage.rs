//! What nodes and pods use, as `metrics.k8s.io` tells it: asked of the nodes' agents when somebody reads it.
//!
//! A node that does not answer in time is left out, as by upstream's metrics-server: nobody waits for a dead machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kontiki_api::kinds::node_metrics;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_state::{Object, Snapshot};
use serde_json::{Value, json};

use crate::errors::not_found;
use crate::options::{ListOptions, Page, Target};
use crate::outbound::whole;
use crate::selection::Selection;
use crate::server::ApiServer;
use crate::tunnel::{NodeRequest, TunnelIo};
use crate::write::Draft;

/// The group of what is read here.
pub(crate) const GROUP: &str = "metrics.k8s.io";
/// How long a node may take: two looks, a second apart, and some.
const WAIT: Duration = Duration::from_secs(5);
/// Nodes asked at once.
const AT_ONCE: usize = 32;
/// Bytes of a node's summary: thousands of containers.
const SUMMARY_BYTES: usize = 4 * 1024 * 1024;
/// What a rate is over; agents look at least this often while they are asked.
const WINDOW: &str = "10s";

impl ApiServer {
    /// The use of the nodes or pods that are selected.
    pub(crate) async fn usages(
        &self,
        target: &Target,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        let selection = Selection::parse(
            target,
            options.label_selector.as_deref(),
            options.field_selector.as_deref(),
        )?;
        let items = self.used(target, Some(&selection)).await?;
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    /// The use of one.
    pub(crate) async fn usage(&self, target: &Target) -> Result<Arc<Object>, Status> {
        let found = self.used(target, None).await?.into_iter().next();
        found.ok_or_else(|| not_found(target))
    }

    async fn used(
        &self,
        target: &Target,
        selection: Option<&Selection>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let snapshot = self.store().snapshot();
        let is_of_nodes = !target.kind.namespaced();
        let wanted: Vec<(Bare, String)> = subjects(&snapshot, target)
            .into_iter()
            .filter(|(bare, _)| {
                let drafted = bare.draft(target, json!({}));
                let drafted = drafted.ok();
                selection.is_none_or(|selection| {
                    drafted.is_some_and(|object| selection.matches(&object))
                })
            })
            .collect();
        let mut nodes: Vec<String> = wanted.iter().map(|(_, node)| node.clone()).collect();
        nodes.sort();
        nodes.dedup();
        let asked = nodes.into_iter().map(|node| async move {
            let summary = tokio::time::timeout(WAIT, self.summary(&node)).await;
            Some((node, summary.ok()?.ok()?))
        });
        let answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        let answers: BTreeMap<String, Value> =
            answers.filter_map(std::future::ready).collect().await;
        let mut found = Vec::new();
        for (bare, node) in wanted {
            let Some(summary) = answers.get(&node) else {
                continue;
            };
            let fields = if is_of_nodes {
                of_node(&summary["node"])
            } else {
                of_pod(summary, &bare.uid)
            };
            if let Some(fields) = fields {
                found.push(bare.draft(target, fields)?);
            }
        }
        Ok(found)
    }

    /// A node's `/stats/summary`.
    async fn summary(&self, node: &str) -> Result<Value, Status> {
        let failed =
            |why: &dyn std::fmt::Display| Status::internal(format!("node {node:?}: {why}"));
        let tunnel = self
            .options()
            .node_tunnel
            .open(node, NodeRequest::Http)
            .await?;
        let handshake = http1::handshake(TokioIo::new(TunnelIo::from(tunnel))).await;
        let (mut sender, connection) = handshake.map_err(|why| failed(&why))?;
        spawn(TaskKind::Connection, async move {
            // Whoever waits for the answer is told by its own error.
            let _ = connection.await;
        });
        let request = Request::get("/stats/summary")
            .header("host", "node")
            .body(Empty::<Bytes>::new())
            .map_err(|why| failed(&why))?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|why| failed(&why))?;
        let body = whole(answer.into_body(), SUMMARY_BYTES).await;
        let body = body.map_err(|why| failed(&why))?;
        serde_json::from_slice(&body).map_err(|why| failed(&why))
    }
}

/// What is told of an object besides its use.
struct Bare {
    uid: String,
    metadata: Value,
}

impl Bare {
    fn of(object: &Value) -> Self {
        let meta = Meta::of(object);
        let mut metadata = json!({"name": meta.name()});
        if !meta.namespace().is_empty() {
            metadata["namespace"] = meta.namespace().into();
        }
        if !object["metadata"]["labels"].is_null() {
            metadata["labels"] = object["metadata"]["labels"].clone();
        }
        Self {
            uid: meta.uid().to_owned(),
            metadata,
        }
    }

    fn draft(&self, target: &Target, mut fields: Value) -> Result<Arc<Object>, Status> {
        fields["apiVersion"] = target.kind.api_version().into();
        fields["kind"] = target.kind.kind().into();
        fields["metadata"] = self.metadata.clone();
        fields["metadata"]["creationTimestamp"] = fields["timestamp"].clone();
        let draft = Draft::new(&target.kind, fields)?;
        Ok(Arc::new(Object::new(
            draft.key,
            0,
            0,
            draft.header,
            draft.bytes,
        )))
    }
}

/// The nodes or pods that are meant, each with its node.
fn subjects(snapshot: &Snapshot, target: &Target) -> Vec<(Bare, String)> {
    let resource = target.kind.plural();
    let namespace = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
    let objects: Vec<Arc<Object>> = match target.name.as_str() {
        "" => snapshot.list(resource, namespace, None).collect(),
        name => snapshot
            .find(resource, &target.namespace, name)
            .into_iter()
            .collect(),
    };
    let subjects = objects.into_iter().filter_map(|object| {
        let value = object.value();
        let node = match target.kind.namespaced() {
            true => value["spec"]["nodeName"].as_str()?.to_owned(),
            false => object.key.name.to_string(),
        };
        Some((Bare::of(&value), node))
    });
    subjects.collect()
}

fn of_node(used: &Value) -> Option<Value> {
    Some(json!({
        "timestamp": seconds(&used["cpu"]["time"]),
        "window": WINDOW,
        "usage": usage(used)?,
    }))
}

fn of_pod(summary: &Value, uid: &str) -> Option<Value> {
    let mut pods = summary["pods"].as_array()?.iter();
    let pod = pods.find(|pod| pod["podRef"]["uid"] == uid)?;
    let containers = pod["containers"].as_array()?.iter();
    let containers: Option<Vec<Value>> = containers
        .map(|used| Some(json!({"name": used["name"], "usage": usage(used)?})))
        .collect();
    Some(json!({
        "timestamp": seconds(&pod["cpu"]["time"]),
        "window": WINDOW,
        "containers": containers?,
    }))
}

fn usage(used: &Value) -> Option<Value> {
    let cpu = used["cpu"]["usageNanoCores"].as_u64()?;
    let memory = used["memory"]["workingSetBytes"].as_u64()?;
    Some(node_metrics::usage(cpu, memory))
}

/// Times of objects have no fractions.
fn seconds(time: &Value) -> Value {
    let unix_ms = time.as_str().and_then(kontiki_api::time::parse);
    unix_ms.map_or(Value::Null, |ms| kontiki_api::time::rfc3339(ms).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_becomes_metrics_and_what_has_no_rate_is_left_out() {
        let used = |rate: Value| {
            json!({
                "name": "main",
                "cpu": {"time": "2026-01-01T00:00:00Z", "usageNanoCores": rate},
                "memory": {"workingSetBytes": 2048},
            })
        };
        let node = of_node(&used(json!(1_000_000))).unwrap();
        assert_eq!(node["usage"], json!({"cpu": "1000000n", "memory": "2Ki"}));
        assert_eq!(of_node(&used(Value::Null)), None);
        let pod =
            |rate: Value| json!({"podRef": {"uid": "u"}, "cpu": {}, "containers": [used(rate)]});
        let summary = |rate: Value| json!({"pods": [pod(rate)]});
        let found = of_pod(&summary(json!(1)), "u").unwrap();
        assert_eq!(found["containers"][0]["usage"]["cpu"], "1n");
        assert_eq!(of_pod(&summary(json!(1)), "other"), None);
        assert_eq!(of_pod(&summary(Value::Null), "u"), None);
    }
}
