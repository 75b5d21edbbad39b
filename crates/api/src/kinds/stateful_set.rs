//! StatefulSet: defaults, rules and columns (upstream `pkg/apis/apps`).

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::persistent_volume_claim as claim;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::names;
use crate::podspec::json::{child, each, ensure, int, into_object, or, or_pointer, same, typed};
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::{self, SPEC, always_running, at_most_all, int_or_percent, is_zero};
use crate::podspec::{defaults, print, selectors, validate as podspec, warnings};
use crate::table;

/// StatefulSet.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[Subresource::Scale, Subresource::Status],
    columns: COLUMNS,
    name_rule: names::label,
    counts_generation: true,
    hooks: Hooks {
        default,
        validate,
        validate_status,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<StatefulSet>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Number of the pod with ready state"),
    Column::AGE,
    print::CONTAINERS,
    print::IMAGES,
];

/// What of a spec may change.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn default(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    or(spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure(spec, "updateStrategy");
    if strategy.get("type").is_none_or(|kind| kind == "") {
        strategy.insert("type".to_owned(), "RollingUpdate".into());
        ensure(strategy, "rollingUpdate");
    }
    if strategy["type"] == "RollingUpdate"
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        or_pointer(rolling, "partition", 0);
        or_pointer(rolling, "maxUnavailable", 1);
    }
    let retention = ensure(spec, "persistentVolumeClaimRetentionPolicy");
    or(retention, "whenDeleted", "Retain");
    or(retention, "whenScaled", "Retain");
    or_pointer(spec, "replicas", 1);
    or_pointer(spec, "revisionHistoryLimit", 10);
    for template in each(spec, "volumeClaimTemplates") {
        or(template, "apiVersion", "v1");
        or(template, "kind", "PersistentVolumeClaim");
        claim::fill_in(template);
    }
    defaults::template_of(object);
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: StatefulSetSpec = typed(new.get("spec"));
    let was: Option<StatefulSetSpec> = old.map(|old| typed(old.get("spec")));
    if was.is_none() && !spec.service_name.given().is_empty() {
        let name = spec.service_name.given();
        let messages = names::dns1123_label(name);
        errors.invalid_each(SPEC.child("serviceName"), name, messages);
    }
    own_spec(&mut errors, &spec);
    // A template that was taken before it was looked at may stay as it is.
    let was_broken = was.as_ref().is_some_and(|was| {
        let mut errors = Errors::default();
        own_spec(&mut errors, was);
        template(&mut errors, was);
        !errors.0.is_empty()
    });
    if !was_broken {
        template(&mut errors, &spec);
    }
    if let Some(old) = old {
        immutable(&mut errors, new, old);
    }
    errors.0
}

/// All of a spec but what is within the pod template.
fn own_spec(errors: &mut Errors, spec: &StatefulSetSpec) {
    let at = SPEC.child("podManagementPolicy");
    match spec.pod_management_policy.given() {
        "" => errors.required(at, ""),
        "OrderedReady" | "Parallel" => {}
        policy => errors.invalid(at, policy, "must be 'OrderedReady' or 'Parallel'"),
    }
    update_strategy(errors, spec);
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        let at = SPEC.child("persistentVolumeClaimRetentionPolicy");
        for (field, value) in [
            ("whenDeleted", policy.when_deleted.given()),
            ("whenScaled", policy.when_scaled.given()),
        ] {
            errors.one_of_if(at.child(field), Some(value), &["Delete", "Retain"]);
        }
    }
    errors.nonnegative_if(SPEC.child("replicas"), spec.replicas);
    errors.nonnegative_if(SPEC.child("minReadySeconds"), spec.min_ready_seconds);
    if let Some(ordinals) = &spec.ordinals {
        errors.nonnegative_if(SPEC.child("ordinals.start"), ordinals.start);
    }
    selectors::validate(errors, &SPEC.child("selector"), Some(&spec.selector));
    if selectors::is_empty(&spec.selector) {
        let detail = "empty selector is invalid for statefulset";
        errors.invalid(SPEC.child("selector"), to_value(&spec.selector), detail);
    } else {
        scaled::template_matches(
            errors,
            &SPEC.child("template"),
            &spec.template,
            Some(&spec.selector),
        );
    }
}

