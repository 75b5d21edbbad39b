//! A pod as the scheduler reads it: everything that filters and scores need, parsed once per revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Pod, PodAffinityTerm, PodSpec, TopologySpreadConstraint,
};
use serde_json::json;

use crate::labels::{Labels, Selector};
use crate::resources::{Resources, pod_requests};

/// Which pods a counter counts: those of some namespaces that match a selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodSet {
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selector: Option<Selector>,
    /// Labels of the pods.
    pub selector: Selector,
}

/// An affinity or anti-affinity term: a set of pods and the label that says what "together" means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The pods.
    pub pods: PodSet,
    /// Node label.
    pub topology_key: Arc<str>,
}

/// One topology spread constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The pods that count.
    pub pods: PodSet,
    /// Node label.
    pub topology_key: Arc<str>,
    /// Largest allowed difference.
    pub max_skew: i64,
    /// Fewest domains; below it the global minimum is 0.
    pub min_domains: i64,
    /// Count only nodes that the pod's node affinity admits (the default).
    pub honor_affinity: bool,
    /// Count only nodes whose taints the pod tolerates.
    pub honor_taints: bool,
}

/// A host port in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Port number.
    pub port: i32,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// Address; `0.0.0.0` for all.
    pub ip: String,
}

impl HostPort {
    /// Whether both cannot be open on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let wildcard = |ip: &str| ip == "0.0.0.0" || ip == "::";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || wildcard(&self.ip) || wildcard(&other.ip))
    }
}

/// A parsed pod.
#[derive(Debug)]
pub struct PodInfo {
    /// The object.
    pub pod: Arc<Pod>,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// Priority.
    pub priority: i32,
    /// Declared requests.
    pub requests: Resources,
    /// Requests with scoring defaults for cpu and memory.
    pub assumed: Resources,
    /// Host ports.
    pub ports: Vec<HostPort>,
    /// Controller's uid.
    pub owner: Option<Arc<str>>,
    /// Required affinity.
    pub affinity: Vec<Term>,
    /// Required anti-affinity.
    pub anti_affinity: Vec<Term>,
    /// Preferred affinity (positive) and anti-affinity (negative) with weights.
    pub preferred: Vec<(i64, Term)>,
    /// Hard spread constraints.
    pub hard_spread: Vec<Spread>,
    /// Soft spread constraints.
    pub soft_spread: Vec<Spread>,
    /// Pods with equal signatures are filtered and scored alike.
    pub signature: Arc<str>,
}

impl PodInfo {
    /// Parses.
    pub fn new(pod: Arc<Pod>) -> Self {
        let (requests, assumed) = pod_requests(&pod);
        let empty_labels = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&empty_labels);
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let default_spec = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&default_spec);
        let affinity = spec.affinity.as_ref();
        let together = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let term = |term: &PodAffinityTerm| new_term(term, &namespace, labels);
        let mut preferred = Vec::new();
        for weighted in together
            .and_then(|rules| {
                rules
                    .preferred_during_scheduling_ignored_during_execution
                    .as_deref()
            })
            .unwrap_or_default()
        {
            preferred.push((
                i64::from(weighted.weight),
                term(&weighted.pod_affinity_term),
            ));
        }
        for weighted in apart
            .and_then(|rules| {
                rules
                    .preferred_during_scheduling_ignored_during_execution
                    .as_deref()
            })
            .unwrap_or_default()
        {
            preferred.push((
                -i64::from(weighted.weight),
                term(&weighted.pod_affinity_term),
            ));
        }
        let required_together = together.and_then(|rules| {
            rules
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        });
        let required_apart = apart.and_then(|rules| {
            rules
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        });
        let owner = owner_uid(&pod);
        let (hard, soft): (Vec<_>, Vec<_>) = spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .partition(|constraint| constraint.when_unsatisfiable != "ScheduleAnyway");
        let spread =
            |constraint: &TopologySpreadConstraint| new_spread(constraint, &namespace, labels);
        Self {
            uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
            priority: spec.priority.unwrap_or(0),
            ports: host_ports(spec),
            affinity: required_together
                .unwrap_or_default()
                .iter()
                .map(term)
                .collect(),
            anti_affinity: required_apart
                .unwrap_or_default()
                .iter()
                .map(term)
                .collect(),
            preferred,
            hard_spread: hard.into_iter().map(spread).collect(),
            soft_spread: soft.into_iter().map(spread).collect(),
            signature: signature(&pod, spec, owner.as_deref()),
            owner,
            requests,
            assumed,
            pod,
        }
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.labels`.
    pub fn labels(&self) -> Option<&Labels> {
        self.pod.metadata.labels.as_ref()
    }

    /// The node in `spec.nodeName`, if bound.
    pub fn bound_node(&self) -> Option<&str> {
        self.pod
            .spec
            .as_ref()?
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty())
    }

    /// Whether it is being deleted.
    pub fn terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }
}

fn owner_uid(pod: &Pod) -> Option<Arc<str>> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str().into())
}

fn new_term(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Term {
    let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
    if namespaces.is_empty() && term.namespace_selector.is_none() {
        namespaces.insert(namespace.to_owned());
    }
    let selector = Selector::new(term.label_selector.as_ref())
        .with_label_keys(term.match_label_keys.as_deref(), labels, true)
        .with_label_keys(term.mismatch_label_keys.as_deref(), labels, false);
    let namespace_selector = term
        .namespace_selector
        .as_ref()
        .map(|selector| Selector::new(Some(selector)));
    Term {
        pods: PodSet {
            namespaces,
            namespace_selector,
            selector,
        },
        topology_key: term.topology_key.as_str().into(),
    }
}

fn new_spread(constraint: &TopologySpreadConstraint, namespace: &str, labels: &Labels) -> Spread {
    let selector = Selector::new(constraint.label_selector.as_ref()).with_label_keys(
        constraint.match_label_keys.as_deref(),
        labels,
        true,
    );
    Spread {
        pods: PodSet {
            namespaces: BTreeSet::from([namespace.to_owned()]),
            namespace_selector: None,
            selector,
        },
        topology_key: constraint.topology_key.as_str().into(),
        max_skew: i64::from(constraint.max_skew),
        min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
        honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars =
        sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let containers = spec.containers.iter().chain(sidecars);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| host_port(port, spec.host_network == Some(true)))
        .collect()
}

fn host_port(port: &ContainerPort, host_network: bool) -> Option<HostPort> {
    let number = port.host_port.filter(|number| *number > 0);
    let number = number.or(host_network.then_some(port.container_port))?;
    Some(HostPort {
        port: number,
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        ip: port
            .host_ip
            .clone()
            .filter(|ip| !ip.is_empty())
            .unwrap_or_else(|| "0.0.0.0".into()),
    })
}

/// Only what some plugin reads: names of volumes, environment and commands differ without effect.
fn signature(pod: &Pod, spec: &PodSpec, owner: Option<&str>) -> Arc<str> {
    let container = |container: &Container| {
        json!([
            container.image,
            container.resources,
            container.ports,
            container.restart_policy
        ])
    };
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let parts = json!([
        pod.metadata.namespace,
        pod.metadata.labels,
        owner,
        spec.priority,
        spec.node_selector,
        spec.affinity,
        spec.tolerations,
        spec.topology_spread_constraints,
        spec.host_network,
        spec.overhead,
        spec.containers.iter().map(container).collect::<Vec<_>>(),
        inits.iter().map(container).collect::<Vec<_>>(),
    ]);
    parts.to_string().into()
}
