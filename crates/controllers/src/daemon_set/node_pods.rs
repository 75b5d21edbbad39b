//! Which nodes should run a pod of a DaemonSet, and which pods are for which node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kontiki_api::scheduling::{any_tolerates, node_affinity_admits};

use super::template::NODE_FIELD;
use crate::pods::is_finished;
use crate::view::{Found, ms_of};

/// What a node is to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// It should get a pod.
    pub run: bool,
    /// What it has may stay: it is tainted since, but evicts nobody.
    pub stay: bool,
}

/// Whether a node should run this pod.
pub fn fit(pod: &Pod, node: &Node) -> Fit {
    let (no, name) = (
        Fit {
            run: false,
            stay: false,
        },
        node.metadata.name.as_deref().unwrap_or_default(),
    );
    let Some(spec) = &pod.spec else { return no };
    let named = spec.node_name.as_deref().filter(|named| !named.is_empty());
    let labels = node.metadata.labels.clone().unwrap_or_default();
    if named.is_some_and(|named| named != name) || !node_affinity_admits(pod, &labels, name) {
        return no;
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let refused = |effects: &[&str]| {
        let mut taints = taints.into_iter().flatten();
        taints.any(|taint| {
            effects.contains(&taint.effect.as_str()) && !any_tolerates(tolerations, taint)
        })
    };
    Fit {
        run: !refused(&["NoSchedule", "NoExecute"]),
        stay: !refused(&["NoExecute"]),
    }
}

/// The node that a pod is on or for.
pub fn target(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let terms = required.node_selector_terms.iter();
    let mut fields = terms.flat_map(|term| term.match_fields.iter().flatten());
    let named = fields.find(|field| field.key == NODE_FIELD && field.operator == "In")?;
    let values = named.values.as_deref().unwrap_or_default();
    values
        .first()
        .filter(|_| values.len() == 1)
        .map(String::as_str)
}

/// Pods of a set by node, each node's oldest first, bound ones before all.
#[derive(Debug, Default)]
pub struct NodePods(pub BTreeMap<String, Vec<Found<Pod>>>);

impl NodePods {
    /// Sorts pods by node. What has ended and is being deleted is not there any more.
    pub fn new(pods: &[Found<Pod>]) -> Self {
        let mut by_node: BTreeMap<String, Vec<Found<Pod>>> = BTreeMap::new();
        for pod in pods {
            let going = pod.metadata.deletion_timestamp.is_some();
            if going && is_finished(pod) {
                continue;
            }
            if let Some(node) = target(pod) {
                by_node
                    .entry(node.to_owned())
                    .or_default()
                    .push(pod.clone());
            }
        }
        for pods in by_node.values_mut() {
            pods.sort_by_cached_key(|pod| {
                let created = pod.metadata.creation_timestamp.as_ref().map_or(0, ms_of);
                (!is_bound(pod), created, pod.name().to_owned())
            });
        }
        Self(by_node)
    }

    /// The pods of a node.
    pub fn of(&self, node: &str) -> &[Found<Pod>] {
        self.0.get(node).map_or(&[], Vec::as_slice)
    }
}

/// Whether a pod has its node.
pub fn is_bound(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.is_some_and(|node| !node.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(taints: serde_json::Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"disk": "ssd"}}, "spec": {"taints": taints},
        }))
        .unwrap()
    }

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    #[test]
    fn names_labels_and_taints_decide() {
        for (spec, taints, run, stay) in [
            (json!({}), json!([]), true, true),
            (json!({"nodeName": "n2"}), json!([]), false, false),
            (
                json!({"nodeSelector": {"disk": "hdd"}}),
                json!([]),
                false,
                false,
            ),
            (
                json!({"nodeSelector": {"disk": "ssd"}}),
                json!([]),
                true,
                true,
            ),
            (
                json!({}),
                json!([{"key": "a", "effect": "NoSchedule"}]),
                false,
                true,
            ),
            (
                json!({}),
                json!([{"key": "a", "effect": "NoExecute"}]),
                false,
                false,
            ),
            (
                json!({}),
                json!([{"key": "a", "effect": "PreferNoSchedule"}]),
                true,
                true,
            ),
        ] {
            let found = fit(&pod(spec.clone()), &node(taints.clone()));
            assert_eq!(found, Fit { run, stay }, "{spec} {taints}");
        }
    }

    #[test]
    fn a_pods_node_is_known_before_it_is_bound() {
        let affinity = json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
            ]},
        }}});
        assert_eq!(target(&pod(affinity)), Some("n1"));
        assert_eq!(target(&pod(json!({"nodeName": "n2"}))), Some("n2"));
        assert_eq!(target(&pod(json!({}))), None);
    }
}
