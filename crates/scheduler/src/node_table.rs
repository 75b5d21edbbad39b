//! Nodes as a struct of arrays: filters walk columns of integers, not objects.
//!
//! A node keeps its slot for life; slots of removed nodes are reused. Whoever caches something per slot asks
//! `touched_since` what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::labels::Labels;
use crate::pod_info::{HostPort, PodInfo};
use crate::resources::{Resources, units};

/// No value of a topology label.
pub const NO_DOMAIN: u32 = u32::MAX;
/// Slot changes remembered; a cache that lags further starts anew.
const TOUCH_LOG: usize = 1 << 16;

/// One topology label over all nodes: the id of its value per slot.
#[derive(Debug, Default)]
pub struct Column {
    /// Value id per slot, or `NO_DOMAIN`.
    pub ids: Vec<u32>,
    values: BTreeMap<String, u32>,
}

impl Column {
    /// Number of value ids ever given.
    pub fn n_values(&self) -> usize {
        self.values.len()
    }

    fn set(&mut self, slot: usize, value: Option<&String>) {
        if self.ids.len() <= slot {
            self.ids.resize(slot + 1, NO_DOMAIN);
        }
        let next = self.values.len() as u32;
        self.ids[slot] = match value {
            Some(value) => *self.values.entry(value.clone()).or_insert(next),
            None => NO_DOMAIN,
        };
    }
}

/// All nodes.
#[derive(Debug, Default)]
pub struct NodeTable {
    slots: BTreeMap<Arc<str>, u32>,
    free: Vec<u32>,
    /// The object per slot; `None` for a free slot or a node that pods name but nobody has seen.
    pub nodes: Vec<Option<Arc<Node>>>,
    /// What the node offers.
    pub allocatable: Vec<Resources>,
    /// How many pods it takes.
    pub allocatable_pods: Vec<i64>,
    /// What its pods ask for.
    pub requested: Vec<Resources>,
    /// The same with scoring defaults.
    pub assumed: Vec<Resources>,
    /// Pods on it.
    pub n_pods: Vec<i64>,
    /// Host ports in use.
    pub ports: Vec<Vec<HostPort>>,
    columns: BTreeMap<Arc<str>, Column>,
    touched: Vec<u32>,
    touched_base: u64,
    n_present: usize,
}

impl NodeTable {
    /// Slots, free ones included.
    pub fn n_slots(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes that exist.
    pub fn n_present(&self) -> usize {
        self.n_present
    }

    /// The slot of a node, made when missing: pods may be seen before their node.
    pub fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.slots.get(name) {
            return *slot as usize;
        }
        let slot = self
            .free
            .pop()
            .map_or(self.nodes.len(), |slot| slot as usize);
        if slot == self.nodes.len() {
            self.nodes.push(None);
            self.allocatable.push(Resources::default());
            self.allocatable_pods.push(0);
            self.requested.push(Resources::default());
            self.assumed.push(Resources::default());
            self.n_pods.push(0);
            self.ports.push(Vec::new());
            self.columns
                .values_mut()
                .for_each(|column| column.set(slot, None));
        }
        self.slots.insert(name.into(), slot as u32);
        slot
    }

