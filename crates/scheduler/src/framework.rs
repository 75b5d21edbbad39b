//! The extension points, named as upstream's: PreFilter, Filter, PreScore, Score, NormalizeScore.
//!
//! A plugin is one file in `plugins/` and one line in `PLUGINS`. Plugins keep no state: what PreFilter or PreScore
//! works out lives in the `Cycle`.

use std::borrow::Cow;

use crate::cache::Cache;
use crate::plugins::{inter_pod_affinity, pod_topology_spread};
use crate::pod_info::PodInfo;
use crate::volumes::Need;

/// The best score of a plugin for a node.
pub const MAX_SCORE: i64 = 100;

/// Why a node does not take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// In words, as people read them in FailedScheduling events.
    pub reasons: Vec<Cow<'static, str>>,
    /// Removing pods from the node would not help.
    pub unresolvable: bool,
}

impl Rejection {
    /// Removing pods may help.
    pub fn resolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reasons: vec![reason.into()],
            unresolvable: false,
        }
    }

    /// Removing pods does not help.
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reasons: vec![reason.into()],
            unresolvable: true,
        }
    }
}

/// One pod's way through the plugins.
pub struct Cycle<'a> {
    /// Nodes and pods.
    pub cache: &'a Cache,
    /// The pending pod.
    pub pod: &'a PodInfo,
    /// Pods of equal or higher priority that wait for victims to leave: their room is taken.
    pub nominated: &'a [(usize, std::sync::Arc<PodInfo>)],
    /// InterPodAffinity's state.
    pub affinity: inter_pod_affinity::State<'a>,
    /// PodTopologySpread's state.
    pub spread: pod_topology_spread::State<'a>,
    /// What the pod's claims ask of a node: VolumeBinding's state.
    pub needs: Vec<Need>,
    /// A claim that is one pod's at a time is another's: VolumeRestrictions' state.
    pub is_taken: bool,
}

impl<'a> Cycle<'a> {
    /// Starts a cycle and runs PreFilter.
    pub fn new(
        cache: &'a Cache,
        pod: &'a PodInfo,
        nominated: &'a [(usize, std::sync::Arc<PodInfo>)],
    ) -> Self {
        let affinity = inter_pod_affinity::State::default();
        let spread = pod_topology_spread::State::default();
        let mut cycle = Self {
            cache,
            pod,
            nominated,
            affinity,
            spread,
            needs: Vec::new(),
            is_taken: false,
        };
        PLUGINS
            .iter()
            .for_each(|plugin| plugin.pre_filter(&mut cycle));
        cycle
    }

    /// Runs the filters of `local` kind in order; the first that refuses explains.
    pub fn filter(&self, slot: usize, local: bool) -> Result<(), Rejection> {
        PLUGINS
            .iter()
            .filter(|plugin| plugin.local() == local)
            .try_for_each(|plugin| plugin.filter(self, slot))
    }
}

/// A scheduling rule.
pub trait Plugin: Sync {
    /// Upstream's name.
    fn name(&self) -> &'static str;

    /// Whether filter and score follow from the pod's signature and the node alone; then they are kept per
    /// signature until that node changes.
    fn local(&self) -> bool {
        true
    }

    /// Prepares the filter.
    fn pre_filter(&self, _cycle: &mut Cycle<'_>) {}

    /// Whether the node takes the pod.
    fn filter(&self, _cycle: &Cycle<'_>, _slot: usize) -> Result<(), Rejection> {
        Ok(())
    }

    /// Weight of the score; 0 for a plugin that does not score.
    fn weight(&self) -> i64 {
        0
    }

    /// Prepares scoring of the nodes that passed.
    fn pre_score(&self, _cycle: &mut Cycle<'_>, _feasible: &[u32]) {}

    /// The node's score, raw.
    fn score(&self, _cycle: &Cycle<'_>, _slot: usize) -> i64 {
        0
    }

    /// Brings raw scores of the feasible nodes to 0..=100.
    fn normalize_score(&self, _cycle: &Cycle<'_>, _feasible: &[u32], _scores: &mut [i64]) {}
}

/// All plugins in upstream's default order; filters of local plugins come first.
pub static PLUGINS: &[&dyn Plugin] = &[
    &crate::plugins::node_unschedulable::NodeUnschedulable,
    &crate::plugins::taint_toleration::TaintToleration,
    &crate::plugins::node_affinity::NodeAffinity,
    &crate::plugins::node_ports::NodePorts,
    &crate::plugins::node_resources_fit::NodeResourcesFit,
    &crate::plugins::volume_restrictions::VolumeRestrictions,
    &crate::plugins::volume_binding::VolumeBinding,
    &crate::plugins::volume_zone::VolumeZone,
    &crate::plugins::pod_topology_spread::PodTopologySpread,
    &crate::plugins::inter_pod_affinity::InterPodAffinity,
    &crate::plugins::balanced_allocation::BalancedAllocation,
    &crate::plugins::image_locality::ImageLocality,
];

/// Scales to 0..=100 by the largest, optionally upside down, as upstream's `DefaultNormalizeScore`.
pub fn default_normalize(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if max == 0 {
            0
        } else {
            *score * MAX_SCORE / max
        };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
