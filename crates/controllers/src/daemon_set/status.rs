//! What a DaemonSet's status counts: nodes, by the oldest pod of each.

use super::Work;
use crate::pods::is_ready;

impl Work<'_> {
    /// Counts nodes and tells.
    pub fn write_status(&mut self) {
        let (mut desired, mut scheduled, mut misscheduled) = (0, 0, 0);
        let (mut ready, mut available, mut updated) = (0, 0, 0);
        for (node, fit) in self.nodes.clone() {
            let oldest = self.pods.of(node.name()).first().cloned();
            desired += i32::from(fit.run);
            let Some(pod) = oldest else { continue };
            if !fit.run {
                misscheduled += 1;
                continue;
            }
            scheduled += 1;
            ready += i32::from(is_ready(&pod));
            available += i32::from(self.is_available(&pod));
            updated += i32::from(self.is_updated(&pod));
        }
        let some = |count: i32| (count > 0).then_some(count);
        let status = &mut self.status;
        status.observed_generation = self.set.metadata.generation;
        status.desired_number_scheduled = desired;
        status.current_number_scheduled = scheduled;
        status.number_misscheduled = misscheduled;
        status.number_ready = ready;
        status.updated_number_scheduled = some(updated);
        status.number_available = some(available);
        status.number_unavailable = some(desired - available);
        let (object, status) = (self.set.object.clone(), self.status.clone());
        self.plan.set_status(&object, &status);
    }
}
