//! Job: defaults, the selector made for it, columns. Rules are in `job/validate.rs`.

mod policies;
mod status;
mod validate;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use serde_json::{Value, json};

pub(crate) use self::validate::template_spec;

use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::Meta;
use crate::podspec::json::{
    Fields, child, each, ensure, int, into_object, or, or_pointer, text, typed,
};
use crate::podspec::path::Given;
use crate::podspec::{self, defaults, print, selectors};
use crate::{table, time};

/// Label with the uid of the Job that made a pod; selectors that the server makes use it.
pub const CONTROLLER_UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
/// Label with the name of the Job that made a pod.
pub const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// The older form of [`CONTROLLER_UID_LABEL`].
pub const LEGACY_CONTROLLER_UID_LABEL: &str = "controller-uid";
/// The older form of [`JOB_NAME_LABEL`].
pub const LEGACY_JOB_NAME_LABEL: &str = "job-name";

/// Beyond both of these the ranges of failed indexes may not fit into a status.
const MANY_COMPLETIONS: i64 = 100_000;
const MUCH_PARALLELISM: i64 = 10_000;

/// Job.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "job",
    categories: &["all"],
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    selectable: &["status.successful"],
    counts_generation: true,
    hooks: Hooks {
        default,
        prepare_create,
        validate: validate::validate,
        validate_status: status::validate,
        warnings,
        row,
        fields: |job| {
            vec![(
                "status.successful",
                int(job, "/status/succeeded").to_string(),
            )]
        },
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Job>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Status", "Status of the job."),
    Column::text("Completions", "How many pods succeeded of those wanted."),
    Column::text("Duration", "Time required to complete the job."),
    Column::AGE,
    print::CONTAINERS,
    print::IMAGES,
    Column::text(
        "Selector",
        "Label query over pods that should match the pod count.",
    )
    .wide(),
];

fn default(job: &mut Value) {
    let object = into_object(job);
    let spec = ensure(object, "spec");
    if spec.get("completions").is_none_or(Value::is_null)
        && spec.get("parallelism").is_none_or(Value::is_null)
    {
        or_pointer(spec, "completions", 1);
    }
    or_pointer(spec, "parallelism", 1);
    let per_index = spec
        .get("backoffLimitPerIndex")
        .is_some_and(|limit| !limit.is_null());
    or_pointer(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    or_pointer(spec, "completionMode", "NonIndexed");
    or_pointer(spec, "suspend", false);
    or_pointer(spec, "manualSelector", false);
    let by_failure = spec
        .get("podFailurePolicy")
        .is_some_and(|policy| !policy.is_null());
    let replacement = if by_failure {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    or_pointer(spec, "podReplacementPolicy", replacement);
    failure_policy(spec);
    let template = spec
        .get("template")
        .and_then(|template| template.pointer("/metadata/labels"));
    let labels = template.cloned().unwrap_or_default();
    let metadata = ensure(object, "metadata");
    let unlabelled = match metadata.get("labels") {
        Some(Value::Object(labels)) => labels.is_empty(),
        _ => true,
    };
    if unlabelled && !labels.is_null() {
        metadata.insert("labels".to_owned(), labels);
    }
    defaults::template_of(job);
}

/// Patterns of conditions mean `True` unless they say otherwise.
pub(crate) fn failure_policy(spec: &mut Fields) {
    let Some(policy) = child(spec, "podFailurePolicy") else {
        return;
    };
    for rule in each(policy, "rules") {
        for pattern in each(rule, "onPodConditions") {
            or(pattern, "status", "True");
        }
    }
}

/// Gives the pods of a new Job labels of their own and selects by them. The uid must be set already.
fn prepare_create(job: &mut Value) {
    if job.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let meta = Meta::of(job);
    let (uid, name) = (meta.uid().to_owned(), meta.name().to_owned());
    let spec = ensure(into_object(job), "spec");
    let labels = ensure(ensure(ensure(spec, "template"), "metadata"), "labels");
    for (label, value) in [
        (LEGACY_JOB_NAME_LABEL, &name),
        (JOB_NAME_LABEL, &name),
        (LEGACY_CONTROLLER_UID_LABEL, &uid),
        (CONTROLLER_UID_LABEL, &uid),
    ] {
        // A label of the user's own stays; when it differs, validation says so.
        labels.entry(label).or_insert_with(|| json!(value));
    }
    let matched = ensure(ensure(spec, "selector"), "matchLabels");
    matched
        .entry(CONTROLLER_UID_LABEL)
        .or_insert_with(|| json!(uid));
}

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = podspec::warnings::template(new, old, "spec.template");
    let is_indexed = text(new, "/spec/completionMode") == "Indexed";
    if is_indexed
        && int(new, "/spec/completions") > MANY_COMPLETIONS
        && int(new, "/spec/parallelism") > MUCH_PARALLELISM
    {
        let warning = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism \
                       higher than 10^4, Kubernetes might not be able to track completedIndexes when a \
                       big number of indexes fail";
        warnings.push(warning.to_owned());
    }
    warnings
}

fn row(job: &Value, now_unix_ms: u64) -> Vec<Value> {
    let status: JobStatus = typed(job.get("status"));
    let [names, images] = print::container_cells(job, "/spec/template");
    let succeeded = status.succeeded.unwrap_or_default();
    let completions = match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None => match int(job, "/spec/parallelism") {
            parallelism @ 2.. => format!("{succeeded}/1 of {parallelism}"),
            _ => format!("{succeeded}/1"),
        },
    };
    let start = status.start_time.as_ref().map(time::unix_ms);
    let end = status
        .completion_time
        .as_ref()
        .map_or(now_unix_ms, time::unix_ms);
    let duration = start.map_or_else(String::new, |start| time::human_since(start, end));
    vec![
        table::name(job),
        state(job, &status).into(),
        completions.into(),
        duration.into(),
        table::age(job, now_unix_ms),
        names,
        images,
        selectors::cell_at(job, "/spec/selector").into(),
    ]
}

