//! Deployment: defaults, rules and columns (upstream `pkg/apis/apps`).

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, StatusMetadata, metadata_mut};
use crate::podspec::json::{ensure, int, into_object, or, or_pointer, typed};
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::{self, SPEC, at_most_all, int_or_percent, is_zero};
use crate::podspec::{defaults, print, selectors, warnings};
use crate::table;

/// Deployment.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[Subresource::Scale, Subresource::Status],
    status_metadata: StatusMetadata::SentBut(&["labels"]),
    columns: COLUMNS,
    counts_generation: true,
    status_resets: &[&["spec"], &["metadata", "labels"]],
    hooks: Hooks {
        default,
        prepare_update,
        validate,
        validate_status,
        warnings: |new, old| warnings::template(new, old, "spec.template"),
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<Deployment>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Number of the pod with ready state"),
    Column::text("Up-to-date", "Number of pods of the current template."),
    Column::text(
        "Available",
        "Number of pods that have been ready for minReadySeconds.",
    ),
    Column::AGE,
    print::CONTAINERS,
    print::IMAGES,
    Column::text("Selector", "Label selector for pods.").wide(),
];

fn default(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    or_pointer(spec, "replicas", 1);
    or_pointer(spec, "revisionHistoryLimit", 10);
    or_pointer(spec, "progressDeadlineSeconds", 600);
    let strategy = ensure(spec, "strategy");
    or(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        or_pointer(rolling, "maxUnavailable", "25%");
        or_pointer(rolling, "maxSurge", "25%");
    }
    defaults::template_of(object);
}

/// A change of annotations counts as one of the spec: they hold the rollout's parameters.
fn prepare_update(new: &mut Value, old: &Value) {
    let annotations = |object: &Value| {
        let mut pairs: Vec<(String, String)> = (Meta::of(object).annotations())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        pairs.sort_unstable();
        pairs
    };
    if annotations(new) != annotations(old) {
        let generation = Meta::of(old).generation() + 1;
        metadata_mut(new).insert("generation".to_owned(), generation.into());
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: DeploymentSpec = typed(new.get("spec"));
    errors.nonnegative_if(SPEC.child("replicas"), spec.replicas);
    let selector = scaled::selector(&mut errors, new);
    scaled::template(&mut errors, Some(&spec.template), selector.as_ref());
    strategy(&mut errors, &SPEC.child("strategy"), &spec);
    errors.nonnegative_if(SPEC.child("minReadySeconds"), spec.min_ready_seconds);
    errors.nonnegative_if(
        SPEC.child("revisionHistoryLimit"),
        spec.revision_history_limit,
    );
    if let Some(seconds) = spec.progress_deadline_seconds {
        let at = SPEC.child("progressDeadlineSeconds");
        errors.nonnegative(at, seconds);
        if seconds <= spec.min_ready_seconds.unwrap_or_default() {
            errors.invalid(at, seconds, "must be greater than minReadySeconds");
        }
    }
    if let Some(old) = old {
        scaled::selector_unchanged(&mut errors, new, old);
    }
    errors.0
}

fn strategy(errors: &mut Errors, at: &Path<'_>, spec: &DeploymentSpec) {
    let Some(strategy) = &spec.strategy else {
        return;
    };
    let rolling_at = at.child("rollingUpdate");
    match (strategy.type_.given(), &strategy.rolling_update) {
        ("Recreate", None) => {}
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(rolling_at, detail);
        }
        ("RollingUpdate", None) => {
            errors.required(rolling_at, "this should be defaulted and never be nil");
        }
        ("RollingUpdate", Some(rolling)) => {
            let zero = IntOrString::Int(0);
            let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
            let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
            let unavailable_at = rolling_at.child("maxUnavailable");
            int_or_percent(errors, unavailable_at, unavailable);
            int_or_percent(errors, rolling_at.child("maxSurge"), surge);
            if is_zero(unavailable) && is_zero(surge) {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.invalid(unavailable_at, to_value(unavailable), detail);
            }
            at_most_all(errors, unavailable_at, unavailable);
        }
        (kind, _) => {
            errors.not_supported(at.child("type"), kind, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    scaled::counts(
        &mut errors,
        new,
        &["updatedReplicas", "readyReplicas", "availableReplicas"],
        &[
            "unavailableReplicas",
            "observedGeneration",
            "terminatingReplicas",
            "collisionCount",
        ],
    );
    scaled::collisions_only_grow(&mut errors, new, old);
    errors.0
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let count = |pointer: &str| int(object, pointer);
    let [names, images] = print::container_cells(object, "/spec/template");
    vec![
        table::name(object),
        format!(
            "{}/{}",
            count("/status/readyReplicas"),
            count("/spec/replicas")
        )
        .into(),
        count("/status/updatedReplicas").into(),
        count("/status/availableReplicas").into(),
        table::age(object, now_unix_ms),
        names,
        images,
        selectors::cell_at(object, "/spec/selector").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web() -> Value {
        let mut object = json!({
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "nginx"}]},
                },
            },
        });
        default(&mut object);
        object
    }

    #[test]
    fn defaults_are_upstreams() {
        let object = web();
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(
            object["spec"]["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {
                "maxUnavailable": "25%", "maxSurge": "25%",
            }})
        );
        assert_eq!(object["spec"]["progressDeadlineSeconds"], 600);
        assert_eq!(
            object["spec"]["template"]["spec"]["restartPolicy"],
            "Always"
        );
        assert!(validate(&object, None).is_empty());
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let labels = "`selector` does not match template `labels`";
        for (pointer, value, expected) in [
            (
                "/replicas",
                json!(-1),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            ("/selector", json!(null), "spec.selector: Required value"),
            (
                "/selector/matchLabels/app",
                json!("x"),
                &format!(
                    "spec.template.metadata.labels: Invalid value: {{\"app\":\"web\"}}: {labels}"
                ),
            ),
            (
                "/template/spec/restartPolicy",
                json!("Never"),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \
                 \"Always\"",
            ),
            (
                "/strategy/rollingUpdate/maxUnavailable",
                json!("101%"),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be \
                 greater than 100%",
            ),
            (
                "/strategy/type",
                json!("Recreate"),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` \
                 is 'Recreate'",
            ),
            (
                "/progressDeadlineSeconds",
                json!(0),
                "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
            ),
            (
                "/template/spec/containers",
                json!([]),
                "spec.template.spec.containers: Required value",
            ),
        ] {
            let mut object = web();
            *object.pointer_mut(&format!("/spec{pointer}")).unwrap() = value;
            let errors: Vec<String> = validate(&object, None)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(errors[0], expected);
        }
    }

    #[test]
    fn the_selector_is_immutable_and_annotations_count_as_generations() {
        let old = web();
        let mut new = web();
        new["spec"]["selector"]["matchLabels"]["x"] = json!("y");
        new["spec"]["template"]["metadata"]["labels"]["x"] = json!("y");
        let errors = validate(&new, Some(&old));
        assert_eq!(
            errors[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"x\":\"y\"}}: field is \
             immutable"
        );
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({"a": "b"});
        KIND.prepare_update(&mut new, &old);
        assert_eq!(new["metadata"]["generation"], 1);
    }
}
