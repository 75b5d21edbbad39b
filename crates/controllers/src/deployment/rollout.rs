//! The steps of a rollout: one call does one step and the next reconcile goes on from what became of it.

use k8s_openapi::api::core::v1::Pod;

use super::Work;
use super::replica_sets::Set;
use crate::Error;
use crate::pods::is_finished;

impl Work<'_> {
    /// Rolling update: up within maxSurge, then down within maxUnavailable.
    pub fn roll_out_rolling(&mut self) {
        self.sync_revision(true);
        if !self.reconcile_new() && !self.reconcile_old() && self.complete(&self.calculate_status())
        {
            self.clean_up_history();
        }
        self.sync_rollout_status();
    }

    /// Recreate: all old pods go before the first new one comes.
    pub fn roll_out_recreate(&mut self) -> Result<(), Error> {
        self.sync_revision(false);
        let active = |set: &Set| set.replicas() > 0;
        let old: Vec<usize> = (0..self.old.len())
            .filter(|idx| active(&self.old[*idx]))
            .collect();
        let mut scaled_down = false;
        for idx in old {
            scaled_down |= self.scale_set(false, idx, 0);
        }
        if !scaled_down && !self.old_pods_running()? {
            if self.new.is_none() {
                self.sync_revision(true);
            }
            self.scale_set(true, 0, self.replicas());
            if self.complete(&self.calculate_status()) {
                self.clean_up_history();
            }
        }
        self.sync_rollout_status();
        Ok(())
    }

    fn old_pods_running(&self) -> Result<bool, Error> {
        for set in &self.old {
            let pods = self.view.controlled::<Pod>(set.uid())?;
            if pods.iter().any(|pod| !is_finished(pod)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How large the new set may be now.
    pub fn new_set_size(&self, new: &Set) -> i32 {
        if self.recreate() {
            return self.replicas();
        }
        let total: i32 = self.old.iter().map(Set::replicas).sum::<i32>() + new.replicas();
        let room = self.replicas() + self.max_surge() - total;
        if room <= 0 {
            return new.replicas();
        }
        new.replicas() + room.min(self.replicas() - new.replicas())
    }

    fn reconcile_new(&mut self) -> bool {
        let Some(new) = &self.new else { return false };
        let (now, wanted) = (new.replicas(), self.replicas());
        if now == wanted {
            return false;
        }
        let size = if now > wanted {
            wanted
        } else {
            self.new_set_size(new)
        };
        self.scale_set(true, 0, size)
    }

    fn reconcile_old(&mut self) -> bool {
        if self.old.iter().all(|set| set.replicas() == 0) {
            return false;
        }
        let min_available = self.replicas() - self.max_unavailable();
        let unavailable_new = self
            .new
            .as_ref()
            .map_or(0, |new| new.replicas() - new.available());
        let most = self.total_replicas() - min_available - unavailable_new;
        if most <= 0 {
            return false;
        }
        let unhealthy = self.clean_up_unhealthy(most);
        let healthy = self.scale_down_available(min_available);
        unhealthy + healthy > 0
    }

    /// Old pods that are not available go first: they serve nobody and may block the rollout.
    fn clean_up_unhealthy(&mut self, most: i32) -> i32 {
        let mut total = 0;
        for idx in 0..self.old.len() {
            let (replicas, available) = (self.old[idx].replicas(), self.old[idx].available());
            if total >= most {
                break;
            }
            if replicas == 0 || replicas == available {
                continue;
            }
            let count = (most - total).min(replicas - available);
            if count <= 0 {
                continue;
            }
            self.scale_set(false, idx, replicas - count);
            total += count;
        }
        total
    }

    fn scale_down_available(&mut self, min_available: i32) -> i32 {
        // A set that was told to shrink may still report the pods that it is about to delete: those don't count.
        let sure: i32 = self
            .sets()
            .map(|set| set.available().min(set.replicas()))
            .sum();
        let spare = sure - min_available;
        let mut total = 0;
        for idx in 0..self.old.len() {
            if total >= spare {
                break;
            }
            let replicas = self.old[idx].replicas();
            let count = replicas.min(spare - total);
            if count > 0 {
                self.scale_set(false, idx, replicas - count);
                total += count;
            }
        }
        total
    }

    /// Removes the oldest finished sets beyond `revisionHistoryLimit`.
    pub fn clean_up_history(&mut self) {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let alive = |set: &Set| set.set.metadata.deletion_timestamp.is_none();
        let mut sets: Vec<usize> = (0..self.old.len())
            .filter(|idx| alive(&self.old[*idx]))
            .collect();
        sets.sort_by_key(|idx| self.old[*idx].revision());
        let excess = sets.len().saturating_sub(limit);
        for idx in sets.into_iter().take(excess) {
            if self.old[idx].is_cleanable() {
                self.old[idx].delete();
            }
        }
    }
}
