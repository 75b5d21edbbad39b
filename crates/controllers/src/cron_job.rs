//! CronJobs: makes a Job at each moment of the schedule; the name of the Job is the moment, so none is made twice.

use k8s_openapi::Resource;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_api::cron::Schedule;

use crate::owned::job_to_cron_jobs;
use crate::plan::Plan;
use crate::pods::controller_ref;
use crate::view::{Found, View, ms_of, time_of};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// More missed starts than this are worth a warning (upstream).
const MANY_MISSED: u64 = 100;
/// Upstream wakes this much after the scheduled moment.
const LATENESS_MS: u64 = 100;

/// The controller.
pub struct CronJobController;

impl Controller for CronJobController {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "cronjobs.batch",
                map: itself,
            },
            Watch {
                resource: "jobs.batch",
                map: job_to_cron_jobs,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(cron) = view.get::<CronJob>(&key.namespace, &key.name)? else {
            return Ok(Plan::none());
        };
        let Some(spec) = cron.spec.clone() else {
            return Ok(Plan::none());
        };
        let mut plan = Plan::none();
        let jobs = view.controlled::<Job>(cron.uid())?;
        clean_up(&spec, &jobs, &mut plan);
        let mut status = cron.status.clone().unwrap_or_default();
        note_jobs(&cron, &jobs, &mut status, &mut plan);
        if cron.metadata.deletion_timestamp.is_none() && spec.suspend != Some(true) {
            run(view, &cron, &spec, &jobs, &mut status, &mut plan);
        }
        plan.set_status(&cron.object, &status);
        Ok(plan)
    }
}

fn ended(job: &Job) -> Option<&'static str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    ["Complete", "Failed"].into_iter().find(|type_| {
        conditions
            .iter()
            .any(|condition| condition.type_ == *type_ && condition.status == "True")
    })
}

/// Keeps the history limits.
fn clean_up(spec: &CronJobSpec, jobs: &[Found<Job>], plan: &mut Plan) {
    let limits = [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    for (how, limit) in limits {
        let alive = |job: &&Found<Job>| job.metadata.deletion_timestamp.is_none();
        let mut done: Vec<&Found<Job>> = jobs
            .iter()
            .filter(|job| ended(job) == Some(how))
            .filter(alive)
            .collect();
        done.sort_by_key(|job| {
            let start = job
                .status
                .as_ref()
                .and_then(|status| status.start_time.as_ref());
            (start.map_or(0, ms_of), job.name().to_owned())
        });
        let excess = done
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(0));
        done.iter()
            .take(excess)
            .for_each(|job| plan.delete(&job.object));
    }
}

/// Brings `status.active` up to date.
fn note_jobs(
    cron: &Found<CronJob>,
    jobs: &[Found<Job>],
    status: &mut CronJobStatus,
    plan: &mut Plan,
) {
    let was_active = |job: &Found<Job>| {
        status
            .active
            .iter()
            .flatten()
            .any(|active| active.uid.as_deref() == Some(job.uid()))
    };
    let mut last_success = status.last_successful_time.clone();
    for job in jobs {
        let Some(how) = ended(job) else { continue };
        if was_active(job) {
            let message = format!("Saw completed job: {}, condition: {how}", job.name());
            plan.event(cron, "SawCompletedJob", message);
        }
        let completed = job
            .status
            .as_ref()
            .and_then(|status| status.completion_time.clone());
        if how == "Complete" && completed > last_success {
            last_success = completed;
        }
    }
    let active: Vec<ObjectReference> = jobs
        .iter()
        .filter(|job| ended(job).is_none())
        .map(reference)
        .collect();
    status.active = (!active.is_empty()).then_some(active);
    status.last_successful_time = last_success;
}

