//! Rules of a Job's spec, its own or in a CronJob's template (upstream `pkg/apis/batch/validation`).

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::JobSpec;
use serde_json::Value;

use super::policies;
use super::{
    CONTROLLER_UID_LABEL, JOB_NAME_LABEL, LEGACY_CONTROLLER_UID_LABEL, LEGACY_JOB_NAME_LABEL,
};
use crate::field_error::FieldError;
use crate::meta::Meta;
use crate::podspec::json::{same, typed};
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::{SPEC, template_matches, unchanged};
use crate::podspec::{names, selectors, validate as podspec};

const MAX_INDEXED: i32 = 100_000;
const MAX_FAILED_INDEXES: i32 = 100_000;
const COMPLETIONS_SOFT_LIMIT: i32 = 100_000;
const HIGH_COMPLETIONS_LIMIT: i32 = 10_000;

/// Rules of a Job on create, or on update when there is an old one.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: JobSpec = typed(new.get("spec"));
    if let Some(old) = old {
        own_spec(&mut errors, &spec);
        update(&mut errors, new, old, &spec);
        return errors.0;
    }
    let meta = Meta::of(new);
    generated_selector(&mut errors, &spec, meta);
    own_spec(&mut errors, &spec);
    if is_indexed(&spec)
        && let Some(completions) = spec.completions.filter(|n| *n > 0)
    {
        let host = format!("{}-{}", meta.name(), completions - 1);
        if !names::dns1123_label(&host).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {host}");
            errors.invalid(Path::root("metadata.name"), meta.name(), detail);
        }
    }
    errors.0
}

/// Whether each of the Job's pods has an index.
pub fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.given() == "Indexed"
}

/// Unless the user selects pods, the labels that make the selector unique must be on the template.
fn generated_selector(errors: &mut Errors, spec: &JobSpec, meta: Meta<'_>) {
    if spec.manual_selector == Some(true) {
        return;
    }
    let Some(selector) = &spec.selector else {
        return;
    };
    if meta.uid().is_empty() {
        errors.required(Path::root("metadata.uid"), "");
    }
    let expected = BTreeMap::from([
        (
            LEGACY_CONTROLLER_UID_LABEL.to_owned(),
            meta.uid().to_owned(),
        ),
        (LEGACY_JOB_NAME_LABEL.to_owned(), meta.name().to_owned()),
        (CONTROLLER_UID_LABEL.to_owned(), meta.uid().to_owned()),
        (JOB_NAME_LABEL.to_owned(), meta.name().to_owned()),
    ]);
    let template = spec.template.metadata.as_ref();
    let labels = template.and_then(|metadata| metadata.labels.as_ref());
    let at = SPEC.child("template.metadata.labels");
    for (label, value) in &expected {
        let detail = format!("must be '{value}'");
        match labels.and_then(|labels| labels.get(label)) {
            None => errors.required(at.key(label), detail),
            Some(found) if found != value => {
                errors.invalid(at.key(label), to_value(&labels), detail);
            }
            Some(_) => {}
        }
    }
    if !selectors::matches(selector, Some(&expected)) {
        let detail = "`selector` not auto-generated";
        errors.invalid(SPEC.child("selector"), to_value(selector), detail);
    }
}

fn own_spec(errors: &mut Errors, spec: &JobSpec) {
    common(errors, &SPEC, spec);
    match &spec.selector {
        None => errors.required(SPEC.child("selector"), ""),
        selector => selectors::validate(errors, &SPEC.child("selector"), selector.as_ref()),
    }
    template_matches(
        errors,
        &SPEC.child("template"),
        &spec.template,
        spec.selector.as_ref(),
    );
}

/// Rules of the Job that a CronJob makes, at the path of its template.
pub fn template_spec(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    let at = at.child("spec");
    common(errors, &at, spec);
    if let Some(selector) = &spec.selector {
        let detail = "`selector` will be auto-generated";
        errors.invalid(at.child("selector"), to_value(selector), detail);
    }
    if spec.manual_selector == Some(true) {
        errors.not_supported(at.child("manualSelector"), true, &["nil", "false"]);
    }
}

