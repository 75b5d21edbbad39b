//! CSIStorageCapacity (upstream `ValidateCSIStorageCapacity`).

use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use serde_json::Value;

use crate::deprecated_labels;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::{list, text, typed};
use crate::podspec::path::{Errors, Path};
use crate::podspec::resources::parse;
use crate::podspec::scaled::unchanged;
use crate::podspec::selectors;
use crate::table;

/// CSIStorageCapacity.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "csistoragecapacity",
    columns: &[
        Column::NAME,
        Column::text(
            "StorageClassName",
            "The name of the StorageClass that the reported capacity applies to.",
        ),
        Column::text(
            "Capacity",
            "The value reported by the CSI driver in its GetCapacityResponse.",
        ),
    ],
    unconditional_update: false,
    hooks: Hooks {
        validate,
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<CSIStorageCapacity>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let capacity: CSIStorageCapacity = typed(Some(new));
    selectors::validate(
        &mut errors,
        &Path::root("nodeTopology"),
        capacity.node_topology.as_ref(),
    );
    let class = capacity.storage_class_name.as_str();
    errors.invalid_each(
        Path::root("storageClassName"),
        class,
        names::dns1123_subdomain(class),
    );
    if let Some(amount) = capacity.capacity.as_ref().and_then(parse)
        && amount.sign() < 0
    {
        let detail = "must be greater than or equal to 0";
        errors.invalid(Path::root("capacity"), amount.to_string(), detail);
    }
    if let Some(old) = old {
        for field in ["nodeTopology", "storageClassName"] {
            unchanged(&mut errors, Path::root(field), &new[field], &old[field]);
        }
    }
    errors.0
}

fn warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    let expressions = list(new, "/nodeTopology/matchExpressions");
    let expressions = expressions
        .iter()
        .enumerate()
        .filter_map(|(i, expression)| {
            let path = format!("nodeTopology.matchExpressions[{i}].key");
            deprecated_labels::warning(&path, text(expression, "/key"))
        });
    let labels = new.pointer("/nodeTopology/matchLabels");
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, _)| {
        deprecated_labels::warning(&format!("nodeTopology.matchLabels.{key}"), key)
    });
    expressions.chain(labels).collect()
}

fn row(capacity: &Value, _: u64) -> Vec<Value> {
    vec![
        table::name(capacity),
        text(capacity, "/storageClassName").into(),
        table::text(capacity, "/capacity", "<unset>"),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let capacity = json!({
            "storageClassName": "fast", "capacity": "10Gi",
            "nodeTopology": {"matchLabels": {"beta.kubernetes.io/os": "linux"}},
        });
        check_creates(
            &KIND,
            &capacity,
            &[
                (
                    "/capacity",
                    json!("-1"),
                    "capacity: Invalid value: \"-1\": must be greater than or equal to 0",
                ),
                (
                    "/nodeTopology/matchExpressions",
                    json!([{"key": "a", "operator": "In"}]),
                    "nodeTopology.matchExpressions[0].values: Required value: must be specified when `operator` is \
                     'In' or 'NotIn'",
                ),
            ],
        );
        check_updates(
            &KIND,
            &capacity,
            &[
                ("/capacity", json!("1Gi"), ""),
                (
                    "/storageClassName",
                    json!("slow"),
                    "storageClassName: Invalid value: \"slow\": field is immutable",
                ),
                (
                    "/nodeTopology",
                    json!({}),
                    "nodeTopology: Invalid value: {}: field is immutable",
                ),
            ],
        );
        let capacity = created(&KIND, &capacity);
        assert_eq!(row(&capacity, 0)[1..], ["fast", "10Gi"]);
        assert_eq!(
            warnings(&capacity, None),
            [
                "nodeTopology.matchLabels.beta.kubernetes.io/os: deprecated since v1.14; use \"kubernetes.io/os\" \
                 instead"
            ]
        );
    }
}
