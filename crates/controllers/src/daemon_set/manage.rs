//! Makes the pods that nodes lack and deletes those that they should not have.

use k8s_openapi::api::apps::v1::RollingUpdateDaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Work;
use super::node_pods::is_bound;
use crate::pods::{available_in_ms, is_ready, phase};
use crate::scaled::scaled;
use crate::view::{Found, ms_of};

/// How old a failed pod is at least before it is replaced: a node that refuses pods is not asked in a hurry.
const FAILED_MS: u64 = 10_000;

impl Work<'_> {
    /// Ready for long enough.
    pub fn is_available(&mut self, pod: &Pod) -> bool {
        let least = self.spec.min_ready_seconds.unwrap_or(0);
        match available_in_ms(pod, least, self.view.now_ms) {
            Some(0) => true,
            Some(wait) => {
                self.plan.requeue_after_ms(wait);
                false
            }
            None => false,
        }
    }

    /// Whether pods are replaced by the controller.
    pub fn rolls(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref();
        strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete")
    }

    fn rolling(&self) -> Option<&RollingUpdateDaemonSet> {
        let strategy = self.spec.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref().filter(|_| self.rolls())
    }

    /// Pods that may be added during an update, of nodes that want one.
    pub fn max_surge(&self, desired: i32) -> i32 {
        let surge = self
            .rolling()
            .and_then(|rolling| rolling.max_surge.as_ref());
        surge.map_or(0, |surge| scaled(surge, desired, true))
    }

    /// Nodes that may be without during an update.
    pub fn max_unavailable(&self, desired: i32) -> i32 {
        let one = IntOrString::Int(1);
        let rolling = self.rolling().and_then(|it| it.max_unavailable.as_ref());
        let most = scaled(rolling.unwrap_or(&one), desired, true);
        if most == 0 && self.max_surge(desired) == 0 {
            1
        } else {
            most
        }
    }

    fn surges(&self) -> bool {
        // A share of many nodes: any positive one is at least one pod.
        self.max_surge(100) > 0
    }

    /// Creates the pod of a node.
    pub fn create(&mut self, node: &str) {
        if self.room > 0 {
            self.room -= 1;
            let pod = self.new_pod(node);
            self.plan.create_announced(&pod, &self.set);
        }
    }

    /// Deletes a pod.
    pub fn delete(&mut self, pod: &Found<Pod>) {
        if self.room > 0 {
            self.room -= 1;
            self.plan.delete(&pod.object);
            let message = format!("Deleted pod: {}", pod.name());
            self.plan.event(&self.set, "SuccessfulDelete", message);
        }
    }

    /// Brings nodes and pods together. Whether there was something to do.
    pub fn manage(&mut self) -> bool {
        let before = self.room;
        let nodes: Vec<_> = self.nodes.clone();
        for (node, fit) in &nodes {
            let pods = self.pods.of(node.name()).to_vec();
            if fit.run && pods.is_empty() {
                self.create(node.name());
            } else if fit.stay {
                self.prune(node.name(), &pods);
            } else {
                for pod in pods.iter().filter(|pod| !is_going(pod)) {
                    self.delete(pod);
                }
            }
        }
        // Nobody else removes pods for nodes that will never be there.
        let known = |name: &str| nodes.iter().any(|(node, _)| node.name() == name);
        let strays = self.pods.0.iter().filter(|(node, _)| !known(node));
        let strays: Vec<_> = strays.flat_map(|(_, pods)| pods.clone()).collect();
        for pod in strays.iter().filter(|pod| !is_bound(pod) && !is_going(pod)) {
            self.delete(pod);
        }
        self.room != before
    }

    /// Replaces what has ended, and leaves one pod a node; two while one takes over from the other.
    fn prune(&mut self, node: &str, pods: &[Found<Pod>]) {
        let mut running: Vec<&Found<Pod>> = Vec::new();
        for pod in pods.iter().filter(|pod| !is_going(pod)) {
            let which = format!("{}/{} on node {node}", pod.namespace(), pod.name());
            match phase(pod) {
                "Failed" => {
                    let created = pod.metadata.creation_timestamp.as_ref().map_or(0, ms_of);
                    let age = self.view.now_ms.saturating_sub(created);
                    if age < FAILED_MS {
                        self.plan.requeue_after_ms(FAILED_MS - age);
                        continue;
                    }
                    let message = format!("Found failed daemon pod {which}, will try to kill it");
                    self.plan.warn(&self.set, "FailedDaemonPod", message);
                    self.delete(pod);
                }
                "Succeeded" => {
                    let message =
                        format!("Found succeeded daemon pod {which}, will try to delete it");
                    self.plan.event(&self.set, "SucceededDaemonPod", message);
                    self.delete(pod);
                }
                _ => running.push(pod),
            }
        }
        if running.len() <= 1 {
            return;
        }
        if !self.surges() {
            running[1..].iter().for_each(|pod| self.delete(pod));
            return;
        }
        let (mut new, mut old) = (None, None);
        for pod in running {
            let slot = if self.is_updated(pod) {
                &mut new
            } else {
                &mut old
            };
            match slot {
                Some(_) => self.delete(pod),
                None => *slot = Some(pod),
            }
        }
        if let (Some(new), Some(old)) = (new, old)
            && (!is_ready(old) || self.is_available(new))
        {
            self.delete(old);
        }
    }
}

/// Whether a pod is being deleted.
pub fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}
