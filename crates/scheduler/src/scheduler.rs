//! The scheduler's face: what it is told, and what it decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::cache::Cache;
use crate::class::{Classes, Evaluation, evaluate};
use crate::explain::explain;
use crate::framework::Cycle;
use crate::labels::Labels;
use crate::pod_info::PodInfo;
use crate::preemption::{Preemption, preempt};
use crate::queue::Queue;

/// A pod by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: Arc<str>,
}

/// What to do with one pending pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Bind it. The room is reserved until the bound pod is seen or `bind_failed` is called.
    Bind {
        /// The pod.
        pod: PodRef,
        /// The node's name.
        node: String,
    },
    /// It fits nowhere now.
    Unschedulable {
        /// The pod.
        pod: PodRef,
        /// Why, in words.
        message: String,
        /// The node where room is being made.
        nominated: Option<String>,
        /// Who must leave that node.
        victims: Vec<PodRef>,
    },
}

/// The scheduler.
#[derive(Debug, Default)]
pub struct Scheduler {
    cache: Cache,
    queue: Queue,
    classes: Classes,
    nominated: BTreeMap<Arc<str>, (usize, Arc<PodInfo>)>,
    next_start: usize,
}

impl Scheduler {
    /// Without nodes or pods.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node appeared or changed.
    pub fn node_upserted(&mut self, node: Arc<Node>, now_ms: u64) {
        if self.cache.table.upsert(node) {
            self.queue.wake(now_ms);
        }
    }

    /// A node is gone.
    pub fn node_removed(&mut self, name: &str) {
        self.cache.table.remove(name);
    }

    /// A namespace appeared or its labels changed.
    pub fn namespace_upserted(&mut self, name: &str, labels: Labels) {
        self.cache.set_namespace(name, labels);
    }

    /// A claim appeared or changed, or went when there is none.
    pub fn claim_changed(
        &mut self,
        namespace: &str,
        name: &str,
        claim: Option<Arc<PersistentVolumeClaim>>,
        now_ms: u64,
    ) {
        self.cache.volumes.set_claim((namespace, name), claim);
        self.queue.wake(now_ms);
    }

    /// A volume appeared or changed, or went when there is none.
    pub fn volume_changed(
        &mut self,
        name: &str,
        volume: Option<Arc<PersistentVolume>>,
        now_ms: u64,
    ) {
        self.cache.volumes.set_volume(name, volume);
        self.queue.wake(now_ms);
    }

    /// A class of storage appeared or changed, or went when there is none.
    pub fn class_changed(&mut self, name: &str, class: Option<Arc<StorageClass>>, now_ms: u64) {
        self.cache.volumes.set_class(name, class);
        self.queue.wake(now_ms);
    }

