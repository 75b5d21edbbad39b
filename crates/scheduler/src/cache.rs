//! What is where: nodes, the pods on them, and counters of pods by term.
//!
//! Counters are made when a pending pod first asks and kept up to date as pods come and go, so that affinity and
//! spread cost the number of domains, not of pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::labels::Labels;
use crate::node_table::NodeTable;
use crate::pod_info::{PodInfo, PodSet, Term};
use crate::volumes::Volumes;

/// Distinct counters kept; beyond it all are dropped and built again as asked.
const COUNTERS: usize = 4096;

/// Pods per slot.
pub type PerNode = BTreeMap<u32, u32>;

/// What a counter counts: pods that are in all of the sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterKey {
    /// The sets.
    pub sets: Vec<PodSet>,
    /// Leave out pods that are being deleted, as spreading does.
    pub living_only: bool,
}

/// How a pod carries a term, for the rules that act on later pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carry {
    /// Required anti-affinity.
    Apart,
    /// Required affinity.
    Together,
    /// Preferred, with its weight.
    Preferred(i64),
}

#[derive(Debug)]
struct Placed {
    info: Arc<PodInfo>,
    node: Arc<str>,
    slot: usize,
}

/// Nodes and the pods on them.
#[derive(Debug, Default)]
pub struct Cache {
    /// The nodes.
    pub table: NodeTable,
    /// Claims and volumes.
    pub volumes: Volumes,
    placed: BTreeMap<Arc<str>, Placed>,
    on_node: Vec<BTreeMap<Arc<str>, Arc<PodInfo>>>,
    counters: BTreeMap<CounterKey, PerNode>,
    owners: BTreeMap<Arc<str>, PerNode>,
    carried: BTreeMap<(Carry, Term), PerNode>,
    namespaces: BTreeMap<String, Labels>,
}

impl Cache {
    /// Sets a namespace's labels.
    pub fn set_namespace(&mut self, name: &str, labels: Labels) {
        if self.namespaces.get(name) != Some(&labels) {
            self.namespaces.insert(name.into(), labels);
            self.counters
                .retain(|key, _| key.sets.iter().all(|set| set.namespace_selector.is_none()));
        }
    }

    /// Whether a pod is in a set.
    pub fn in_set(&self, set: &PodSet, pod: &PodInfo) -> bool {
        let empty = Labels::new();
        let namespace = pod.namespace();
        let in_namespace = set.namespaces.contains(namespace)
            || set.namespace_selector.as_ref().is_some_and(|selector| {
                selector.matches(self.namespaces.get(namespace).unwrap_or(&empty))
            });
        in_namespace && set.selector.matches(pod.labels().unwrap_or(&empty))
    }

    fn counts(&self, key: &CounterKey, pod: &PodInfo) -> bool {
        !(key.living_only && pod.terminating()) && key.sets.iter().all(|set| self.in_set(set, pod))
    }

    /// Where a pod is.
    pub fn node_of(&self, uid: &str) -> Option<&str> {
        self.placed.get(uid).map(|placed| &*placed.node)
    }

