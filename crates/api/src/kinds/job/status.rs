//! Rules of a Job's status: what contradicts itself, and what must not be taken back.

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::podspec::json::typed;
use crate::podspec::path::{Errors, Given, Path, to_value};

const STATUS: Path<'static> = Path::root("status");

/// Rules of a status update.
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (job, old): (Job, Job) = (typed(Some(new)), typed(Some(old)));
    let (status, old_status) = (
        job.status.clone().unwrap_or_default(),
        old.status.unwrap_or_default(),
    );
    counts(&mut errors, &status, &old_status);
    conditions(&mut errors, &status, &old_status);
    if is_finished(&status) {
        finished(&mut errors, &status);
    }
    indexes(&mut errors, &job, &status);
    errors.0
}

fn is_true(status: &JobStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.given().iter();
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_finished(status: &JobStatus) -> bool {
    is_true(status, "Complete") || is_true(status, "Failed")
}

fn counts(errors: &mut Errors, status: &JobStatus, old: &JobStatus) {
    for (field, value) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        errors.nonnegative_if(STATUS.child(field), value);
    }
    for (field, new, old) in [
        ("failed", status.failed, old.failed),
        ("succeeded", status.succeeded, old.succeeded),
    ] {
        let new = new.unwrap_or_default();
        if new < old.unwrap_or_default() {
            let detail = format!("cannot decrease the {field} counter");
            errors.invalid(STATUS.child(field), new, detail);
        }
    }
    let ready = status.ready.unwrap_or_default();
    if ready > status.active.unwrap_or_default() {
        errors.invalid(
            STATUS.child("ready"),
            ready,
            "cannot set more ready pods than active",
        );
    }
}

fn conditions(errors: &mut Errors, status: &JobStatus, old: &JobStatus) {
    let at = STATUS.child("conditions");
    for (one, other, detail) in [
        (
            "Complete",
            "Failed",
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            "Complete",
            "FailureTarget",
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            "SuccessCriteriaMet",
            "Failed",
            "cannot set SuccessCriteriaMet=True and Failed=true conditions",
        ),
        (
            "SuccessCriteriaMet",
            "FailureTarget",
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
    ] {
        if is_true(status, one) && is_true(status, other) {
            errors.invalid_without_value(at, detail);
        }
    }
    for (kind, first, detail) in [
        (
            "Failed",
            "FailureTarget",
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            "Complete",
            "SuccessCriteriaMet",
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
    ] {
        if is_true(status, kind) && !is_true(status, first) {
            errors.invalid_without_value(at, detail);
        }
    }
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is_true(old, kind) && !is_true(status, kind) {
            let detail = format!("cannot disable the terminal {kind}=True condition");
            errors.invalid_without_value(at, detail);
        }
    }
    if is_true(old, "SuccessCriteriaMet") && !is_true(status, "SuccessCriteriaMet") {
        errors.invalid_without_value(at, "cannot disable the SuccessCriteriaMet=True condition");
    }
    let completion_at = STATUS.child("completionTime");
    match &status.completion_time {
        None if is_true(status, "Complete") => {
            errors.required(
                completion_at,
                "completionTime is required for Complete jobs",
            );
        }
        Some(time) if !is_true(status, "Complete") => {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(completion_at, to_value(time), detail);
        }
        Some(time) if status.start_time.as_ref().is_some_and(|start| time < start) => {
            errors.invalid(
                completion_at,
                to_value(time),
                "must be equal to or after `startTime`",
            );
        }
        Some(time) if old.completion_time.as_ref().is_some_and(|old| old != time) => {
            errors.invalid(completion_at, to_value(time), "field is immutable");
        }
        _ => {}
    }
}

fn finished(errors: &mut Errors, status: &JobStatus) {
    let (active, terminating) = (
        status.active.unwrap_or_default(),
        status.terminating.unwrap_or_default(),
    );
    if active > 0 {
        errors.invalid(
            STATUS.child("active"),
            active,
            "active>0 is invalid for finished job",
        );
    }
    if terminating > 0 {
        let detail = "terminating>0 is invalid for finished job";
        errors.invalid(STATUS.child("terminating"), terminating, detail);
    }
    if status.start_time.is_none() {
        errors.required(
            STATUS.child("startTime"),
            "startTime is required for finished job",
        );
    }
    if let Some(uncounted) = &status.uncounted_terminated_pods
        && !(uncounted.failed.given().is_empty() && uncounted.succeeded.given().is_empty())
    {
        let at = STATUS.child("uncountedTerminatedPods");
        errors.invalid(at, to_value(uncounted), "must be empty for finished job");
    }
}

fn indexes(errors: &mut Errors, job: &Job, status: &JobStatus) {
    let Some(spec) = &job.spec else { return };
    let completed = status.completed_indexes.given();
    if !completed.is_empty() && spec.completion_mode.given() != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(STATUS.child("completedIndexes"), completed, detail);
    }
    let failed = status.failed_indexes.as_deref();
    if let Some(failed) = failed
        && spec.backoff_limit_per_index.is_none()
    {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(STATUS.child("failedIndexes"), failed, detail);
    }
    let Some(completions) = spec.completions else {
        return;
    };
    for (field, text) in [
        ("completedIndexes", completed),
        ("failedIndexes", failed.unwrap_or_default()),
    ] {
        if let Err(error) = parse_indexes(text, completions) {
            let detail = format!("error parsing {field}: {error}");
            errors.invalid(STATUS.child(field), text, detail);
        }
    }
}

/// The number of indexes in a list such as `1,3-5`, which must ascend and stay below `completions`.
pub fn parse_indexes(text: &str, completions: i32) -> Result<i32, String> {
    let mut total = 0;
    let mut last: Option<i32> = None;
    let number = |text: &str| -> Result<i32, String> {
        let index: i32 = text
            .parse()
            .map_err(|_error| format!("cannot convert string to integer for index: {text:?}"))?;
        if index >= completions {
            return Err(format!("too large index: {text:?}"));
        }
        Ok(index)
    };
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = interval.split_once('-').unwrap_or((interval, interval));
        if to.contains('-') {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can \
                 have at most two parts separated by '-'"
            ));
        }
        let (from, to) = (number(from)?, number(to)?);
        if last.is_some_and(|last| last >= from) {
            let last = last.unwrap_or_default();
            return Err(format!(
                "non-increasing order, previous: {last}, current: {from}"
            ));
        }
        if from > to || (from == to && interval.contains('-')) {
            return Err(format!(
                "non-increasing order, previous: {from}, current: {to}"
            ));
        }
        total += to - from + 1;
        last = Some(to);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn indexes_are_counted() {
        assert_eq!(parse_indexes("0,2-4,7", 8), Ok(5));
        assert_eq!(parse_indexes("", 8), Ok(0));
        assert_eq!(parse_indexes("8", 8).unwrap_err(), "too large index: \"8\"");
        assert!(
            parse_indexes("3,1", 8)
                .unwrap_err()
                .starts_with("non-increasing order")
        );
    }

    #[test]
    fn a_status_does_not_contradict_itself() {
        let old = json!({"spec": {}, "status": {"failed": 2}});
        let new = json!({"spec": {}, "status": {"failed": 1, "conditions": [
            {"type": "Failed", "status": "True"}]}});
        let errors: Vec<String> = validate(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "status.failed: Invalid value: 1: cannot decrease the failed counter",
                "status.conditions: Invalid value: cannot set Failed=True condition without the \
             FailureTarget=true condition",
                "status.startTime: Required value: startTime is required for finished job",
            ]
        );
    }
}
