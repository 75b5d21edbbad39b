//! CSINode (upstream `ValidateCSINode`).

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver, CSINodeSpec};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::podspec::json::typed;
use crate::podspec::names::{csi_driver, label_name};
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::table;

const MAX_ID_BYTES: usize = 192;
/// For ids that were longer already.
const MAX_OLD_ID_BYTES: usize = 256;

/// CSINode.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "csinode",
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::typed(
            "Drivers",
            "integer",
            "Drivers indicates the number of CSI drivers registered on the node",
        ),
        Column::AGE,
    ],
    unconditional_update: false,
    hooks: Hooks {
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<CSINode>()
});

fn drivers(node: &Value) -> Vec<CSINodeDriver> {
    typed::<CSINodeSpec>(node.get("spec")).drivers
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (new, old) = (drivers(new), old.map(drivers).unwrap_or_default());
    let is_long = |driver: &CSINodeDriver| driver.node_id.len() > MAX_ID_BYTES;
    let max_id = match old.iter().any(is_long) {
        true => MAX_OLD_ID_BYTES,
        false => MAX_ID_BYTES,
    };
    let list = SPEC.child("drivers");
    let mut names = BTreeSet::new();
    for (i, driver) in new.iter().enumerate() {
        validate_driver(&mut errors, &list.index(i), driver, max_id);
        if !names.insert(driver.name.as_str()) {
            let at = list.index(i);
            errors.duplicate(at.child("name"), driver.name.as_str());
        }
    }
    for old in old {
        for new in new.iter().filter(|new| new.name == old.name) {
            // How many volumes fit may change at any time.
            let without = |driver: &CSINodeDriver| CSINodeDriver {
                allocatable: None,
                ..driver.clone()
            };
            errors.immutable(list, &without(new), &without(&old));
        }
    }
    errors.0
}

fn validate_driver(errors: &mut Errors, at: &Path<'_>, driver: &CSINodeDriver, max_id: usize) {
    csi_driver(errors, at.child("name"), &driver.name);
    let id_at = at.child("nodeID");
    if driver.node_id.is_empty() {
        errors.required(id_at, "");
    } else if driver.node_id.len() > max_id {
        let detail = format!("must be {max_id} characters or less");
        errors.invalid(id_at, driver.node_id.as_str(), detail);
    }
    let count = driver.allocatable.as_ref().and_then(|all| all.count);
    errors.nonnegative_if(at.child("allocatable.count"), count);
    let mut keys = BTreeSet::new();
    for key in driver.topology_keys.given() {
        if key.is_empty() {
            errors.required(*at, "");
        }
        if !keys.insert(key) {
            errors.duplicate(*at, key.as_str());
        }
        label_name(errors, *at, key);
    }
}

fn row(node: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(node),
        table::count(node, "/spec/drivers").into(),
        table::age(node, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let node = json!({"spec": {"drivers": [
            {"name": "csi.example.com", "nodeID": "n1", "topologyKeys": ["example.com/zone"]},
        ]}});
        check_creates(
            &KIND,
            &node,
            &[
                (
                    "/spec/drivers/0/name",
                    json!(""),
                    "spec.drivers[0].name: Required value",
                ),
                (
                    "/spec/drivers/0/nodeID",
                    json!(""),
                    "spec.drivers[0].nodeID: Required value",
                ),
                (
                    "/spec/drivers/0/nodeID",
                    json!("n".repeat(193)),
                    &format!(
                        "spec.drivers[0].nodeID: Invalid value: \"{}\": must be 192 characters or less",
                        "n".repeat(193)
                    ),
                ),
                (
                    "/spec/drivers/0/allocatable",
                    json!({"count": -1}),
                    "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                ),
                (
                    "/spec/drivers/0/topologyKeys",
                    json!(["a", "a"]),
                    "spec.drivers[0]: Duplicate value: \"a\"",
                ),
            ],
        );
        check_updates(
            &KIND,
            &node,
            &[
                ("/spec/drivers/0/allocatable", json!({"count": 3}), ""),
                (
                    "/spec/drivers/0/nodeID",
                    json!("n2"),
                    "spec.drivers: Invalid value: {\"name\":\"csi.example.com\",\"nodeID\":\"n2\",\
                     \"topologyKeys\":[\"example.com/zone\"]}: field is immutable",
                ),
            ],
        );
        assert_eq!(row(&created(&KIND, &node), 0)[1], 1);
    }
}
