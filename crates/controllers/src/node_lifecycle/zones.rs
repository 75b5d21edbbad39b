//! The eviction brake: at most one node of a zone at a time is given its NoExecute taint.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;

use super::{status_of, taints};
use crate::Error;
use crate::plan::Plan;
use crate::view::{Found, View, ms_of};

/// Pause between two nodes of a zone (`--node-eviction-rate` 0.1/s).
const NORMAL_MS: u64 = 10_000;
/// The same in a large zone in trouble (`--secondary-node-eviction-rate` 0.01/s).
const SLOW_MS: u64 = 100_000;
/// Share of unhealthy nodes, in percent, that means trouble (`--unhealthy-zone-threshold`).
const UNHEALTHY_PERCENT: usize = 55;
/// Zones up to this size stop in trouble (`--large-cluster-size-threshold`).
const LARGE: usize = 50;

/// A zone's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Most nodes are well.
    Normal,
    /// Many are not.
    Partial,
    /// None is well.
    Full,
}

/// The zone that labels put a node in.
pub fn of_labels<'a>(label: impl Fn(&str) -> Option<&'a str>) -> String {
    let region = label("topology.kubernetes.io/region").unwrap_or_default();
    let zone = label("topology.kubernetes.io/zone").unwrap_or_default();
    format!("{region}:\u{0}:{zone}")
}

fn zone_of(node: &Found<Node>) -> String {
    of_labels(|name| node.object.header.label(name))
}

fn ready(node: &Node) -> &str {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    status_of(conditions.unwrap_or_default(), "Ready")
}

/// The state of a zone of so many nodes.
pub fn state(n_ready: usize, n_not_ready: usize) -> Zone {
    if n_ready == 0 && n_not_ready > 0 {
        Zone::Full
    } else if n_not_ready > 2 && n_not_ready * 100 >= UNHEALTHY_PERCENT * (n_ready + n_not_ready) {
        Zone::Partial
    } else {
        Zone::Normal
    }
}

/// Pause between evictions; `None` for no evictions.
pub fn pause_ms(zone: Zone, n_nodes: usize, all_full: bool) -> Option<u64> {
    match zone {
        _ if all_full => None,
        Zone::Normal | Zone::Full => Some(NORMAL_MS),
        Zone::Partial => (n_nodes > LARGE).then_some(SLOW_MS),
    }
}

/// Taints at most one node of the zone.
pub fn reconcile(view: &View<'_>, name: &str) -> Result<Plan, Error> {
    let mut plan = Plan::none();
    let mut zones: BTreeMap<String, Vec<Found<Node>>> = BTreeMap::new();
    for node in view.list::<Node>(None)? {
        zones.entry(zone_of(&node)).or_default().push(node);
    }
    let state_of = |nodes: &[Found<Node>]| {
        let n_ready = nodes.iter().filter(|node| ready(node) == "True").count();
        state(n_ready, nodes.len() - n_ready)
    };
    let all_full = zones.values().all(|nodes| state_of(nodes) == Zone::Full);
    let Some(nodes) = zones.get(name) else {
        return Ok(plan);
    };
    let Some(pause) = pause_ms(state_of(nodes), nodes.len(), all_full) else {
        if all_full {
            release(nodes, &mut plan);
        }
        return Ok(plan);
    };
    let evicting = |node: &Node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        taints
            .into_iter()
            .flatten()
            .find(|taint| taints::evicts(taint))
            .cloned()
    };
    let mut waiting: Vec<&Found<Node>> = nodes
        .iter()
        .filter(|node| ready(node) != "True" && evicting(node).is_none())
        .filter(|node| silent_or_unready(view, node))
        .collect();
    waiting.sort_by_key(|node| (transition_ms(node), node.name().to_owned()));
    let Some(first) = waiting.first() else {
        return Ok(plan);
    };
    let added = nodes
        .iter()
        .filter_map(|node| evicting(node)?.time_added.as_ref().map(ms_of));
    let next = added.max().map_or(0, |last| last + pause);
    if next > view.now_ms {
        plan.requeue_after_ms(next - view.now_ms);
        return Ok(plan);
    }
    let key = taints::key_for(ready(first)).unwrap_or(taints::UNREACHABLE);
    let mut list = first
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    list.push(taints::new(key, "NoExecute", view));
    plan.edit(&first.object, |value| taints::write(value, &list));
    if waiting.len() > 1 {
        plan.requeue_after_ms(pause);
    }
    Ok(plan)
}

/// A new node without conditions is not evicted from before its grace period is over.
fn silent_or_unready(view: &View<'_>, node: &Found<Node>) -> bool {
    !ready(node).is_empty() || super::last_heard_ms(view, node) + super::GRACE_MS <= view.now_ms
}

fn transition_ms(node: &Node) -> u64 {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    ready
        .and_then(|ready| ready.last_transition_time.as_ref())
        .map_or(0, ms_of)
}

/// Everything is dark: nobody is evicted, and who is being evicted is spared.
fn release(nodes: &[Found<Node>], plan: &mut Plan) {
    for node in nodes {
        let mut list = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        list.retain(|taint| !taints::evicts(taint));
        plan.edit(&node.object, |value| taints::write(value, &list));
    }
}