    /// The slot of a known node.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.slots.get(name).map(|slot| *slot as usize)
    }

    /// Name of the node in a slot.
    pub fn name(&self, slot: usize) -> &str {
        let node = self.nodes[slot].as_ref();
        node.and_then(|node| node.metadata.name.as_deref())
            .unwrap_or_default()
    }

    /// Labels of the node in a slot.
    pub fn labels(&self, slot: usize) -> Option<&Labels> {
        self.nodes[slot].as_ref()?.metadata.labels.as_ref()
    }

    /// Taints of the node in a slot.
    pub fn taints(&self, slot: usize) -> &[Taint] {
        let spec = self.nodes[slot]
            .as_ref()
            .and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref())
            .unwrap_or_default()
    }

    /// Whether the node is cordoned.
    pub fn unschedulable(&self, slot: usize) -> bool {
        let spec = self.nodes[slot]
            .as_ref()
            .and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.unschedulable) == Some(true)
    }

    /// Adds or replaces a node; tells whether anything that scheduling reads has changed.
    pub fn upsert(&mut self, node: Arc<Node>) -> bool {
        let name: Arc<str> = node.metadata.name.as_deref().unwrap_or_default().into();
        let slot = self.slot(&name);
        let changed = match &self.nodes[slot] {
            Some(old) => relevant(old) != relevant(&node),
            None => {
                self.n_present += 1;
                true
            }
        };
        if changed {
            let status = node.status.as_ref();
            let allocatable =
                status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
            self.allocatable[slot] = Resources::from_quantities(allocatable);
            self.allocatable_pods[slot] = allocatable
                .and_then(|list| list.get("pods"))
                .map_or(0, units);
            let labels = node.metadata.labels.as_ref();
            for (key, column) in &mut self.columns {
                column.set(slot, labels.and_then(|labels| labels.get(&**key)));
            }
            self.touch(slot);
        }
        self.nodes[slot] = Some(node);
        changed
    }

    /// Forgets a node; its slot stays while pods are on it.
    pub fn remove(&mut self, name: &str) {
        let Some(slot) = self.find(name) else { return };
        if self.nodes[slot].take().is_some() {
            self.n_present -= 1;
        }
        self.allocatable[slot] = Resources::default();
        self.allocatable_pods[slot] = 0;
        self.columns
            .values_mut()
            .for_each(|column| column.set(slot, None));
        self.touch(slot);
        self.free_if_unused(name, slot);
    }

    fn free_if_unused(&mut self, name: &str, slot: usize) {
        if self.nodes[slot].is_none() && self.n_pods[slot] == 0 {
            self.slots.remove(name);
            self.free.push(slot as u32);
        }
    }

    /// Counts a pod in (`sign` 1) or out (-1).
    pub fn account(&mut self, slot: usize, pod: &PodInfo, sign: i64) {
        self.requested[slot].add(&pod.requests, sign);
        self.assumed[slot].add(&pod.assumed, sign);
        self.n_pods[slot] += sign;
        assert!(self.n_pods[slot] >= 0, "a pod was counted out twice");
        for port in &pod.ports {
            if sign > 0 {
                self.ports[slot].push(port.clone());
            } else if let Some(idx) = self.ports[slot].iter().position(|used| used == port) {
                self.ports[slot].swap_remove(idx);
            }
        }
        self.touch(slot);
    }

    /// Marks a slot as changed.
    pub fn touch(&mut self, slot: usize) {
        if self.touched.len() >= TOUCH_LOG {
            self.touched_base += self.touched.len() as u64;
            self.touched.clear();
        }
        self.touched.push(slot as u32);
    }

    /// Position in the log of changes.
    pub fn touch_cursor(&self) -> u64 {
        self.touched_base + self.touched.len() as u64
    }

    /// Slots changed since a cursor; `None` when that is too long ago.
    pub fn touched_since(&self, cursor: u64) -> Option<&[u32]> {
        let start = cursor.checked_sub(self.touched_base)?;
        self.touched.get(start as usize..)
    }

    /// Makes sure that a topology label has its column.
    pub fn ensure_column(&mut self, key: &Arc<str>) {
        if self.columns.contains_key(key) {
            return;
        }
        let mut column = Column::default();
        for slot in 0..self.nodes.len() {
            column.set(
                slot,
                self.labels(slot).and_then(|labels| labels.get(&**key)),
            );
        }
        self.columns.insert(key.clone(), column);
    }

    /// A topology label's column, if some term has asked for it.
    pub fn column(&self, key: &str) -> Option<&Column> {
        self.columns.get(key)
    }

    /// Slots of nodes that exist.
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|slot| self.nodes[*slot].is_some())
    }
}

type Relevant<'a> = (
    Option<&'a Labels>,
    Option<&'a [Taint]>,
    Option<bool>,
    Option<&'a BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
);

/// The parts of a node that decide placement: heartbeats and conditions do not wake pending pods.
fn relevant(node: &Node) -> Relevant<'_> {
    let spec = node.spec.as_ref();
    let status = node.status.as_ref();
    (
        node.metadata.labels.as_ref(),
        spec.and_then(|spec| spec.taints.as_deref()),
        spec.and_then(|spec| spec.unschedulable),
        status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())),
    )
}
