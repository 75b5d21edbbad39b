//! Even spread over zones, hosts or any label: hard constraints filter, soft ones score. A pod that names none is
//! spread softly with its owner's other pods, over hosts and zones, as upstream's system default.

use kontiki_api::scheduling::{any_tolerates, node_affinity_admits};

use crate::cache::{PerNode, spread_key};
use crate::framework::{Cycle, MAX_SCORE, Plugin, Rejection};
use crate::labels::Labels;
use crate::node_table::{Column, NO_DOMAIN};
use crate::plugins::taint_toleration::tolerations;
use crate::pod_info::Spread;

/// The zone label.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The host label; counted per node without a column.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// Skews of the system default constraints.
const DEFAULT_HOST_SKEW: i64 = 3;
const DEFAULT_ZONE_SKEW: i64 = 5;

/// The plugin.
pub struct PodTopologySpread;

struct Hard<'a> {
    spread: &'a Spread,
    column: &'a Column,
    counts: Vec<i64>,
    minimum: i64,
    itself: i64,
}

enum Counts<'a> {
    PerNode(Option<&'a PerNode>),
    PerValue(&'a Column, Vec<i64>),
}

struct Soft<'a> {
    counts: Counts<'a>,
    weight: f64,
    max_skew: i64,
}

/// What PreFilter and PreScore found.
#[derive(Default)]
pub struct State<'a> {
    hard: Vec<Hard<'a>>,
    soft: Vec<Soft<'a>>,
    require_all: bool,
}

