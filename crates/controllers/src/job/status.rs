//! When a job ends, and its conditions: SuccessCriteriaMet or FailureTarget at once, Complete or Failed when the last
//! pod has ended.

use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::indexes::parse;
use super::{Work, success_policy};
use crate::view::{Found, ms_of};

/// Why a job ends.
pub struct Ending {
    success: bool,
    reason: String,
    message: String,
}

fn find<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether it is Complete or Failed.
pub fn is_finished(status: &JobStatus) -> bool {
    find(status, "Complete")
        .or(find(status, "Failed"))
        .is_some()
}

impl Work<'_> {
    fn set_condition(&mut self, type_: &str, status: bool, reason: &str, message: &str) {
        let (now, conditions) = (
            self.view.now(),
            self.status.conditions.get_or_insert_default(),
        );
        let status = if status { "True" } else { "False" };
        let condition = JobCondition {
            type_: type_.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: Some(now.clone()),
            last_transition_time: Some(now),
        };
        match conditions.iter_mut().find(|old| old.type_ == type_) {
            Some(old) if old.status == status && old.reason.as_deref() == Some(reason) => {}
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }

    /// Whether the job has reached its end, and how.
    pub fn judge(&mut self, policy_failure: Option<String>) -> Option<Ending> {
        let noted = |type_: &str, success| {
            find(&self.status, type_).map(|condition| Ending {
                success,
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
            })
        };
        if let Some(ending) = noted("FailureTarget", false).or(noted("SuccessCriteriaMet", true)) {
            return Some(ending);
        }
        let failure = |reason: &str, message: &str| {
            Some(Ending {
                success: false,
                reason: reason.into(),
                message: message.into(),
            })
        };
        if let Some(why) = policy_failure {
            return failure("PodFailurePolicy", &why);
        }
        let failed = i32::try_from(self.failed_indexes().len()).unwrap_or(i32::MAX);
        if self
            .spec
            .max_failed_indexes
            .is_some_and(|most| failed > most)
        {
            return failure(
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            );
        }
        if self.past_backoff_limit() {
            return failure(
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
        }
        if self.past_deadline() {
            let message = "Job was active longer than specified deadline";
            return failure("DeadlineExceeded", message);
        }
        let succeeded = self.status.succeeded.unwrap_or(0);
        let completed = parse(self.status.completed_indexes.as_deref().unwrap_or_default());
        let policy = self.spec.success_policy.as_ref().filter(|_| self.indexed());
        if let Some(why) = policy.and_then(|policy| success_policy::met(policy, &completed)) {
            return Some(Ending {
                success: true,
                reason: "SuccessPolicy".into(),
                message: why,
            });
        }
        if failed > 0 && succeeded + failed >= self.spec.completions.unwrap_or(0) {
            return failure("FailedIndexes", "Job has failed indexes");
        }
        let complete = match self.spec.completions {
            None => succeeded > 0 && self.active().is_empty(),
            Some(completions) => succeeded >= completions,
        };
        complete.then(|| Ending {
            success: true,
            reason: "CompletionsReached".into(),
            message: "Reached expected number of succeeded pods".into(),
        })
    }

    fn past_backoff_limit(&self) -> bool {
        let limit = self.spec.backoff_limit.unwrap_or(6);
        if self.status.failed.unwrap_or(0) > limit {
            return true;
        }
        let template = self.spec.template.spec.as_ref();
        let on_failure = template.and_then(|spec| spec.restart_policy.as_deref());
        if on_failure != Some("OnFailure") {
            return false;
        }
        let restarts = |pod: &Pod| {
            let status = pod.status.as_ref();
            let inits = status.and_then(|status| status.init_container_statuses.as_ref());
            let mains = status.and_then(|status| status.container_statuses.as_ref());
            let statuses = inits.into_iter().chain(mains).flatten();
            statuses.map(|status| status.restart_count).sum::<i32>()
        };
        let total: i32 = self.active().iter().map(|pod| restarts(pod)).sum();
        if limit == 0 {
            total > 0
        } else {
            total >= limit
        }
    }

    fn past_deadline(&mut self) -> bool {
        let (Some(limit), Some(start)) = (
            self.spec.active_deadline_seconds,
            self.status.start_time.as_ref(),
        ) else {
            return false;
        };
        if self.suspended() {
            return false;
        }
        let due = ms_of(start) + u64::try_from(limit).unwrap_or(0) * 1000;
        if due > self.view.now_ms {
            self.plan.requeue_after_ms(due - self.view.now_ms);
        }
        due <= self.view.now_ms
    }

    /// Notes the end; the final condition waits for the last pod.
    pub fn finish(&mut self, ending: &Ending) {
        let (target, last) = match ending.success {
            true => ("SuccessCriteriaMet", "Complete"),
            false => ("FailureTarget", "Failed"),
        };
        self.set_condition(target, true, &ending.reason, &ending.message);
        if !self.active().is_empty() || self.terminating() > 0 {
            return;
        }
        self.set_condition(last, true, &ending.reason, &ending.message);
        if ending.success {
            self.status.completion_time = Some(self.view.now());
            self.plan.event(&self.job, "Completed", "Job completed");
        } else {
            self.plan
                .warn(&self.job, &ending.reason, ending.message.clone());
        }
    }

    /// A suspended job has no active pods.
    pub fn suspend(&mut self, active: &[Found<Pod>]) {
        for pod in active {
            self.delete_pod(pod);
        }
        if find(&self.status, "Suspended").is_none() {
            self.set_condition("Suspended", true, "JobSuspended", "Job suspended");
            self.plan.event(&self.job, "Suspended", "Job suspended");
        }
    }

    /// A resumed job starts its clock anew.
    pub fn resume(&mut self) {
        if find(&self.status, "Suspended").is_some() {
            self.set_condition("Suspended", false, "JobResumed", "Job resumed");
            self.status.start_time = Some(self.view.now());
            self.plan.event(&self.job, "Resumed", "Job resumed");
        }
    }
}
