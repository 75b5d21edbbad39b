//! StorageClass (upstream `ValidateStorageClass`), and the rules of parameters that VolumeAttributesClass shares.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::Value;

use crate::admission::Objects;
use crate::deprecated_labels;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{Meta, names};
use crate::podspec::json::{into_object, list, or_pointer, same, text, typed};
use crate::podspec::names::label_name;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::unchanged;
use crate::table;

const RESOURCE: &str = "storageclasses.storage.k8s.io";
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETERS_BYTES: usize = 256 << 10;
const DEFAULT_ANNOTATIONS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// StorageClass.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "storageclass",
    short_names: &["sc"],
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "Provisioner",
            "provisioner indicates the type of the provisioner.",
        ),
        Column::text(
            "ReclaimPolicy",
            "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage \
             class. Defaults to Delete.",
        ),
        Column::text(
            "VolumeBindingMode",
            "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.",
        ),
        Column::text(
            "AllowVolumeExpansion",
            "allowVolumeExpansion shows whether the storage class allow volume expand.",
        ),
        Column::AGE,
    ],
    hooks: Hooks {
        default,
        validate,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<StorageClass>()
});

/// The class of claims that name none: of several the newest, and of those the first by name.
pub(super) fn default_class(objects: &dyn Objects) -> Option<Arc<Value>> {
    let is_default = |class: &Arc<Value>| {
        let mut annotations = Meta::of(class).annotations();
        annotations.any(|(key, value)| DEFAULT_ANNOTATIONS.contains(&key) && value == "true")
    };
    let age = |class: &Arc<Value>| {
        let meta = Meta::of(class);
        let created = crate::time::parse(meta.creation_timestamp()).unwrap_or_default();
        (Reverse(created), meta.name().to_owned())
    };
    let classes = objects.list(RESOURCE).into_iter();
    classes.filter(is_default).min_by_key(age)
}

fn default(class: &mut Value) {
    let fields = into_object(class);
    or_pointer(fields, "reclaimPolicy", "Delete");
    or_pointer(fields, "volumeBindingMode", "Immediate");
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let class: StorageClass = typed(Some(new));
    driver(&mut errors, Path::root("provisioner"), &class.provisioner);
    parameters(&mut errors, class.parameters.as_ref(), true);
    let policy = class.reclaim_policy.given();
    if !policy.is_empty() {
        let at = Path::root("reclaimPolicy");
        errors.one_of_if(at, Some(policy), &["Delete", "Retain"]);
    }
    errors.one_of_if(
        Path::root("volumeBindingMode"),
        class.volume_binding_mode.as_deref(),
        &["Immediate", "WaitForFirstConsumer"],
    );
    topologies(&mut errors, class.allowed_topologies.given());
    if let Some(old) = old {
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            fixed(&mut errors, field, new, old);
        }
        unchanged(
            &mut errors,
            Path::root("volumeBindingMode"),
            &new["volumeBindingMode"],
            &old["volumeBindingMode"],
        );
    }
    errors.0
}

/// A field that no update may change.
pub(super) fn fixed(errors: &mut Errors, field: &str, new: &Value, old: &Value) {
    if !same(&new[field], &old[field]) {
        errors.forbidden(
            Path::root(field),
            format!("updates to {field} are forbidden."),
        );
    }
}

/// The name of a provisioner or driver.
pub(super) fn driver(errors: &mut Errors, at: Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let name = name.to_lowercase();
    errors.invalid_each(at, &name, names::qualified_name(&name));
}

/// Parameters for a driver.
pub(super) fn parameters(
    errors: &mut Errors,
    parameters: Option<&BTreeMap<String, String>>,
    may_be_empty: bool,
) {
    let at = Path::root("parameters");
    let none = BTreeMap::new();
    let parameters = parameters.unwrap_or(&none);
    if parameters.len() > MAX_PARAMETERS {
        return errors.too_long(at, MAX_PARAMETERS);
    }
    if parameters.contains_key("") {
        errors.invalid(at, "", "field can not be empty.");
    }
    let size = |(key, value): (&String, &String)| key.len() + value.len();
    if parameters.iter().map(size).sum::<usize>() > MAX_PARAMETERS_BYTES {
        errors.too_long(at, MAX_PARAMETERS_BYTES);
    }
    if parameters.is_empty() && !may_be_empty {
        errors.required(at, "must contain at least one key/value pair");
    }
}

fn topologies(errors: &mut Errors, topologies: &[TopologySelectorTerm]) {
    let list = Path::root("allowedTopologies");
    // A term without requirements is taken for a duplicate, as upstream does.
    let mut seen = vec![BTreeMap::new()];
    for (i, term) in topologies.iter().enumerate() {
        let at = list.index(i);
        let expressions_at = at.child("matchLabelExpressions");
        let mut term_values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (i, requirement) in term.match_label_expressions.given().iter().enumerate() {
            let at = expressions_at.index(i);
            let values_at = at.child("values");
            if requirement.values.is_empty() {
                errors.required(values_at, "");
            }
            let mut values = BTreeSet::new();
            for (i, value) in requirement.values.iter().enumerate() {
                if !values.insert(value.as_str()) {
                    errors.duplicate(values_at.index(i), value.as_str());
                }
            }
            label_name(errors, at.child("key"), &requirement.key);
            if term_values.insert(&requirement.key, values).is_some() {
                errors.duplicate(at.child("key"), requirement.key.as_str());
            }
        }
        if seen.contains(&term_values) {
            errors.duplicate(expressions_at, "");
        }
        seen.push(term_values);
    }
}

