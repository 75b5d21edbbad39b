//! The pod of a DaemonSet: its template, the tolerations that each gets, and the node that it is for.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Work;
use crate::pods::{controller_ref, from_template, name_prefix};

/// Annotation of a set with the number of its template; pods carry it as a label.
const GENERATION: &str = "deprecated.daemonset.template.generation";
/// Label of a pod with that number.
pub const GENERATION_LABEL: &str = "pod-template-generation";
/// Label of a pod and of a revision with the hash of the template.
pub const HASH_LABEL: &str = "controller-revision-hash";
/// The field of a node that pods are told their node by.
pub const NODE_FIELD: &str = "metadata.name";

/// What a node may be tainted with and still gets its pod.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// The same, for pods in the node's own network.
const TOLERATED_ON_HOST: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The number of a set's template.
pub fn generation(set: &DaemonSet) -> Option<String> {
    let text = set.metadata.annotations.as_ref()?.get(GENERATION)?;
    text.parse::<i64>().ok().map(|number| number.to_string())
}

/// A pod with all that decides which nodes it may run on.
pub fn scheduling_pod(template: &PodTemplateSpec) -> Pod {
    let mut spec = template.spec.clone();
    spec.iter_mut().for_each(tolerate);
    Pod {
        metadata: ObjectMeta::default(),
        spec,
        status: None,
    }
}

fn tolerate(spec: &mut PodSpec) {
    let host = spec.host_network == Some(true);
    let host = host.then_some(&TOLERATED_ON_HOST);
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in TOLERATED.iter().chain(host) {
        let wanted = Toleration {
            key: Some((*key).into()),
            operator: Some("Exists".into()),
            effect: Some((*effect).into()),
            ..Toleration::default()
        };
        // One that differs in its seconds only is the set's no longer: its pods stay.
        let same = |it: &Toleration| {
            let (mut it, value) = (it.clone(), it.value.clone());
            it.toleration_seconds = None;
            it.value = value.filter(|value| !value.is_empty());
            it == wanted
        };
        match tolerations.iter_mut().find(|it| same(it)) {
            Some(it) => *it = wanted,
            None => tolerations.push(wanted),
        }
    }
}

/// Bound to be on one node, whatever else the template asks of nodes: it has been asked already.
fn pin(spec: &mut PodSpec, node: &str) {
    let affinity = spec.affinity.get_or_insert_default();
    let affinity = affinity.node_affinity.get_or_insert_default();
    let named = NodeSelectorRequirement {
        key: NODE_FIELD.into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_fields: Some(vec![named]),
            match_expressions: None,
        }],
    });
}

impl Work<'_> {
    /// The pod for a node.
    pub fn new_pod(&self, node: &str) -> Pod {
        let (set, prefix) = (&self.set, name_prefix(self.set.name()));
        let owner = controller_ref(set);
        let mut pod = from_template(&self.spec.template, set.namespace(), &prefix, owner);
        let labels: &mut BTreeMap<_, _> = pod.metadata.labels.get_or_insert_default();
        if let Some(generation) = &self.generation {
            labels.insert(GENERATION_LABEL.into(), generation.clone());
        }
        labels.insert(HASH_LABEL.into(), self.hash.clone());
        if let Some(spec) = &mut pod.spec {
            tolerate(spec);
            pin(spec, node);
        }
        pod
    }

    /// Whether a pod is of the present template.
    pub fn is_updated(&self, pod: &Pod) -> bool {
        let label = |key: &str| pod.metadata.labels.as_ref().and_then(|it| it.get(key));
        let by_hash = label(HASH_LABEL).is_some_and(|it| *it == self.hash);
        let by_number = label(GENERATION_LABEL);
        by_hash || by_number.is_some_and(|it| Some(it) == self.generation.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_tolerates_what_ails_its_node_and_names_it() {
        let mut spec = PodSpec {
            host_network: Some(true),
            tolerations: Some(vec![Toleration {
                key: Some("node.kubernetes.io/not-ready".into()),
                operator: Some("Exists".into()),
                effect: Some("NoExecute".into()),
                toleration_seconds: Some(5),
                value: None,
            }]),
            ..PodSpec::default()
        };
        tolerate(&mut spec);
        tolerate(&mut spec);
        let tolerations = spec.tolerations.as_ref().unwrap();
        assert_eq!(tolerations.len(), 7);
        assert_eq!(tolerations[0].toleration_seconds, None);
        pin(&mut spec, "n1");
        let required = spec.affinity.unwrap().node_affinity.unwrap();
        let terms = required
            .required_during_scheduling_ignored_during_execution
            .unwrap()
            .node_selector_terms;
        let fields = terms[0].match_fields.as_ref().unwrap();
        assert_eq!(fields[0].values.as_deref(), Some(&["n1".to_owned()][..]));
    }
}
