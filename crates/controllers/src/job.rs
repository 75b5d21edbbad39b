//! Jobs: runs pods until enough of them have succeeded, or too many have failed.
//!
//! A pod carries the finalizer `batch.kubernetes.io/job-tracking` until it is counted: counting and taking the
//! finalizer off are one transaction, so that each end is counted exactly once (upstream needs
//! `uncountedTerminatedPods` for that, for want of transactions).

mod count;
mod failure_policy;
mod indexes;
mod per_index;
mod pods;
mod status;
mod success_policy;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::owned::{claim, pod_to_jobs};
use crate::plan::Plan;
use crate::pods::is_active;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// Marks pods that are not counted yet.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// The controller.
pub struct JobController;

/// What one reconcile works on.
struct Work<'a> {
    view: &'a View<'a>,
    job: Found<Job>,
    spec: JobSpec,
    status: JobStatus,
    pods: Vec<Found<Pod>>,
    plan: Plan,
}

impl Controller for JobController {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "jobs.batch",
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_jobs,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(job) = view.get::<Job>(&key.namespace, &key.name)? else {
            return release_orphans(view, key);
        };
        let Some(spec) = job.spec.clone() else {
            return Ok(Plan::none());
        };
        let foreign = spec.managed_by.as_deref();
        if foreign.is_some_and(|manager| manager != "kubernetes.io/job-controller") {
            return Ok(Plan::none());
        }
        let mut plan = Plan::none();
        let selector: LabelSelector = spec.selector.clone().unwrap_or_default();
        if crate::selector::is_empty(&selector) {
            return Err(Error::Invalid(format!(
                "job {} selects all pods",
                job.name()
            )));
        }
        let pods = claim::<Job, Pod>(view, &job, &selector, &mut plan)?;
        let status = job.status.clone().unwrap_or_default();
        let mut work = Work {
            view,
            job,
            spec,
            status,
            pods,
            plan,
        };
        if status::is_finished(&work.status) || work.job.metadata.deletion_timestamp.is_some() {
            work.release_all();
            return Ok(work.plan);
        }
        work.sync();
        Ok(work.plan)
    }
}

/// Pods whose job is gone are held by nobody else: let them go.
fn release_orphans(view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
    let mut plan = Plan::none();
    for pod in view.list::<Pod>(Some(&key.namespace))? {
        let owner = crate::view::controller_of(&pod.metadata);
        if owner.is_some_and(|owner| owner.kind == "Job" && owner.name == *key.name) {
            pods::remove_finalizer(&pod, &mut plan);
        }
    }
    Ok(plan)
}

impl Work<'_> {
    fn parallelism(&self) -> i32 {
        self.spec.parallelism.unwrap_or(1)
    }

    fn indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// Pods that are being deleted count as failed at once, unless replacement waits for them to end.
    fn replaces_only_failed(&self) -> bool {
        self.spec.pod_failure_policy.is_some()
            || self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    fn active(&self) -> Vec<Found<Pod>> {
        self.pods
            .iter()
            .filter(|pod| is_active(pod))
            .cloned()
            .collect()
    }

    fn terminating(&self) -> i32 {
        let leaving = self.pods.iter().filter(|pod| {
            pod.metadata.deletion_timestamp.is_some() && !crate::pods::is_finished(pod)
        });
        leaving.count() as i32
    }

    fn sync(&mut self) {
        if self.status.start_time.is_none() && !self.suspended() {
            self.status.start_time = Some(self.view.now());
        }
        self.status
            .uncounted_terminated_pods
            .get_or_insert(UncountedTerminatedPods::default());
        let policy_failure = self.count_finished();
        let ending = self.judge(policy_failure);
        let mut active = self.active();
        if let Some(ending) = ending {
            for pod in active.drain(..) {
                self.delete_pod(&pod);
            }
            // Counted out at once: their end decides nothing any more.
            self.finish(&ending);
        } else if self.suspended() {
            self.suspend(&active);
            active.clear();
        } else {
            self.resume();
            self.manage(&active);
        }
        self.write_status();
    }

    fn write_status(&mut self) {
        let active = self.active();
        let ready = active
            .iter()
            .filter(|pod| crate::pods::is_ready(pod))
            .count() as i32;
        let finished = status::is_finished(&self.status);
        self.status.active = (!active.is_empty() && !finished).then_some(active.len() as i32);
        self.status.ready = Some(if finished { 0 } else { ready });
        self.status.terminating = Some(if finished { 0 } else { self.terminating() });
        let status = self.status.clone();
        self.plan.atomic = true;
        self.plan.set_status(&self.job.object.clone(), &status);
    }
}
