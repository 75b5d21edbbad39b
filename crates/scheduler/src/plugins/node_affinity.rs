//! `nodeSelector` and node affinity, required and preferred.

use k8s_openapi::api::core::v1::PreferredSchedulingTerm;
use kontiki_api::scheduling::{node_affinity_admits, node_term_matches};

use crate::framework::{Cycle, Plugin, Rejection, default_normalize};
use crate::labels::Labels;
use crate::pod_info::PodInfo;

/// The plugin.
pub struct NodeAffinity;

fn preferred(pod: &PodInfo) -> &[PreferredSchedulingTerm] {
    let affinity = pod
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.affinity.as_ref());
    affinity
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|rules| {
            rules
                .preferred_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        let empty = Labels::new();
        let table = &cycle.cache.table;
        let labels = table.labels(slot).unwrap_or(&empty);
        if node_affinity_admits(&cycle.pod.pod, labels, table.name(slot)) {
            return Ok(());
        }
        Err(Rejection::unresolvable(
            "node(s) didn't match Pod's node affinity/selector",
        ))
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        let empty = Labels::new();
        let table = &cycle.cache.table;
        let labels = table.labels(slot).unwrap_or(&empty);
        let terms = preferred(cycle.pod).iter();
        terms
            .filter(|term| node_term_matches(&term.preference, labels, table.name(slot)))
            .map(|term| i64::from(term.weight))
            .sum()
    }

    fn normalize_score(&self, _: &Cycle<'_>, _: &[u32], scores: &mut [i64]) {
        default_normalize(scores, false);
    }
}