    /// A pod appeared or changed. `scheduler_name` other than the default's is somebody else's pod until bound.
    pub fn pod_upserted(&mut self, pod: Arc<Pod>, now_ms: u64) {
        let info = Arc::new(PodInfo::new(pod));
        let uid = info.uid.clone();
        let phase = info
            .pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.pod_removed(&uid, now_ms);
            return;
        }
        if let Some(node) = info.bound_node().map(str::to_owned) {
            self.queue.forget(&uid);
            self.nominated.remove(&uid);
            let known = self.cache.node_of(&uid) == Some(node.as_str());
            let labels_changed = self
                .cache
                .pod(&uid)
                .is_none_or(|old| old.signature != info.signature);
            self.cache.place(info, &node);
            if !known || labels_changed {
                self.queue.wake(now_ms);
            }
            return;
        }
        if self.cache.node_of(&uid).is_some() {
            return; // reserved; the binding is on its way
        }
        let spec = info.pod.spec.as_ref();
        let gated = spec
            .and_then(|spec| spec.scheduling_gates.as_ref())
            .is_some_and(|gates| !gates.is_empty());
        let scheduler = spec.and_then(|spec| spec.scheduler_name.as_deref());
        let ours = scheduler.is_none_or(|name| name == "default-scheduler");
        if info.terminating() || gated || !ours {
            self.queue.forget(&uid);
            self.nominated.remove(&uid);
            return;
        }
        self.queue.upsert(info);
    }

    /// A pod is gone or has ended.
    pub fn pod_removed(&mut self, uid: &str, now_ms: u64) {
        self.queue.forget(uid);
        if let Some((slot, _)) = self.nominated.remove(uid) {
            self.cache.table.touch(slot);
        }
        if self.cache.unplace(uid).is_some() {
            self.queue.wake(now_ms);
        }
    }

    /// A binding was refused or its outcome is unknown: the room is free again and the pod is tried later, unless
    /// a newer state of it says otherwise.
    pub fn bind_failed(&mut self, uid: &str, now_ms: u64) {
        let still_pending = self
            .cache
            .pod(uid)
            .is_some_and(|info| info.bound_node().is_none());
        if still_pending && let Some((info, _)) = self.cache.unplace(uid) {
            self.queue.put_back(info, 0, now_ms);
            self.queue.wake(now_ms);
        }
    }

    /// Decides for up to `max` pods.
    pub fn schedule(&mut self, now_ms: u64, max: usize) -> Vec<Decision> {
        self.queue.tick(now_ms);
        let mut decisions = Vec::new();
        while decisions.len() < max
            && let Some((pod, attempts)) = self.queue.pop()
        {
            decisions.push(self.schedule_one(pod, attempts, now_ms));
        }
        decisions
    }

    fn schedule_one(&mut self, pod: Arc<PodInfo>, attempts: u32, now_ms: u64) -> Decision {
        self.cache.prepare(&pod);
        let evaluation = self.evaluate(&pod);
        if let Some(slot) = evaluation.best(self.next_start) {
            self.next_start = slot + 1;
            let node = self.cache.table.name(slot).to_owned();
            self.nominated.remove(&pod.uid);
            self.cache.place(pod.clone(), &node); // Reserve
            return Decision::Bind {
                pod: pod_ref(&pod),
                node,
            };
        }
        let n_nodes = self.cache.table.n_present();
        let (message, nominated, victims) = match self.room_for(&pod, &evaluation) {
            Preemption::Nominated { slot, victims } => {
                self.nominated.insert(pod.uid.clone(), (slot, pod.clone()));
                self.cache.table.touch(slot);
                let node = self.cache.table.name(slot).to_owned();
                let victims = victims.iter().map(|victim| pod_ref(victim)).collect();
                (
                    explain(n_nodes, &evaluation.rejected, ""),
                    Some(node),
                    victims,
                )
            }
            Preemption::None(why) => (
                explain(n_nodes, &evaluation.rejected, &why),
                None,
                Vec::new(),
            ),
        };
        self.queue.put_back(pod.clone(), attempts, now_ms);
        Decision::Unschedulable {
            pod: pod_ref(&pod),
            message,
            nominated,
            victims,
        }
    }

    fn room_for(&mut self, pod: &Arc<PodInfo>, evaluation: &Evaluation) -> Preemption {
        if let Some((slot, _)) = self.nominated.get(&pod.uid).cloned() {
            let leaving =
                |other: &&Arc<PodInfo>| other.terminating() && other.priority < pod.priority;
            if self.cache.pods_on(slot).any(|other| leaving(&other)) {
                return Preemption::Nominated {
                    slot,
                    victims: Vec::new(),
                }; // they are on their way
            }
            self.nominated.remove(&pod.uid);
            self.cache.table.touch(slot);
        }
        preempt(&mut self.cache, pod, &evaluation.rejected)
    }

    fn evaluate(&mut self, pod: &Arc<PodInfo>) -> Evaluation {
        let mut others: Vec<(usize, Arc<PodInfo>)> = Vec::new();
        for (uid, (slot, info)) in &self.nominated {
            if *uid != pod.uid && info.priority >= pod.priority {
                others.push((*slot, info.clone()));
            }
        }
        let mut cycle = Cycle::new(&self.cache, pod, &others);
        // A nominated pod sees its own room; others of its signature do not: it may not share their class.
        let own = self.nominated.contains_key(&pod.uid);
        let mut class = if own {
            Default::default()
        } else {
            self.classes.take(&pod.signature)
        };
        class.refresh(&cycle);
        let evaluation = evaluate(&self.cache, &class, &mut cycle);
        if !own {
            self.classes.put(pod.signature.clone(), class);
        }
        evaluation
    }

    /// Whether `schedule` would do something now.
    pub fn has_work(&self) -> bool {
        self.queue.has_active()
    }

    /// When to call `schedule` even if nothing changes.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.queue.next_deadline_ms()
    }

    /// Pods that fit nowhere for now.
    pub fn n_unschedulable(&self) -> usize {
        self.queue.n_unschedulable()
    }
}

fn pod_ref(info: &PodInfo) -> PodRef {
    PodRef {
        namespace: info.namespace().to_owned(),
        name: info.name().to_owned(),
        uid: info.uid.clone(),
    }
}
