//! Deletes finished jobs `ttlSecondsAfterFinished` after their end, with their pods.

use k8s_openapi::api::batch::v1::Job;

use crate::plan::{Plan, Propagation};
use crate::view::{View, ms_of};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// The controller.
pub struct JobTtl;

impl Controller for JobTtl {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "jobs.batch",
            map: itself,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(job) = view.get::<Job>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        let ttl = job
            .spec
            .as_ref()
            .and_then(|spec| spec.ttl_seconds_after_finished);
        let conditions = job
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let finished = conditions.into_iter().flatten().find(|condition| {
            matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
        });
        let at = finished.and_then(|condition| condition.last_transition_time.as_ref());
        let (Some(ttl), Some(at)) = (ttl, at) else {
            return Ok(plan);
        };
        if job.metadata.deletion_timestamp.is_some() {
            return Ok(plan);
        }
        let due = ms_of(at) + u64::try_from(ttl).unwrap_or(0) * 1000;
        if due <= view.now_ms {
            plan.delete_with(&job.object, None, Propagation::Foreground);
        } else {
            plan.requeue_after_ms(due - view.now_ms);
        }
        Ok(plan)
    }
}
