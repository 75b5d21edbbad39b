//! The words of a FailedScheduling event, as upstream's `FitError.Error()`.

use std::collections::BTreeMap;

use crate::framework::Rejection;

/// `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: ...`
pub fn explain(n_nodes: usize, rejected: &[(usize, Rejection)], preemption: &str) -> String {
    if n_nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in rejected
        .iter()
        .flat_map(|(_, rejection)| &rejection.reasons)
    {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<String> = counts
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.sort();
    let mut text = format!("0/{n_nodes} nodes are available: {}.", parts.join(", "));
    if !preemption.is_empty() {
        text.push_str(" preemption: ");
        text.push_str(preemption);
    }
    text
}