fn update_strategy(errors: &mut Errors, spec: &StatefulSetSpec) {
    let at = SPEC.child("updateStrategy");
    let rolling_at = at.child("rollingUpdate");
    let none = Default::default();
    let strategy = spec.update_strategy.as_ref().unwrap_or(&none);
    match (strategy.type_.given(), &strategy.rolling_update) {
        ("", _) => errors.required(at, ""),
        ("OnDelete", None) | ("RollingUpdate", None) => {}
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.invalid(rolling_at, to_value(rolling), detail);
        }
        ("RollingUpdate", Some(rolling)) => {
            errors.nonnegative_if(rolling_at.child("partition"), rolling.partition);
            if let Some(unavailable) = &rolling.max_unavailable {
                let at = rolling_at.child("maxUnavailable");
                int_or_percent(errors, at, unavailable);
                if is_zero(unavailable) && *unavailable != IntOrString::String(String::new()) {
                    errors.invalid(at, to_value(unavailable), "cannot be 0");
                }
                at_most_all(errors, at, unavailable);
            }
        }
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.invalid(at, to_value(strategy), detail);
        }
    }
}

/// The pods mount their claims as if they were volumes of the template.
fn template(errors: &mut Errors, spec: &StatefulSetSpec) {
    let at = SPEC.child("template");
    let mut with_claims: PodTemplateSpec = spec.template.clone();
    if let Some(pod) = &mut with_claims.spec {
        let volumes = pod.volumes.get_or_insert_default();
        for claim in spec.volume_claim_templates.given() {
            let name = claim.metadata.name.given();
            // Claims take the place of volumes of the same name.
            volumes.retain(|volume| volume.name != name);
            volumes.push(Volume {
                name: name.to_owned(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            });
        }
    }
    podspec::template(errors, &at, &with_claims);
    always_running(errors, &at, &spec.template, "StatefulSet");
}

fn immutable(errors: &mut Errors, new: &Value, old: &Value) {
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        for field in MUTABLE {
            into_object(&mut spec).remove(*field);
        }
        spec
    };
    if !same(&fixed(new), &fixed(old)) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                      'template', 'updateStrategy', 'revisionHistoryLimit', \
                      'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.forbidden(SPEC, detail);
    }
}

fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::root("status");
    let count = |field: &str| int(new, &format!("/status/{field}"));
    for field in [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ] {
        errors.nonnegative(at.child(field), count(field));
    }
    for (field, most) in [
        ("readyReplicas", "replicas"),
        ("currentReplicas", "replicas"),
        ("updatedReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ] {
        if count(field) > count(most) {
            let detail = format!("cannot be greater than status.{most}");
            errors.invalid(at.child(field), count(field), detail);
        }
    }
    scaled::collisions_only_grow(&mut errors, new, old);
    errors.0
}

fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut said = warnings::template(new, old, "spec.template");
    let spec: StatefulSetSpec = typed(new.get("spec"));
    for (i, template) in spec.volume_claim_templates.given().iter().enumerate() {
        let at = format!("spec.volumeClaimTemplates[{i}].spec");
        said.extend(warnings::fractional_storage(&at, template.spec.as_ref()));
    }
    if spec.revision_history_limit.is_some_and(|limit| limit < 0) {
        let warning = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a \
                       value >= 0 is recommended";
        said.push(warning.to_owned());
    }
    said
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let [names, images] = print::container_cells(object, "/spec/template");
    let ready = format!(
        "{}/{}",
        int(object, "/status/readyReplicas"),
        int(object, "/spec/replicas")
    );
    vec![
        table::name(object),
        ready.into(),
        table::age(object, now_unix_ms),
        names,
        images,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web() -> Value {
        let mut object = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "serviceName": "web",
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "nginx:1", "volumeMounts": [
                        {"name": "data", "mountPath": "/data"},
                    ]}]},
                },
                "volumeClaimTemplates": [{
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }],
            },
        });
        default(&mut object);
        object
    }

    fn texts(new: &Value, old: Option<&Value>) -> Vec<String> {
        validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_upstreams() {
        let object = web();
        let spec = &object["spec"];
        for (field, value) in [
            ("replicas", json!(1)),
            ("revisionHistoryLimit", json!(10)),
            ("podManagementPolicy", json!("OrderedReady")),
            (
                "updateStrategy",
                json!({"type": "RollingUpdate", "rollingUpdate": {
                    "partition": 0, "maxUnavailable": 1,
                }}),
            ),
            (
                "persistentVolumeClaimRetentionPolicy",
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
            ),
        ] {
            assert_eq!(spec[field], value, "{field}");
        }
        let claim = &spec["volumeClaimTemplates"][0];
        assert_eq!(claim["kind"], "PersistentVolumeClaim");
        assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
        assert_eq!(claim["status"]["phase"], "Pending");
        assert_eq!(texts(&object, None), [""; 0]);
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (pointer, value, expected) in [
            (
                "/podManagementPolicy",
                json!("Chaotic"),
                "spec.podManagementPolicy: Invalid value: \"Chaotic\": must be 'OrderedReady' or \
                 'Parallel'",
            ),
            (
                "/updateStrategy/type",
                json!("OnDelete"),
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"maxUnavailable\":1,\
                 \"partition\":0}: only allowed for updateStrategy 'RollingUpdate'",
            ),
            (
                "/updateStrategy/type",
                json!("Odd"),
                "spec.updateStrategy: Invalid value: {\"rollingUpdate\":{\"maxUnavailable\":1,\
                 \"partition\":0},\"type\":\"Odd\"}: must be 'RollingUpdate' or 'OnDelete'",
            ),
            (
                "/updateStrategy/rollingUpdate/maxUnavailable",
                json!("0%"),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": cannot be 0",
            ),
            (
                "/updateStrategy/rollingUpdate/partition",
                json!(-1),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater \
                 than or equal to 0",
            ),
            (
                "/persistentVolumeClaimRetentionPolicy/whenScaled",
                json!("Keep"),
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": \
                 supported values: \"Delete\", \"Retain\"",
            ),
            (
                "/selector",
                json!({}),
                "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
            ),
            (
                "/selector/matchLabels/app",
                json!("x"),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does \
                 not match template `labels`",
            ),
            (
                "/volumeClaimTemplates",
                json!([]),
                "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
            ),
            (
                "/template/spec/restartPolicy",
                json!("Never"),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \
                 \"Always\"",
            ),
        ] {
            let mut object = web();
            *object.pointer_mut(&format!("/spec{pointer}")).unwrap() = value;
            assert_eq!(texts(&object, None)[0], expected);
        }
    }

    #[test]
    fn only_some_fields_change() {
        let old = web();
        let mut new = web();
        new["spec"]["replicas"] = json!(3);
        new["spec"]["minReadySeconds"] = json!(3);
        new["spec"]["ordinals"] = json!({"start": 2});
        assert_eq!(texts(&new, Some(&old)), [""; 0]);
        new["spec"]["serviceName"] = json!("other");
        assert_eq!(
            texts(&new, Some(&old)),
            [
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', \
              'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
              'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            ]
        );
    }

    #[test]
    fn statuses_agree_with_themselves() {
        let old = json!({"status": {"collisionCount": 2}});
        let new = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 2,
            "currentReplicas": -1, "collisionCount": 1}});
        let errors: Vec<String> = validate_status(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 2: cannot be greater than \
                 status.readyReplicas",
                "status.collisionCount: Invalid value: 1: cannot be decremented",
            ]
        );
    }

    #[test]
    fn rows_tell_readiness() {
        let mut object = web();
        object["status"] = json!({"readyReplicas": 1});
        let cells = row(&object, 0);
        assert_eq!(cells[1], "1/1");
        assert_eq!(cells[3..], [json!("web"), json!("nginx:1")]);
    }
}