fn eligible(cycle: &Cycle<'_>, spread: &Spread, slot: usize) -> bool {
    let table = &cycle.cache.table;
    let empty = Labels::new();
    let labels = table.labels(slot).unwrap_or(&empty);
    let repels = |effect: &str| effect == "NoSchedule" || effect == "NoExecute";
    (!spread.honor_affinity || node_affinity_admits(&cycle.pod.pod, labels, table.name(slot)))
        && (!spread.honor_taints
            || !table.taints(slot).iter().any(|taint| {
                repels(&taint.effect) && !any_tolerates(tolerations(cycle.pod), taint)
            }))
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn local(&self) -> bool {
        false
    }

    fn pre_filter(&self, cycle: &mut Cycle<'_>) {
        let (cache, pod) = (cycle.cache, cycle.pod);
        let columns: Vec<&Column> = pod
            .hard_spread
            .iter()
            .filter_map(|spread| cache.table.column(&spread.topology_key))
            .collect();
        let complete = |slot: usize| columns.iter().all(|column| column.ids[slot] != NO_DOMAIN);
        let mut hard = Vec::new();
        for (spread, column) in pod.hard_spread.iter().zip(&columns) {
            let mut counts = vec![0; column.n_values()];
            let mut seen = vec![false; column.n_values()];
            let per_node = cache.counter(&spread_key(&spread.pods));
            for slot in cache.table.present().filter(|slot| complete(*slot)) {
                if eligible(cycle, spread, slot) {
                    let id = column.ids[slot] as usize;
                    seen[id] = true;
                    let on_node = per_node.and_then(|per_node| per_node.get(&(slot as u32)));
                    counts[id] += i64::from(on_node.copied().unwrap_or(0));
                }
            }
            let known = seen.iter().filter(|seen| **seen).count() as i64;
            let domains = counts.iter().zip(&seen).filter(|(_, seen)| **seen);
            let minimum = domains.map(|(count, _)| *count).min().unwrap_or(0);
            let minimum = if known < spread.min_domains {
                0
            } else {
                minimum
            };
            let itself = i64::from(cache.in_set(&spread.pods, pod));
            hard.push(Hard {
                spread,
                column,
                counts,
                minimum,
                itself,
            });
        }
        cycle.spread = State {
            hard,
            ..State::default()
        };
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        for hard in &cycle.spread.hard {
            let id = hard.column.ids[slot];
            if id == NO_DOMAIN {
                return Err(Rejection::unresolvable(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            }
            if hard.counts[id as usize] + hard.itself - hard.minimum > hard.spread.max_skew {
                return Err(Rejection::resolvable(
                    "node(s) didn't match pod topology spread constraints",
                ));
            }
        }
        Ok(())
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(&self, cycle: &mut Cycle<'_>, feasible: &[u32]) {
        let (cache, pod) = (cycle.cache, cycle.pod);
        let mut soft = Vec::new();
        let explicit = !pod.soft_spread.is_empty() || !pod.hard_spread.is_empty();
        for spread in &pod.soft_spread {
            let per_node = cache.counter(&spread_key(&spread.pods));
            let mut constraint = new_soft(
                cycle,
                per_node,
                &spread.topology_key,
                spread.max_skew,
                feasible,
            );
            if let (Counts::PerValue(column, counts), true) = (
                &mut constraint.counts,
                spread.honor_affinity || spread.honor_taints,
            ) {
                recount(cycle, spread, column, counts, per_node);
            }
            soft.push(constraint);
        }
        if let (false, Some(owner)) = (explicit, &pod.owner) {
            let per_node = cache.owner(owner);
            soft.push(new_soft(
                cycle,
                per_node,
                HOSTNAME,
                DEFAULT_HOST_SKEW,
                feasible,
            ));
            soft.push(new_soft(cycle, per_node, ZONE, DEFAULT_ZONE_SKEW, feasible));
        }
        cycle.spread.soft = soft;
        cycle.spread.require_all = explicit;
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        let state = &cycle.spread;
        let mut score = 0.0;
        for soft in &state.soft {
            let count = match &soft.counts {
                Counts::PerNode(per_node) => {
                    let on_node = per_node.and_then(|per_node| per_node.get(&(slot as u32)));
                    i64::from(on_node.copied().unwrap_or(0))
                }
                Counts::PerValue(column, counts) => match column.ids[slot] {
                    NO_DOMAIN if state.require_all => return IGNORED,
                    NO_DOMAIN => continue,
                    id => counts[id as usize],
                },
            };
            score += count as f64 * soft.weight + (soft.max_skew - 1) as f64;
        }
        score.round() as i64
    }

    fn normalize_score(&self, cycle: &Cycle<'_>, _: &[u32], scores: &mut [i64]) {
        if cycle.spread.soft.is_empty() {
            return;
        }
        let counted = || scores.iter().copied().filter(|score| *score != IGNORED);
        let (min, max) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        for score in scores.iter_mut() {
            *score = match (*score, max) {
                (IGNORED, _) => 0,
                (_, 0) => MAX_SCORE,
                (score, max) => MAX_SCORE * (max + min - score) / max,
            };
        }
    }
}

/// Raw score of a node that lacks a label that the pod's own constraints name.
const IGNORED: i64 = -1;

fn new_soft<'a>(
    cycle: &Cycle<'a>,
    per_node: Option<&'a PerNode>,
    key: &str,
    max_skew: i64,
    feasible: &[u32],
) -> Soft<'a> {
    let column = (key != HOSTNAME)
        .then(|| cycle.cache.table.column(key))
        .flatten();
    let Some(column) = column else {
        let weight = (feasible.len() as f64 + 2.0).ln();
        return Soft {
            counts: Counts::PerNode(per_node),
            weight,
            max_skew,
        };
    };
    let mut counts = vec![0; column.n_values()];
    for (slot, count) in per_node.into_iter().flatten() {
        let id = column.ids[*slot as usize];
        if id != NO_DOMAIN {
            counts[id as usize] += i64::from(*count);
        }
    }
    let mut seen = vec![false; column.n_values()];
    for slot in feasible {
        let id = column.ids[*slot as usize];
        if id != NO_DOMAIN {
            seen[id as usize] = true;
        }
    }
    let size = seen.iter().filter(|seen| **seen).count();
    Soft {
        counts: Counts::PerValue(column, counts),
        weight: (size as f64 + 2.0).ln(),
        max_skew,
    }
}

/// Counts again with only the nodes that the pod's policies admit.
fn recount(
    cycle: &Cycle<'_>,
    spread: &Spread,
    column: &Column,
    counts: &mut [i64],
    per_node: Option<&PerNode>,
) {
    counts.fill(0);
    for (slot, count) in per_node.into_iter().flatten() {
        let id = column.ids[*slot as usize];
        if id != NO_DOMAIN && eligible(cycle, spread, *slot as usize) {
            counts[id as usize] += i64::from(*count);
        }
    }
}