fn common(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    errors.nonnegative_if(at.child("parallelism"), spec.parallelism);
    errors.nonnegative_if(at.child("completions"), spec.completions);
    errors.nonnegative_if(
        at.child("activeDeadlineSeconds"),
        spec.active_deadline_seconds,
    );
    errors.nonnegative_if(at.child("backoffLimit"), spec.backoff_limit);
    errors.nonnegative_if(
        at.child("ttlSecondsAfterFinished"),
        spec.ttl_seconds_after_finished,
    );
    errors.nonnegative_if(
        at.child("backoffLimitPerIndex"),
        spec.backoff_limit_per_index,
    );
    errors.nonnegative_if(at.child("maxFailedIndexes"), spec.max_failed_indexes);
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(
            at.child("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        );
    }
    managed_by(errors, at.child("managedBy"), spec.managed_by.as_deref());
    let mode = spec.completion_mode.as_deref();
    errors.one_of_if(at.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
    if is_indexed(spec) {
        indexed(errors, at, spec);
    } else {
        for (field, limit) in [
            ("backoffLimitPerIndex", spec.backoff_limit_per_index),
            ("maxFailedIndexes", spec.max_failed_indexes),
        ] {
            if let Some(limit) = limit {
                errors.invalid(at.child(field), limit, "requires indexed completion mode");
            }
        }
    }
    policies::validate(errors, at, spec);
    podspec::template(errors, &at.child("template"), &spec.template);
    restart_policy(errors, at.child("template.spec.restartPolicy"), spec);
}

fn managed_by(errors: &mut Errors, at: Path<'_>, manager: Option<&str>) {
    let Some(manager) = manager else { return };
    if manager.is_empty() {
        errors.required(at, "");
    } else if let Some((domain, path)) = manager.split_once('/') {
        errors.invalid_each(at, domain, names::dns1123_subdomain(domain));
        if path.is_empty() || path.contains('%') {
            errors.invalid(at, path, "Invalid path");
        }
    } else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.invalid(at, manager, detail);
    }
    if manager.len() > 63 {
        errors.too_long(at, 63);
    }
}

fn indexed(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    let Some(completions) = spec.completions else {
        return errors.required(at.child("completions"), "when completion mode is Indexed");
    };
    if let Some(n) = spec.parallelism.filter(|n| *n > MAX_INDEXED) {
        let detail =
            format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed");
        errors.invalid(at.child("parallelism"), n, detail);
    }
    let failed_at = at.child("maxFailedIndexes");
    if let Some(n) = spec.max_failed_indexes {
        if n > completions {
            errors.invalid(failed_at, n, "must be less than or equal to completions");
        }
        if n > MAX_FAILED_INDEXES {
            let detail = format!("must be less than or equal to {MAX_FAILED_INDEXES}");
            errors.invalid(failed_at, n, detail);
        }
    }
    if completions <= COMPLETIONS_SOFT_LIMIT || spec.backoff_limit_per_index.is_none() {
        return;
    }
    if spec.max_failed_indexes.is_none() {
        let detail =
            format!("must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}");
        errors.required(failed_at, detail);
    }
    for (field, value) in [
        ("parallelism", spec.parallelism),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ] {
        if let Some(n) = value.filter(|n| *n > HIGH_COMPLETIONS_LIMIT) {
            let detail = format!(
                "must be less than or equal to {HIGH_COMPLETIONS_LIMIT} when completions are above \
                 {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index"
            );
            errors.invalid(at.child(field), n, detail);
        }
    }
}

fn restart_policy(errors: &mut Errors, at: Path<'_>, spec: &JobSpec) {
    let pod = spec.template.spec.as_ref();
    match pod.map_or("", |pod| pod.restart_policy.given()) {
        "" | "Always" => errors.required(at, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(at, "OnFailure", detail);
        }
        policy => errors.one_of_if(at, Some(policy), &["OnFailure", "Never"]),
    }
}

/// What of a running Job must stay as it was.
fn update(errors: &mut Errors, new: &Value, old: &Value, spec: &JobSpec) {
    let part = |object: &Value, field: &str| {
        object
            .pointer(&format!("/spec/{field}"))
            .cloned()
            .unwrap_or_default()
    };
    let completions_at = SPEC.child("completions");
    let (completions, before) = (part(new, "completions"), part(old, "completions"));
    if !is_indexed(spec) {
        unchanged(errors, completions_at, &completions, &before);
    } else if !same(&completions, &before)
        && !completions.is_null()
        && spec.completions != spec.parallelism
    {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.invalid(completions_at, completions, detail);
    }
    unchanged(
        errors,
        SPEC.child("selector"),
        &part(new, "selector"),
        &part(old, "selector"),
    );
    template_unchanged(errors, new, old);
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        unchanged(
            errors,
            SPEC.child(field),
            &part(new, field),
            &part(old, field),
        );
    }
}