fn reference(job: &Found<Job>) -> ObjectReference {
    ObjectReference {
        api_version: Some(Job::API_VERSION.into()),
        kind: Some(Job::KIND.into()),
        name: Some(job.name().into()),
        namespace: Some(job.namespace().into()),
        uid: Some(job.uid().into()),
        resource_version: job.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// The latest moment of the schedule in `(from, now]` and about how many there were.
fn latest(schedule: &Schedule, from_ms: u64, now_ms: u64) -> Option<(u64, u64)> {
    let first = schedule
        .next_after(from_ms)
        .filter(|first| *first <= now_ms)?;
    let Some(second) = schedule
        .next_after(first)
        .filter(|second| *second <= now_ms)
    else {
        return Some((first, 1));
    };
    let period = (second - first).max(1);
    let missed = (now_ms - first) / period + 1;
    // Look in a window that ends now and widens: no walk over a year of minutes.
    let mut window = period * 2;
    loop {
        let start = now_ms.saturating_sub(window).max(from_ms);
        let mut last = None;
        let mut at = start;
        while let Some(next) = schedule.next_after(at).filter(|next| *next <= now_ms) {
            last = Some(next);
            at = next;
        }
        match last {
            Some(last) => return Some((last, missed)),
            None if start == from_ms => return None,
            None => window = window.saturating_mul(4),
        }
    }
}

fn run(
    view: &View<'_>,
    cron: &Found<CronJob>,
    spec: &CronJobSpec,
    jobs: &[Found<Job>],
    status: &mut CronJobStatus,
    plan: &mut Plan,
) {
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let message = format!("unparseable schedule {:?}: {error}", spec.schedule);
            plan.warn(cron, "UnparseableSchedule", message);
            return;
        }
    };
    if let Some(next) = schedule.next_after(view.now_ms) {
        plan.requeue_after_ms(next - view.now_ms + LATENESS_MS);
    }
    let created = cron.metadata.creation_timestamp.as_ref().map_or(0, ms_of);
    let mut earliest = status.last_schedule_time.as_ref().map_or(created, ms_of);
    let deadline = spec
        .starting_deadline_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    if let Some(seconds) = deadline {
        earliest = earliest.max(view.now_ms.saturating_sub(seconds * 1000));
    }
    let Some((scheduled, missed)) = latest(&schedule, earliest, view.now_ms) else {
        return;
    };
    if missed > MANY_MISSED {
        let message = format!(
            "too many missed start times: {missed}. Set or decrease \
             .spec.startingDeadlineSeconds or check clock skew"
        );
        plan.warn(cron, "TooManyMissedTimes", message);
    }
    if deadline.is_some_and(|seconds| scheduled + seconds * 1000 < view.now_ms) {
        let message = format!(
            "Missed scheduled time to start a job: {}",
            time_of(scheduled).0
        );
        plan.warn(cron, "MissSchedule", message);
        return;
    }
    start(view, cron, spec, jobs, status, plan, scheduled);
}

fn start(
    view: &View<'_>,
    cron: &Found<CronJob>,
    spec: &CronJobSpec,
    jobs: &[Found<Job>],
    status: &mut CronJobStatus,
    plan: &mut Plan,
    scheduled: u64,
) {
    let name = format!("{}-{}", cron.name(), scheduled / 60_000);
    let known = view
        .snapshot
        .find("jobs.batch", cron.namespace(), &name)
        .is_some();
    if known || status.last_schedule_time.as_ref().map(ms_of) == Some(scheduled) {
        return;
    }
    let running = || jobs.iter().filter(|job| ended(job).is_none());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if running().next().is_some() => {
            let message = "Not starting job because prior execution is running and concurrency \
                           policy is Forbid";
            plan.event(cron, "JobAlreadyActive", message);
            return;
        }
        Some("Replace") => {
            for job in running().filter(|job| job.metadata.deletion_timestamp.is_none()) {
                plan.delete(&job.object);
                plan.event(
                    cron,
                    "SuccessfulDelete",
                    format!("Deleted job {}", job.name()),
                );
            }
        }
        _ => {}
    }
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = template.annotations.unwrap_or_default();
    let stamp = time_of(scheduled).0.to_string();
    annotations.insert(
        "batch.kubernetes.io/cronjob-scheduled-timestamp".into(),
        stamp,
    );
    let job = Job {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(cron.namespace().into()),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_ref(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    };
    plan.create(&job);
    plan.event(cron, "SuccessfulCreate", format!("Created job {name}"));
    status.last_schedule_time = Some(time_of(scheduled));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_latest_missed_moment_without_walking_a_year() {
        let schedule = Schedule::parse("* * * * *", None).unwrap();
        let minute = 60_000;
        assert_eq!(latest(&schedule, 0, minute / 2), None);
        assert_eq!(latest(&schedule, 0, minute), Some((minute, 1)));
        let year = 365 * 24 * 60 * minute;
        let (at, missed) = latest(&schedule, 0, year + 5).unwrap();
        assert_eq!((at, missed), (year, 365 * 24 * 60));
    }

    #[test]
    fn irregular_schedules_look_back_far_enough() {
        // 00:00 and 00:01 on the first of January only.
        let schedule = Schedule::parse("0,1 0 1 1 *", None).unwrap();
        let day = 24 * 3_600_000;
        let (at, _) = latest(&schedule, day, 300 * day + 366 * day).unwrap();
        assert_eq!(at, 365 * day + 60_000, "1971 began after 365 days");
    }
}
