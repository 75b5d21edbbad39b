//! A Deployment's status: counts, the conditions Available, Progressing and ReplicaFailure, and the deadline.

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::Work;
use super::replica_sets::Set;
use crate::view::ms_of;

const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

/// Sets a condition; nothing when status and reason are the same already.
fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = find(status, &condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time = current.last_transition_time.clone();
        }
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

fn none_if_zero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

impl Work<'_> {
    fn condition(
        &self,
        type_: &str,
        status: &str,
        reason: &str,
        message: String,
    ) -> DeploymentCondition {
        DeploymentCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(self.view.now()),
            last_transition_time: Some(self.view.now()),
        }
    }

    fn deadline_seconds(&self) -> Option<u64> {
        let seconds = self.spec.progress_deadline_seconds.unwrap_or(600);
        u64::try_from(seconds).ok().filter(|_| seconds != i32::MAX)
    }

    /// Notes progress, if this Deployment has a deadline.
    pub fn progressing(&mut self, known: bool, reason: &str, message: String) {
        if self.deadline_seconds().is_some() {
            let status = if known { "True" } else { "Unknown" };
            let condition = self.condition("Progressing", status, reason, message);
            set(&mut self.status, condition);
        }
    }

    /// Notes progress if nothing is noted yet.
    pub fn progressing_if_unknown(&mut self, reason: &str, message: String) {
        if find(&self.status, "Progressing").is_none() {
            self.progressing(true, reason, message);
        }
    }

    /// Pausing stops the deadline, resuming starts it anew.
    pub fn check_paused(&mut self) {
        let reason =
            find(&self.status, "Progressing").and_then(|condition| condition.reason.as_deref());
        if reason == Some(TIMED_OUT) {
            return;
        }
        let (paused, noted) = (self.spec.paused == Some(true), reason == Some(PAUSED));
        if paused && !noted {
            self.progressing(false, PAUSED, "Deployment is paused".into());
        } else if !paused && noted {
            self.progressing(false, "DeploymentResumed", "Deployment is resumed".into());
        }
    }

    /// Status alone, for a Deployment that is being deleted.
    pub fn sync_status_only(&mut self) {
        self.status = self.calculate_status();
    }

    /// Counts and availability.
    pub fn calculate_status(&self) -> DeploymentStatus {
        let available = self.total_available();
        let actual: i32 = self.sets().map(Set::actual).sum();
        let ready = |set: &Set| {
            set.set
                .status
                .as_ref()
                .and_then(|status| status.ready_replicas)
        };
        let ready: i32 = self.sets().map(|set| ready(set).unwrap_or(0)).sum();
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: none_if_zero(actual),
            updated_replicas: none_if_zero(self.new.as_ref().map_or(0, Set::actual)),
            ready_replicas: none_if_zero(ready),
            available_replicas: none_if_zero(available),
            unavailable_replicas: none_if_zero((self.total_replicas() - available).max(0)),
            ..self.status.clone()
        };
        let condition = if available >= self.replicas() - self.max_unavailable() {
            let message = "Deployment has minimum availability.";
            self.condition(
                "Available",
                "True",
                "MinimumReplicasAvailable",
                message.into(),
            )
        } else {
            let message = "Deployment does not have minimum availability.";
            self.condition(
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                message.into(),
            )
        };
        set(&mut status, condition);
        status
    }

    /// Whether all pods are of the present template, and available.
    pub fn complete(&self, status: &DeploymentStatus) -> bool {
        let wanted = self.replicas();
        status.updated_replicas.unwrap_or(0) == wanted
            && status.replicas.unwrap_or(0) == wanted
            && status.available_replicas.unwrap_or(0) == wanted
    }

    fn made_progress(&self, new: &DeploymentStatus) -> bool {
        let empty = DeploymentStatus::default();
        let before = self.deployment.status.as_ref().unwrap_or(&empty);
        let count = |count: Option<i32>| count.unwrap_or(0);
        let old_pods =
            |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
        count(new.updated_replicas) > count(before.updated_replicas)
            || old_pods(new) < old_pods(before)
            || count(new.ready_replicas) > count(before.ready_replicas)
            || count(new.available_replicas) > count(before.available_replicas)
    }

    fn timed_out(&self, status: &DeploymentStatus) -> bool {
        let (Some(deadline), Some(condition)) =
            (self.deadline_seconds(), find(status, "Progressing"))
        else {
            return false;
        };
        match condition.reason.as_deref() {
            Some(AVAILABLE) => false,
            Some(TIMED_OUT) => true,
            _ => {
                let from = condition.last_update_time.as_ref().map_or(0, ms_of);
                from + deadline * 1000 < self.view.now_ms
            }
        }
    }

    /// Status in a rollout: progress is complete, made, or overdue.
    pub fn sync_rollout_status(&mut self) {
        let mut status = self.calculate_status();
        if self.deadline_seconds().is_none() {
            remove(&mut status, "Progressing");
        }
        let current = find(&status, "Progressing").cloned();
        let reason = current
            .as_ref()
            .and_then(|condition| condition.reason.as_deref());
        let settled = status.replicas == status.updated_replicas && reason == Some(AVAILABLE);
        if self.deadline_seconds().is_some() && !settled {
            self.note_progress(&mut status, current.as_ref());
        }
        self.note_replica_failure(&mut status);
        self.requeue_for_deadline(&status);
        self.status = status;
    }

    fn note_progress(&self, status: &mut DeploymentStatus, current: Option<&DeploymentCondition>) {
        let what = match &self.new {
            Some(new) => format!("ReplicaSet \"{}\"", new.name()),
            None => format!("Deployment \"{}\"", self.deployment.name()),
        };
        if self.complete(status) {
            let message = format!("{what} has successfully progressed.");
            set(
                status,
                self.condition("Progressing", "True", AVAILABLE, message),
            );
        } else if self.made_progress(status) {
            let message = format!("{what} is progressing.");
            let mut condition = self.condition("Progressing", "True", "ReplicaSetUpdated", message);
            if let Some(current) = current.filter(|current| current.status == "True") {
                condition.last_transition_time = current.last_transition_time.clone();
            }
            remove(status, "Progressing");
            set(status, condition);
        } else if self.timed_out(status) {
            let message = format!("{what} has timed out progressing.");
            set(
                status,
                self.condition("Progressing", "False", TIMED_OUT, message),
            );
        }
    }

    fn note_replica_failure(&self, status: &mut DeploymentStatus) {
        let mut sets = self.new.iter().chain(&self.old);
        let failure = sets.find_map(|set| {
            let conditions = set.set.status.as_ref()?.conditions.as_ref()?;
            conditions
                .iter()
                .find(|condition| condition.type_ == "ReplicaFailure")
        });
        match failure {
            Some(failure) => set(
                status,
                DeploymentCondition {
                    type_: failure.type_.clone(),
                    status: failure.status.clone(),
                    reason: failure.reason.clone(),
                    message: failure.message.clone(),
                    last_update_time: failure.last_transition_time.clone(),
                    last_transition_time: failure.last_transition_time.clone(),
                },
            ),
            None => remove(status, "ReplicaFailure"),
        }
    }

    fn requeue_for_deadline(&mut self, status: &DeploymentStatus) {
        let (Some(deadline), Some(condition)) =
            (self.deadline_seconds(), find(status, "Progressing"))
        else {
            return;
        };
        if self.complete(status) || condition.reason.as_deref() == Some(TIMED_OUT) {
            return;
        }
        let from = condition
            .last_update_time
            .as_ref()
            .map_or(self.view.now_ms, ms_of);
        let due = from + (deadline + 1) * 1000;
        self.plan
            .requeue_after_ms(due.saturating_sub(self.view.now_ms));
    }
}
