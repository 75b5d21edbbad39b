//! Which pods of lower priority would have to go for a pod to fit, and on which node that harms least.
//!
//! The order of preference is upstream's: lowest highest-victim priority, then least sum of priorities, then fewest
//! victims, then the latest start of the most important victim. Not here yet: disruption budgets.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::cache::Cache;
use crate::framework::{Cycle, Rejection};
use crate::pod_info::PodInfo;

/// Nodes tried at most (upstream: a tenth of them, at least 100).
const CANDIDATES: usize = 100;

/// What preemption came to.
#[derive(Debug)]
pub enum Preemption {
    /// These pods must leave that node.
    Nominated {
        /// Slot of the node.
        slot: usize,
        /// The victims.
        victims: Vec<Arc<PodInfo>>,
    },
    /// It does not help; the text goes behind `preemption: `.
    None(String),
}

/// Looks for a node on which removing pods of lower priority lets `pod` fit.
pub fn preempt(
    cache: &mut Cache,
    pod: &Arc<PodInfo>,
    rejected: &[(usize, Rejection)],
) -> Preemption {
    let spec = pod.pod.spec.as_ref();
    if spec.and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Preemption::None("not eligible due to preemptionPolicy=Never.".into());
    }
    let n_nodes = cache.table.n_present();
    let mut best = None;
    let mut n_unhelpful = 0;
    let mut n_without_victims = 0;
    let mut n_candidates = 0;
    for (slot, rejection) in rejected {
        if rejection.unresolvable {
            n_unhelpful += 1;
            continue;
        }
        if n_candidates >= CANDIDATES {
            break;
        }
        match victims_on(cache, pod, *slot) {
            Some(victims) => {
                n_candidates += 1;
                let harm = harm(&victims);
                if best.as_ref().is_none_or(|(least, _, _)| harm < *least) {
                    best = Some((harm, *slot, victims));
                }
            }
            None => n_without_victims += 1,
        }
    }
    if let Some((_, slot, victims)) = best {
        return Preemption::Nominated { slot, victims };
    }
    let mut parts = Vec::new();
    if n_without_victims > 0 {
        parts.push(format!(
            "{n_without_victims} No preemption victims found for incoming pod"
        ));
    }
    if n_unhelpful > 0 {
        parts.push(format!(
            "{n_unhelpful} Preemption is not helpful for scheduling"
        ));
    }
    Preemption::None(format!(
        "0/{n_nodes} nodes are available: {}.",
        parts.join(", ")
    ))
}

/// Takes away all pods of lower priority, then gives back whoever may stay, most important first.
fn victims_on(cache: &mut Cache, pod: &Arc<PodInfo>, slot: usize) -> Option<Vec<Arc<PodInfo>>> {
    let name = cache.table.name(slot).to_owned();
    let lower = |other: &&Arc<PodInfo>| other.priority < pod.priority;
    let mut lower: Vec<Arc<PodInfo>> = cache.pods_on(slot).filter(lower).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    lower.sort_by_key(|other| (Reverse(other.priority), start_ms(other), other.uid.clone()));
    for other in &lower {
        cache.unplace(&other.uid);
    }
    let mut victims = Vec::new();
    let possible = fits(cache, pod, slot);
    for other in &lower {
        cache.place(other.clone(), &name);
        if possible && !fits(cache, pod, slot) {
            cache.unplace(&other.uid);
            victims.push(other.clone());
        }
    }
    for victim in &victims {
        cache.place(victim.clone(), &name);
    }
    (!victims.is_empty()).then_some(victims)
}

fn fits(cache: &mut Cache, pod: &PodInfo, slot: usize) -> bool {
    cache.prepare(pod);
    let cycle = Cycle::new(cache, pod, &[]);
    cycle
        .filter(slot, true)
        .and_then(|()| cycle.filter(slot, false))
        .is_ok()
}

fn start_ms(pod: &PodInfo) -> i64 {
    let status = pod.pod.status.as_ref();
    let start = status.and_then(|status| status.start_time.as_ref());
    start.map_or(i64::MAX, |start| start.0.as_millisecond())
}

/// Sorts the less harmful choice first.
fn harm(victims: &[Arc<PodInfo>]) -> (i32, i64, usize, Reverse<i64>) {
    let highest = victims
        .iter()
        .map(|victim| victim.priority)
        .max()
        .unwrap_or(i32::MIN);
    let sum = victims
        .iter()
        .map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1);
    let important = victims.iter().filter(|victim| victim.priority == highest);
    let earliest = important
        .map(|victim| start_ms(victim))
        .min()
        .unwrap_or(i64::MAX);
    (highest, sum.sum(), victims.len(), Reverse(earliest))
}
