//! Pods that want to be with, or away from, other pods; and what placed pods want of this one (symmetry).

use std::collections::BTreeSet;

use crate::cache::{Cache, Carry, PerNode, anti_key, together_key};
use crate::framework::{Cycle, MAX_SCORE, Plugin, Rejection};
use crate::node_table::{Column, NO_DOMAIN};
use crate::pod_info::Term;

/// Weight of a placed pod's required affinity towards this one (upstream's `hardPodAffinityWeight`).
const HARD_WEIGHT: i64 = 1;

/// The plugin.
pub struct InterPodAffinity;

/// Counts per value of one topology label.
struct Domains<'a> {
    column: &'a Column,
    counts: Vec<i64>,
}

impl<'a> Domains<'a> {
    fn new(cache: &'a Cache, key: &str) -> Option<Self> {
        let column = cache.table.column(key)?;
        Some(Self {
            column,
            counts: vec![0; column.n_values()],
        })
    }

    fn add(&mut self, per_node: &PerNode, weight: i64) {
        for (slot, count) in per_node {
            let id = self.column.ids[*slot as usize];
            if id != NO_DOMAIN {
                self.counts[id as usize] += weight * i64::from(*count);
            }
        }
    }

    /// The node's count; `None` when it lacks the label.
    fn at(&self, slot: usize) -> Option<i64> {
        let id = self.column.ids[slot];
        (id != NO_DOMAIN).then(|| self.counts[id as usize])
    }
}

/// What PreFilter and PreScore found.
#[derive(Default)]
pub struct State<'a> {
    forbidden: Vec<Domains<'a>>,
    apart: Vec<Domains<'a>>,
    together: Vec<Domains<'a>>,
    /// Nobody matches the required affinity yet and the pod matches itself: it may be the first.
    first_of_its_kind: bool,
    scores: Vec<Domains<'a>>,
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn local(&self) -> bool {
        false
    }

    fn pre_filter(&self, cycle: &mut Cycle<'_>) {
        let (cache, pod) = (cycle.cache, cycle.pod);
        let mut state = State::default();
        for (carry, term, per_node) in cache.carried() {
            if carry == Carry::Apart && cache.in_set(&term.pods, pod) {
                push(&mut state.forbidden, cache, term, Some(per_node), 1);
            }
        }
        for term in &pod.anti_affinity {
            push(
                &mut state.apart,
                cache,
                term,
                cache.counter(&anti_key(term)),
                1,
            );
        }
        if !pod.affinity.is_empty() {
            let matching = cache.counter(&together_key(pod));
            for term in &pod.affinity {
                push(&mut state.together, cache, term, matching, 1);
            }
            let none = state
                .together
                .iter()
                .all(|domains| domains.counts.iter().all(|n| *n == 0));
            let itself = pod
                .affinity
                .iter()
                .all(|term| cache.in_set(&term.pods, pod));
            state.first_of_its_kind = none && itself;
        }
        cycle.affinity = state;
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        let state = &cycle.affinity;
        let met = state.together.iter().all(|domains| {
            domains
                .at(slot)
                .is_some_and(|count| count > 0 || state.first_of_its_kind)
        });
        if !met {
            return Err(Rejection::unresolvable(
                "node(s) didn't match pod affinity rules",
            ));
        }
        let occupied = |domains: &Domains<'_>| domains.at(slot).is_some_and(|count| count > 0);
        if state.apart.iter().any(occupied) {
            return Err(Rejection::resolvable(
                "node(s) didn't match pod anti-affinity rules",
            ));
        }
        if state.forbidden.iter().any(occupied) {
            return Err(Rejection::resolvable(
                "node(s) didn't satisfy existing pods anti-affinity rules",
            ));
        }
        Ok(())
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(&self, cycle: &mut Cycle<'_>, _: &[u32]) {
        let (cache, pod) = (cycle.cache, cycle.pod);
        let mut scores = Vec::new();
        for (weight, term) in &pod.preferred {
            push(
                &mut scores,
                cache,
                term,
                cache.counter(&anti_key(term)),
                *weight,
            );
        }
        for (carry, term, per_node) in cache.carried() {
            let weight = match carry {
                Carry::Apart => continue,
                Carry::Together => HARD_WEIGHT,
                Carry::Preferred(weight) => weight,
            };
            if cache.in_set(&term.pods, pod) {
                push(&mut scores, cache, term, Some(per_node), weight);
            }
        }
        cycle.affinity.scores = scores;
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        cycle
            .affinity
            .scores
            .iter()
            .filter_map(|domains| domains.at(slot))
            .sum()
    }

    fn normalize_score(&self, cycle: &Cycle<'_>, _: &[u32], scores: &mut [i64]) {
        if cycle.affinity.scores.is_empty() {
            return;
        }
        let bounds: BTreeSet<i64> = scores.iter().copied().collect();
        let (Some(min), Some(max)) = (bounds.first(), bounds.last()) else {
            return;
        };
        for score in scores.iter_mut() {
            *score = if max > min {
                MAX_SCORE * (*score - min) / (max - min)
            } else {
                0
            };
        }
    }
}

fn push<'a>(
    to: &mut Vec<Domains<'a>>,
    cache: &'a Cache,
    term: &Term,
    per_node: Option<&PerNode>,
    weight: i64,
) {
    let Some(mut domains) = Domains::new(cache, &term.topology_key) else {
        return;
    };
    per_node
        .into_iter()
        .for_each(|per_node| domains.add(per_node, weight));
    to.push(domains);
}