fn state(job: &Value, status: &JobStatus) -> &'static str {
    let deleting = !text(job, "/metadata/deletionTimestamp").is_empty();
    let is_true = |kind: &str| {
        let mut conditions = status.conditions.given().iter();
        conditions.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    match () {
        () if is_true("Complete") => "Complete",
        () if is_true("Failed") => "Failed",
        () if deleting => "Terminating",
        () if is_true("Suspended") => "Suspended",
        () if is_true("FailureTarget") => "FailureTarget",
        () => "Running",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Value {
        json!({
            "metadata": {"name": "once", "namespace": "default", "uid": "u1"},
            "spec": {"template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "a", "image": "busybox:1"}],
                },
            }},
        })
    }

    #[test]
    fn a_new_job_is_filled_in_and_selects_its_own_pods() {
        let mut job = job();
        default(&mut job);
        KIND.prepare_create(&mut job);
        let spec = &job["spec"];
        for (field, value) in [
            ("completions", json!(1)),
            ("parallelism", json!(1)),
            ("backoffLimit", json!(6)),
            ("completionMode", json!("NonIndexed")),
            ("suspend", json!(false)),
            ("manualSelector", json!(false)),
            ("podReplacementPolicy", json!("TerminatingOrFailed")),
            (
                "selector",
                json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}}),
            ),
        ] {
            assert_eq!(spec[field], value, "{field}");
        }
        assert_eq!(job["metadata"]["labels"], json!({"app": "x"}));
        assert_eq!(
            spec["template"]["metadata"]["labels"],
            json!({
                "app": "x",
                "batch.kubernetes.io/controller-uid": "u1",
                "batch.kubernetes.io/job-name": "once",
                "controller-uid": "u1",
                "job-name": "once",
            })
        );
        assert_eq!(KIND.validate(&job, None), []);
    }

    #[test]
    fn rows_tell_progress() {
        let mut job = job();
        job["spec"]["completions"] = json!(3);
        job["status"] = json!({
            "succeeded": 1, "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Suspended", "status": "False"}],
        });
        let cells = row(&job, time::parse("2026-01-01T00:01:40Z").unwrap());
        assert_eq!(cells[1..4], [json!("Running"), json!("1/3"), json!("100s")]);
    }
}