    /// The parsed pod, if placed.
    pub fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.placed.get(uid).map(|placed| &placed.info)
    }

    /// All pods that have a node.
    pub fn placed(&self) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.placed.values().map(|placed| &placed.info)
    }

    /// Pods in a slot.
    pub fn pods_on(&self, slot: usize) -> impl Iterator<Item = &Arc<PodInfo>> {
        self.on_node
            .get(slot)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// Puts a pod on a node.
    pub fn place(&mut self, info: Arc<PodInfo>, node: &str) {
        self.unplace(&info.uid);
        let slot = self.table.slot(node);
        self.account(&info, slot, 1);
        if self.on_node.len() <= slot {
            self.on_node.resize_with(slot + 1, BTreeMap::new);
        }
        self.on_node[slot].insert(info.uid.clone(), info.clone());
        self.placed.insert(
            info.uid.clone(),
            Placed {
                info,
                node: node.into(),
                slot,
            },
        );
    }

    /// Takes a pod off its node; returns it and the node's name.
    pub fn unplace(&mut self, uid: &str) -> Option<(Arc<PodInfo>, Arc<str>)> {
        let placed = self.placed.remove(uid)?;
        self.on_node[placed.slot].remove(uid);
        self.account(&placed.info, placed.slot, -1);
        Some((placed.info, placed.node))
    }

    fn account(&mut self, info: &PodInfo, slot: usize, sign: i64) {
        self.table.account(slot, info, sign);
        let slot = slot as u32;
        let counted: Vec<CounterKey> = self
            .counters
            .keys()
            .filter(|key| self.counts(key, info))
            .cloned()
            .collect();
        for key in counted {
            add(self.counters.entry(key).or_default(), slot, sign);
        }
        if let Some(owner) = info.owner.as_ref().filter(|_| !info.terminating()) {
            add(self.owners.entry(owner.clone()).or_default(), slot, sign);
            if self.owners.get(owner).is_some_and(BTreeMap::is_empty) {
                self.owners.remove(owner);
            }
        }
        let apart = info.anti_affinity.iter().map(|term| (Carry::Apart, term));
        let together = info.affinity.iter().map(|term| (Carry::Together, term));
        let preferred = info
            .preferred
            .iter()
            .map(|(weight, term)| (Carry::Preferred(*weight), term));
        for (carry, term) in apart.chain(together).chain(preferred) {
            self.table.ensure_column(&term.topology_key);
            let key = (carry, term.clone());
            let per_node = self.carried.entry(key.clone()).or_default();
            add(per_node, slot, sign);
            if per_node.is_empty() {
                self.carried.remove(&key);
            }
        }
    }

    /// Makes the counters and columns that a pending pod's rules read.
    pub fn prepare(&mut self, pod: &PodInfo) {
        let affinity = pod.affinity.iter().chain(&pod.anti_affinity);
        for term in affinity.chain(pod.preferred.iter().map(|(_, term)| term)) {
            self.table.ensure_column(&term.topology_key);
            self.ensure_counter(anti_key(term));
        }
        if !pod.affinity.is_empty() {
            self.ensure_counter(together_key(pod));
        }
        for spread in pod.hard_spread.iter().chain(&pod.soft_spread) {
            self.table.ensure_column(&spread.topology_key);
            self.ensure_counter(spread_key(&spread.pods));
        }
        self.table
            .ensure_column(&crate::plugins::pod_topology_spread::ZONE.into());
    }

    fn ensure_counter(&mut self, key: CounterKey) {
        if self.counters.contains_key(&key) {
            return;
        }
        if self.counters.len() >= COUNTERS {
            self.counters.clear();
        }
        let mut per_node = PerNode::new();
        for placed in self
            .placed
            .values()
            .filter(|placed| self.counts(&key, &placed.info))
        {
            add(&mut per_node, placed.slot as u32, 1);
        }
        self.counters.insert(key, per_node);
    }

    /// A counter made by `prepare`.
    pub fn counter(&self, key: &CounterKey) -> Option<&PerNode> {
        self.counters.get(key)
    }

    /// Living pods of an owner.
    pub fn owner(&self, uid: &str) -> Option<&PerNode> {
        self.owners.get(uid)
    }

    /// Terms that placed pods carry, with the slots of their carriers.
    pub fn carried(&self) -> impl Iterator<Item = (Carry, &Term, &PerNode)> {
        self.carried
            .iter()
            .map(|((carry, term), per_node)| (*carry, term, per_node))
    }
}

fn add(per_node: &mut PerNode, slot: u32, sign: i64) {
    let count = per_node.entry(slot).or_default();
    *count = count.saturating_add_signed(sign as i32);
    if *count == 0 {
        per_node.remove(&slot);
    }
}

/// Counter of one (anti-)affinity term.
pub fn anti_key(term: &Term) -> CounterKey {
    CounterKey {
        sets: vec![term.pods.clone()],
        living_only: false,
    }
}

/// Counter of pods that meet all required affinity terms at once.
pub fn together_key(pod: &PodInfo) -> CounterKey {
    let sets = pod.affinity.iter().map(|term| term.pods.clone()).collect();
    CounterKey {
        sets,
        living_only: false,
    }
}

/// Counter of a spread constraint.
pub fn spread_key(pods: &PodSet) -> CounterKey {
    CounterKey {
        sets: vec![pods.clone()],
        living_only: true,
    }
}