fn warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    let terms = list(new, "/allowedTopologies").iter().enumerate();
    terms
        .flat_map(|(i, term)| {
            let expressions = list(term, "/matchLabelExpressions").iter().enumerate();
            expressions.filter_map(move |(j, expression)| {
                let path = format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key");
                deprecated_labels::warning(&path, text(expression, "/key"))
            })
        })
        .collect()
}

/// The name cell of a class that may be the default one.
pub(super) fn name_cell(class: &Value, annotations: &[&str]) -> Value {
    let meta = Meta::of(class);
    let is_default = |key: &&str| meta.annotation(key) == Some("true");
    match annotations.iter().any(is_default) {
        true => format!("{} (default)", meta.name()).into(),
        false => meta.name().into(),
    }
}

fn row(class: &Value, now_unix_ms: u64) -> Vec<Value> {
    let expands = class["allowVolumeExpansion"].as_bool().unwrap_or_default();
    vec![
        name_cell(class, &DEFAULT_ANNOTATIONS),
        text(class, "/provisioner").into(),
        table::text(class, "/reclaimPolicy", "Delete"),
        table::text(class, "/volumeBindingMode", "Immediate"),
        expands.into(),
        table::age(class, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_newest_default_class_is_the_default() {
        let class = |name: &str, created: &str, default: &str| {
            json!({"metadata": {"name": name, "creationTimestamp": created,
                "annotations": {DEFAULT_ANNOTATIONS[0]: default}}})
        };
        let given = crate::admission::testing::Given::new(vec![(
            RESOURCE,
            vec![
                class("old", "2026-01-01T00:00:00Z", "true"),
                class("z", "2026-02-01T00:00:00Z", "true"),
                class("b", "2026-02-01T00:00:00Z", "true"),
                class("a", "2026-03-01T00:00:00Z", "false"),
            ],
        )]);
        let default = default_class(&given).unwrap();
        assert_eq!(default["metadata"]["name"], "b");
        for (claim, expected) in [
            (json!({"spec": {}}), json!("b")),
            (json!({"spec": {"storageClassName": ""}}), json!("")),
            (
                json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}}, "spec": {}}),
                Value::Null,
            ),
        ] {
            let mut claim = claim;
            let kind = &crate::kinds::persistent_volume_claim::KIND;
            kind.admit(&mut claim, None, &given.admission()).unwrap();
            assert_eq!(claim["spec"]["storageClassName"], expected);
        }
    }

    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    fn class() -> Value {
        json!({"provisioner": "csi.example.com", "parameters": {"type": "ssd"}})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let term = |key: &str, values: Value| json!([{"matchLabelExpressions": [{"key": key, "values": values}]}]);
        check_creates(
            &KIND,
            &class(),
            &[
                ("/provisioner", json!(""), "provisioner: Required value"),
                (
                    "/provisioner",
                    json!("a/b/c"),
                    "provisioner: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric \
                     characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
                     'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
                     'example.com/MyName')",
                ),
                (
                    "/parameters",
                    json!({"": "x"}),
                    "parameters: Invalid value: \"\": field can not be empty.",
                ),
                (
                    "/parameters",
                    json!({"x": "y".repeat(MAX_PARAMETERS_BYTES)}),
                    "parameters: Too long: may not be more than 262144 bytes",
                ),
                (
                    "/reclaimPolicy",
                    json!("Recycle"),
                    "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
                ),
                (
                    "/volumeBindingMode",
                    json!("Later"),
                    "volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \
                     \"WaitForFirstConsumer\"",
                ),
                (
                    "/allowedTopologies",
                    term("zone", json!([])),
                    "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
                ),
                (
                    "/allowedTopologies",
                    term("zone", json!(["a", "a"])),
                    "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
                ),
                (
                    "/allowedTopologies",
                    json!([{}]),
                    "allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\"",
                ),
            ],
        );
        check_updates(
            &KIND,
            &class(),
            &[
                (
                    "/parameters/type",
                    json!("hdd"),
                    "parameters: Forbidden: updates to parameters are forbidden.",
                ),
                (
                    "/provisioner",
                    json!("other"),
                    "provisioner: Forbidden: updates to provisioner are forbidden.",
                ),
                (
                    "/reclaimPolicy",
                    json!("Retain"),
                    "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
                ),
                (
                    "/volumeBindingMode",
                    json!("WaitForFirstConsumer"),
                    "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
                ),
                ("/allowVolumeExpansion", json!(true), ""),
            ],
        );
    }

    #[test]
    fn rows_and_warnings_are_upstreams() {
        let mut class = created(&KIND, &class());
        class["metadata"]["annotations"] = json!({DEFAULT_ANNOTATIONS[0]: "true"});
        assert_eq!(
            row(&class, 0)[..5],
            [
                json!("x (default)"),
                json!("csi.example.com"),
                json!("Delete"),
                json!("Immediate"),
                json!(false)
            ]
        );
        class["allowedTopologies"] = json!([{"matchLabelExpressions": [
            {"key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"]},
        ]}]);
        assert_eq!(
            warnings(&class, None),
            [
                "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use \
                 \"topology.kubernetes.io/zone\" instead"
            ]
        );
    }
}
