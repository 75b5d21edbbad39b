//! Signature classes: what local plugins say about each node, kept for all pods of one signature and renewed only
//! for nodes that changed since.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cache::Cache;
use crate::framework::{Cycle, PLUGINS, Plugin, Rejection};

/// Classes kept; beyond it all are dropped.
const CLASSES: usize = 512;

/// The local scoring plugins, in order; a class keeps one raw score of each per node.
pub fn local_scorers() -> impl Iterator<Item = &'static dyn Plugin> {
    PLUGINS
        .iter()
        .copied()
        .filter(|plugin| plugin.local() && plugin.weight() > 0)
}

/// What the local plugins say about one node.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// No node in this slot.
    Absent,
    /// Refused.
    Rejected(Rejection),
    /// Taken, with the raw scores of `local_scorers`.
    Passed(Vec<i64>),
}

/// Verdicts of one signature.
#[derive(Debug, Default)]
pub struct Class {
    /// Per slot.
    pub verdicts: Vec<Verdict>,
    cursor: Option<u64>,
}

impl Class {
    /// Brings the verdicts up to date.
    pub fn refresh(&mut self, cycle: &Cycle<'_>) {
        let table = &cycle.cache.table;
        let touched = self.cursor.and_then(|cursor| table.touched_since(cursor));
        match touched {
            Some(slots) if slots.len() < table.n_slots() => {
                self.verdicts.resize(table.n_slots(), Verdict::Absent);
                for slot in slots {
                    self.verdicts[*slot as usize] = judge(cycle, *slot as usize);
                }
            }
            _ => {
                self.verdicts = (0..table.n_slots())
                    .map(|slot| judge(cycle, slot))
                    .collect()
            }
        }
        self.cursor = Some(table.touch_cursor());
    }
}

fn judge(cycle: &Cycle<'_>, slot: usize) -> Verdict {
    if cycle.cache.table.nodes[slot].is_none() {
        return Verdict::Absent;
    }
    match cycle.filter(slot, true) {
        Err(rejection) => Verdict::Rejected(rejection),
        Ok(()) => Verdict::Passed(
            local_scorers()
                .map(|plugin| plugin.score(cycle, slot))
                .collect(),
        ),
    }
}

/// All classes in use.
#[derive(Debug, Default)]
pub struct Classes(BTreeMap<Arc<str>, Class>);

impl Classes {
    /// Takes a class out to work with; give it back with `put`.
    pub fn take(&mut self, signature: &Arc<str>) -> Class {
        self.0.remove(signature).unwrap_or_default()
    }

    /// Gives a class back.
    pub fn put(&mut self, signature: Arc<str>, class: Class) {
        if self.0.len() >= CLASSES {
            self.0.clear();
        }
        self.0.insert(signature, class);
    }
}

/// Refuses or scores all nodes: feasible slots with their total scores, and the refusals.
pub fn evaluate(cache: &Cache, class: &Class, cycle: &mut Cycle<'_>) -> Evaluation {
    let mut evaluation = Evaluation::default();
    for slot in cache.table.present() {
        match class.verdicts.get(slot) {
            Some(Verdict::Passed(_)) => match cycle.filter(slot, false) {
                Ok(()) => evaluation.feasible.push(slot as u32),
                Err(rejection) => evaluation.rejected.push((slot, rejection)),
            },
            Some(Verdict::Rejected(rejection)) => {
                evaluation.rejected.push((slot, rejection.clone()));
            }
            Some(Verdict::Absent) | None => {}
        }
    }
    if evaluation.feasible.len() > 1 {
        score(class, cycle, &mut evaluation);
    }
    evaluation
}

fn score(class: &Class, cycle: &mut Cycle<'_>, evaluation: &mut Evaluation) {
    let feasible = &evaluation.feasible;
    let mut totals = vec![0; feasible.len()];
    let mut local_idx = 0;
    for plugin in PLUGINS.iter().filter(|plugin| plugin.weight() > 0) {
        plugin.pre_score(cycle, feasible);
        let mut scores: Vec<i64> = if plugin.local() {
            let raw = |slot: &u32| match &class.verdicts[*slot as usize] {
                Verdict::Passed(scores) => scores[local_idx],
                _ => 0,
            };
            feasible.iter().map(raw).collect()
        } else {
            feasible
                .iter()
                .map(|slot| plugin.score(cycle, *slot as usize))
                .collect()
        };
        local_idx += usize::from(plugin.local());
        plugin.normalize_score(cycle, feasible, &mut scores);
        for (total, score) in totals.iter_mut().zip(&scores) {
            *total += score * plugin.weight();
        }
    }
    evaluation.scores = totals;
}

/// What all plugins say about all nodes.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// Slots that take the pod.
    pub feasible: Vec<u32>,
    /// Totals beside `feasible`; empty when there is nothing to choose.
    pub scores: Vec<i64>,
    /// Slots that refuse, and why.
    pub rejected: Vec<(usize, Rejection)>,
}

impl Evaluation {
    /// The best slot; among equals the first at or after `start`, so that equals take turns.
    pub fn best(&self, start: usize) -> Option<usize> {
        let best = self.scores.iter().copied().max();
        let candidates = self.feasible.iter().enumerate();
        let equals = candidates.filter(|(idx, _)| self.scores.get(*idx).copied() == best);
        let mut first = None;
        for (_, slot) in equals {
            if *slot as usize >= start {
                return Some(*slot as usize);
            }
            first = first.or(Some(*slot as usize));
        }
        first.or_else(|| self.feasible.first().map(|slot| *slot as usize))
    }
}
