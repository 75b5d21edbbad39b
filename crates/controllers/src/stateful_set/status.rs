//! What a StatefulSet's status tells, and what the state of one pod counts for.

use k8s_openapi::api::apps::v1::StatefulSetStatus;
use k8s_openapi::api::core::v1::Pod;

use super::Work;
use super::identity::revision_of;
use crate::pods::{available_in_ms, is_ready, phase};
use crate::view::Found;

/// Running, and ready.
fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

impl Work<'_> {
    /// Running, and ready for long enough.
    pub fn is_available(&mut self, pod: &Pod) -> bool {
        if phase(pod) != "Running" {
            return false;
        }
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

    /// Not available, or about to be so.
    pub fn is_unavailable(&mut self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_some() || !self.is_available(pod)
    }

    /// The status of what is there.
    pub fn count(&mut self, pods: &[Found<Pod>]) -> StatefulSetStatus {
        let (mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0);
        for pod in pods {
            ready += i32::from(is_running_and_ready(pod));
            available += i32::from(self.is_available(pod));
            if pod.metadata.deletion_timestamp.is_none() {
                current += i32::from(revision_of(pod) == self.current.name);
                updated += i32::from(revision_of(pod) == self.update.name);
            }
        }
        let some = |count: i32| (count > 0).then_some(count);
        StatefulSetStatus {
            replicas: i32::try_from(pods.len()).unwrap_or(i32::MAX),
            ready_replicas: some(ready),
            available_replicas: Some(available),
            current_replicas: some(current),
            updated_replicas: some(updated),
            current_revision: Some(self.current.name.clone()),
            update_revision: Some(self.update.name.clone()),
            collision_count: Some(self.collisions),
            observed_generation: self.set.metadata.generation,
            conditions: (self.set.status.as_ref()).and_then(|status| status.conditions.clone()),
        }
    }

    /// The update is through when all pods are of its revision and ready.
    pub fn complete_update(&self, status: &mut StatefulSetStatus) {
        let all = status.replicas;
        let through = all == self.replicas()
            && status.updated_replicas.unwrap_or(0) == all
            && status.ready_replicas.unwrap_or(0) == all;
        if self.rolling() && through {
            status.current_replicas = status.updated_replicas;
            status.current_revision = status.update_revision.clone();
        }
    }
}