/// A Job that has not begun may still be told where its pods go.
fn template_unchanged(errors: &mut Errors, new: &Value, old: &Value) {
    let template = |object: &Value| {
        object
            .pointer("/spec/template")
            .cloned()
            .unwrap_or_default()
    };
    let (new_template, mut old_template) = (template(new), template(old));
    let suspended = old.pointer("/spec/suspend") == Some(&Value::Bool(true));
    if suspended && old.pointer("/status/startTime").is_none_or(Value::is_null) {
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            old_template["spec"][field] = new_template["spec"][field].clone();
        }
        for field in ["annotations", "labels"] {
            old_template["metadata"][field] = new_template["metadata"][field].clone();
        }
        let affinity = new_template["spec"]["affinity"]["nodeAffinity"].clone();
        if !affinity.is_null() || !old_template["spec"]["affinity"].is_null() {
            old_template["spec"]["affinity"]["nodeAffinity"] = affinity;
        }
    }
    unchanged(errors, SPEC.child("template"), &new_template, &old_template);
}

#[cfg(test)]
mod tests {
    use super::super::KIND;
    use super::*;
    use serde_json::json;

    fn job() -> Value {
        let mut job = json!({
            "metadata": {"name": "once", "namespace": "default", "uid": "u1"},
            "spec": {"suspend": true, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "a", "image": "busybox:1"}],
            }}},
        });
        KIND.default(&mut job);
        KIND.prepare_create(&mut job);
        job
    }

    fn texts(new: &Value, old: Option<&Value>) -> Vec<String> {
        validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn specs_are_checked() {
        for (field, value, expected) in [
            (
                "/template/spec/restartPolicy",
                json!("Always"),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \
                 \"Never\"",
            ),
            (
                "/completionMode",
                json!("Both"),
                "spec.completionMode: Unsupported value: \"Both\": \
                 supported values: \"NonIndexed\", \"Indexed\"",
            ),
            (
                "/template/metadata/labels/job-name",
                json!("other"),
                "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/\
                 controller-uid\":\"u1\",\"batch.kubernetes.io/job-name\":\"once\",\
                 \"controller-uid\":\"u1\",\"job-name\":\"other\"}: must be 'once'",
            ),
        ] {
            let mut job = job();
            *job.pointer_mut(&format!("/spec{field}")).unwrap() = value;
            assert_eq!(texts(&job, None)[0], expected);
        }
    }

    #[test]
    fn templates_change_only_before_the_start() {
        let old = job();
        let mut new = old.clone();
        new["spec"]["parallelism"] = json!(3);
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        assert_eq!(texts(&new, Some(&old)), [""; 0]);
        let mut started = old.clone();
        started["spec"]["suspend"] = json!(false);
        let errors = texts(&new, Some(&started));
        assert!(
            errors[0].starts_with("spec.template: Invalid value: "),
            "{errors:?}"
        );
        assert!(errors[0].ends_with(": field is immutable"));
    }
}
