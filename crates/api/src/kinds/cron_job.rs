//! CronJob: defaults, rules and columns (upstream `pkg/apis/batch`). Schedules themselves are in `cron`.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};
use serde_json::Value;

use crate::cron::Schedule;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::Meta;
use crate::podspec::json::{ensure, into_object, list, or, or_pointer, text, typed};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::podspec::{defaults, print, selectors, warnings};
use crate::{table, time};

use super::job;

/// A name leaves room for the eleven characters that the Jobs' names add.
const MAX_NAME_BYTES: usize = 63 - 11;

/// CronJob.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    counts_generation: true,
    hooks: Hooks {
        default,
        validate,
        warnings: |new, old| warnings::template(new, old, "spec.jobTemplate.spec.template"),
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<CronJob>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text(
        "Schedule",
        "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron.",
    ),
    Column::text("Timezone", "The time zone name for the given schedule."),
    Column::typed(
        "Suspend",
        "boolean",
        "Whether subsequent executions are suspended.",
    ),
    Column::typed("Active", "integer", "How many jobs are running."),
    Column::text(
        "Last Schedule",
        "When the job was last successfully scheduled.",
    ),
    Column::AGE,
    print::CONTAINERS,
    print::IMAGES,
    Column::text(
        "Selector",
        "Label query over pods that should match the pod count.",
    )
    .wide(),
];

fn default(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    or(spec, "concurrencyPolicy", "Allow");
    or_pointer(spec, "suspend", false);
    or_pointer(spec, "successfulJobsHistoryLimit", 3);
    or_pointer(spec, "failedJobsHistoryLimit", 1);
    // The Job within gets its own defaults when it is made; only its pods get theirs now.
    let template = ensure(spec, "jobTemplate");
    ensure(template, "metadata");
    let job_spec = ensure(template, "spec");
    job::failure_policy(job_spec);
    defaults::template(ensure(job_spec, "template"));
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: CronJobSpec = typed(new.get("spec"));
    let zone_at = SPEC.child("timeZone");
    schedule(&mut errors, SPEC.child("schedule"), &spec.schedule);
    errors.nonnegative_if(
        SPEC.child("startingDeadlineSeconds"),
        spec.starting_deadline_seconds,
    );
    let zone_before = old
        .and_then(|old| old.pointer("/spec/timeZone"))
        .and_then(Value::as_str);
    if let Some(zone) = spec.time_zone.as_deref()
        && zone_before != Some(zone)
    {
        time_zone(&mut errors, zone_at, zone);
    }
    errors.one_of(
        SPEC.child("concurrencyPolicy"),
        spec.concurrency_policy.given(),
        &["Allow", "Forbid", "Replace"],
    );
    let job_spec = spec.job_template.spec.unwrap_or_default();
    job::template_spec(&mut errors, &SPEC.child("jobTemplate"), &job_spec);
    for (field, limit) in [
        (
            "successfulJobsHistoryLimit",
            spec.successful_jobs_history_limit,
        ),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ] {
        errors.nonnegative_if(SPEC.child(field), limit);
    }
    let name = Meta::of(new).name();
    if old.is_none() && name.len() > MAX_NAME_BYTES {
        let detail = crate::meta::names::max_len(MAX_NAME_BYTES);
        errors.invalid(Path::root("metadata.name"), name, detail);
    }
    errors.0
}

fn schedule(errors: &mut Errors, at: Path<'_>, schedule: &str) {
    if schedule.is_empty() {
        return errors.required(at, "");
    }
    if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        return errors.invalid(at, schedule, detail);
    }
    if let Err(error) = Schedule::parse(schedule, None) {
        errors.invalid(at, schedule, error.to_string());
    }
}

fn time_zone(errors: &mut Errors, at: Path<'_>, zone: &str) {
    if zone.is_empty() {
        errors.invalid(at, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        let detail =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(at, zone, detail);
    } else if let Err(error) = Schedule::parse("@daily", Some(zone)) {
        errors.invalid(at, zone, error.to_string());
    }
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let [names, images] = print::container_cells(object, "/spec/jobTemplate/spec/template");
    let last = match object.pointer("/status/lastScheduleTime") {
        None | Some(Value::Null) => "<none>".to_owned(),
        then => time::age(then, now_unix_ms),
    };
    let suspend = match object.pointer("/spec/suspend").and_then(Value::as_bool) {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    vec![
        table::name(object),
        text(object, "/spec/schedule").into(),
        table::text(object, "/spec/timeZone", "<none>"),
        suspend.into(),
        list(object, "/status/active").len().into(),
        last.into(),
        table::age(object, now_unix_ms),
        names,
        images,
        selectors::cell_at(object, "/spec/jobTemplate/spec/selector").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nightly() -> Value {
        let mut object = json!({
            "metadata": {"name": "nightly", "namespace": "default"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure",
                "containers": [{"name": "a", "image": "busybox:1"}],
            }}}}},
        });
        KIND.default(&mut object);
        object
    }

    #[test]
    fn defaults_reach_the_pods_but_not_the_job() {
        let object = nightly();
        let spec = &object["spec"];
        assert_eq!(spec["concurrencyPolicy"], "Allow");
        assert_eq!(spec["successfulJobsHistoryLimit"], 3);
        assert_eq!(spec["failedJobsHistoryLimit"], 1);
        let job = &spec["jobTemplate"]["spec"];
        assert_eq!(job["backoffLimit"], json!(null));
        assert_eq!(job["template"]["spec"]["dnsPolicy"], "ClusterFirst");
        assert_eq!(KIND.validate(&object, None), []);
    }

    #[test]
    fn schedules_and_zones_are_checked() {
        for (field, value, expected) in [
            ("schedule", json!(""), "spec.schedule: Required value"),
            (
                "schedule",
                json!("TZ=UTC 0 0 * * *"),
                "spec.schedule: Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in \
                 schedule, use timeZone field instead",
            ),
            (
                "schedule",
                json!("* * *"),
                "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: \
                 [* * *]",
            ),
            (
                "timeZone",
                json!("Nowhere/City"),
                "spec.timeZone: Invalid value: \"Nowhere/City\": unknown time zone Nowhere/City",
            ),
            (
                "concurrencyPolicy",
                json!("Maybe"),
                "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \
                 \"Allow\", \"Forbid\", \"Replace\"",
            ),
        ] {
            let mut object = nightly();
            object["spec"][field] = value;
            assert_eq!(validate(&object, None)[0].to_string(), expected);
        }
    }
}
