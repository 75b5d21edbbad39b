//! VolumeAttributesClass (upstream `ValidateVolumeAttributesClass`).

use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde_json::Value;

use super::storage_class::{driver, fixed, name_cell, parameters};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::podspec::json::{text, typed};
use crate::podspec::path::{Errors, Path};
use crate::table;

const DEFAULT_ANNOTATION: &str = "volumeattributesclass.alpha.kubernetes.io/is-default-class";

/// VolumeAttributesClass.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "volumeattributesclass",
    short_names: &["vac"],
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "DriverName",
            "Name of the CSI driver This field is immutable.",
        ),
        Column::AGE,
    ],
    hooks: Hooks {
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<VolumeAttributesClass>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let class: VolumeAttributesClass = typed(Some(new));
    if let Some(old) = old {
        for field in ["driverName", "parameters"] {
            fixed(&mut errors, field, new, old);
        }
    }
    driver(&mut errors, Path::root("driverName"), &class.driver_name);
    parameters(&mut errors, class.parameters.as_ref(), false);
    errors.0
}

fn row(class: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        name_cell(class, &[DEFAULT_ANNOTATION]),
        text(class, "/driverName").into(),
        table::age(class, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let class = json!({"driverName": "csi.example.com", "parameters": {"iops": "3000"}});
        check_creates(
            &KIND,
            &class,
            &[
                ("/driverName", json!(""), "driverName: Required value"),
                (
                    "/parameters",
                    Value::Null,
                    "parameters: Required value: must contain at least one key/value pair",
                ),
            ],
        );
        check_updates(
            &KIND,
            &class,
            &[
                (
                    "/driverName",
                    json!("other"),
                    "driverName: Forbidden: updates to driverName are forbidden.",
                ),
                (
                    "/parameters/iops",
                    json!("1"),
                    "parameters: Forbidden: updates to parameters are forbidden.",
                ),
            ],
        );
        assert_eq!(
            row(&created(&KIND, &class), 0)[..2],
            ["x", "csi.example.com"]
        );
    }
}
