//! What is done next about the pods of a StatefulSet: make, replace, scale down, update, in this order.
//!
//! In an ordered set each pod waits for those before it to be available, and what waits ends the step. In a parallel
//! one nothing waits, but for `maxUnavailable` of an update.

use k8s_openapi::api::apps::v1::StatefulSetStatus;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Work;
use super::identity::{self, ordinal, revision_of};
use crate::Error;
use crate::pods::{is_finished, phase};
use crate::scaled::scaled;
use crate::view::Found;

/// Whether a step goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Wait,
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

impl Work<'_> {
    /// One step.
    pub fn step(
        &mut self,
        pods: &[Found<Pod>],
        status: &mut StatefulSetStatus,
    ) -> Result<(), Error> {
        let count = usize::try_from(self.replicas()).unwrap_or(0);
        let mut replicas: Vec<Option<&Found<Pod>>> = vec![None; count];
        let mut condemned: Vec<(i32, &Found<Pod>)> = Vec::new();
        for pod in pods {
            let Some(ordinal) = ordinal(pod) else {
                continue;
            };
            let slot = usize::try_from(i64::from(ordinal) - i64::from(self.start())).ok();
            match slot.and_then(|slot| replicas.get_mut(slot)) {
                Some(replica) => *replica = Some(pod),
                None => condemned.push((ordinal, pod)),
            }
        }
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        let condemned: Vec<&Found<Pod>> = condemned.into_iter().map(|(_, pod)| pod).collect();

        for (idx, replica) in replicas.iter().enumerate() {
            let ordinal = self.start() + i32::try_from(idx).unwrap_or(i32::MAX);
            let current = status.current_replicas.unwrap_or(0);
            if self.keep(ordinal, *replica, current)? == Flow::Wait && self.ordered() {
                return Ok(());
            }
        }
        let first_unavailable = self.first_unavailable(&replicas, &condemned);
        if self.scale_down(&condemned, first_unavailable.as_deref())? == Flow::Wait {
            return Ok(());
        }
        if self.rolling() {
            self.roll(&replicas, status);
        }
        Ok(())
    }

    /// Makes or mends one pod that is to run.
    fn keep(
        &mut self,
        ordinal: i32,
        pod: Option<&Found<Pod>>,
        current_replicas: i32,
    ) -> Result<Flow, Error> {
        let Some(pod) = pod else {
            if self.room > 0 && !self.has_stale_claim(ordinal)? && self.make_claims(ordinal)? {
                self.create(ordinal, current_replicas);
            }
            return Ok(Flow::Wait);
        };
        if is_finished(pod) {
            // Also one that succeeded: how a pod ends when its node goes down is up to its containers.
            if !is_going(pod) {
                self.delete(pod);
            }
            return Ok(Flow::Wait);
        }
        if phase(pod) == "Pending" && self.make_claims(ordinal)? {
            self.hand_over_claims(pod)?;
        }
        if self.ordered() && self.is_unavailable(pod) {
            return Ok(Flow::Wait);
        }
        let mut labelled = identity::label(pod, ordinal, &mut self.plan);
        if !self.has_claims(pod) {
            let message = format!(
                "update Pod {} in StatefulSet {} failed error: a pod's volumes cannot be changed",
                pod.name(),
                self.set.name()
            );
            self.plan.warn(&self.set, "FailedUpdate", message);
            return Ok(Flow::Wait);
        }
        if phase(pod) != "Pending" {
            self.hand_over_claims(pod)?;
        }
        if std::mem::take(&mut labelled) {
            self.tell("update", pod.name());
        }
        Ok(Flow::On)
    }

    /// The pod that may be scaled away though it is not available: it holds nothing up but itself.
    fn first_unavailable(
        &mut self,
        replicas: &[Option<&Found<Pod>>],
        condemned: &[&Found<Pod>],
    ) -> Option<String> {
        for replica in replicas {
            match replica {
                Some(pod) if !self.is_unavailable(pod) => {}
                Some(pod) => return Some(pod.uid().to_owned()),
                None => return Some(String::new()),
            }
        }
        let mut ascending = condemned.iter().rev();
        let found = ascending.find(|pod| self.is_unavailable(pod));
        found.map(|pod| pod.uid().to_owned())
    }

    /// Deletes what is beyond the replicas, the highest ordinal first.
    fn scale_down(
        &mut self,
        condemned: &[&Found<Pod>],
        first_unavailable: Option<&str>,
    ) -> Result<Flow, Error> {
        let mut handed = false;
        for pod in condemned {
            handed |= self.hand_over_claims(pod)?;
        }
        if handed {
            // The pods go only when their claims are known to follow them.
            self.plan.requeue_after_ms(1);
            return Ok(Flow::Wait);
        }
        for pod in condemned {
            if is_going(pod) {
                if self.ordered() {
                    return Ok(Flow::Wait);
                }
                continue;
            }
            if self.ordered() && first_unavailable != Some(pod.uid()) && !self.is_available(pod) {
                return Ok(Flow::Wait);
            }
            self.delete(pod);
            if self.ordered() {
                return Ok(Flow::Wait);
            }
        }
        Ok(Flow::On)
    }

    /// Deletes pods of other revisions, the highest ordinal first, as many as may be unavailable.
    fn roll(&mut self, replicas: &[Option<&Found<Pod>>], status: &mut StatefulSetStatus) {
        let strategy = self.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.clone());
        let rolling = rolling.unwrap_or_default();
        let partition = usize::try_from(rolling.partition.unwrap_or(0)).unwrap_or(0);
        let most = rolling.max_unavailable.unwrap_or(IntOrString::Int(1));
        let most = scaled(&most, self.replicas(), false).max(1);
        let mut unavailable = 0;
        for replica in replicas {
            let lacks = replica.is_none_or(|pod| self.is_unavailable(pod));
            unavailable += i32::from(lacks);
        }
        for replica in replicas.iter().skip(partition).rev() {
            if unavailable >= most {
                return;
            }
            let Some(pod) = replica else { continue };
            if revision_of(pod) != self.update.name && !is_going(pod) {
                self.delete(pod);
                unavailable += 1;
                let current = status.current_replicas.unwrap_or(0) - 1;
                status.current_replicas = (current > 0).then_some(current);
            }
        }
    }

    fn create(&mut self, ordinal: i32, current_replicas: i32) {
        let pod = self.new_pod(ordinal, current_replicas);
        let told = |name: &str| format!("create Pod {name} in StatefulSet {}", self.set.name());
        let name = pod.metadata.name.clone().unwrap_or_default();
        let success = format!("{} successful", told("{}"));
        let failure = format!("{} failed error: ", told(&name));
        self.plan.create_told(&pod, &self.set, &success, &failure);
        self.room -= 1;
    }

    fn delete(&mut self, pod: &Found<Pod>) {
        if self.room == 0 {
            return;
        }
        self.room -= 1;
        self.plan.delete(&pod.object);
        self.tell("delete", pod.name());
    }

    fn tell(&mut self, verb: &str, name: &str) {
        let set = self.set.name();
        let message = format!("{verb} Pod {name} in StatefulSet {set} successful");
        let reason = match verb {
            "delete" => "SuccessfulDelete",
            _ => "SuccessfulUpdate",
        };
        self.plan.event(&self.set, reason, message);
    }
}
