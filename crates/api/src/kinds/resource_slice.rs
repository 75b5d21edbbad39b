//! ResourceSlice (upstream `ValidateResourceSlice`).

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{ResourceSlice, ResourceSliceSpec};
use serde_json::Value;

use crate::devicespec::device;
use crate::devicespec::names::{bounded, pool};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::{child, each, into_object, text, typed};
use crate::podspec::names::csi_driver;
use crate::podspec::path::{Errors, Given, to_value};
use crate::podspec::placement;
use crate::podspec::scaled::SPEC;
use crate::table;

const MAX_DEVICES: usize = 128;

/// ResourceSlice.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "resourceslice",
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "Node",
            "NodeName identifies the node which provides the resources in this pool.",
        ),
        Column::text(
            "Driver",
            "Driver identifies the DRA driver providing the capacity information.",
        ),
        Column::text("Pool", "Name is used to identify the pool."),
        Column::AGE,
    ],
    selectable: &["spec.nodeName", "spec.driver"],
    counts_generation: true,
    hooks: Hooks {
        prepare_create: drop_disabled,
        prepare_update: |new, _| drop_disabled(new),
        validate,
        row,
        fields: |slice| {
            vec![
                ("spec.nodeName", text(slice, "/spec/nodeName").to_owned()),
                ("spec.driver", text(slice, "/spec/driver").to_owned()),
            ]
        },
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ResourceSlice>()
});

fn drop_disabled(slice: &mut Value) {
    if let Some(spec) = child(into_object(slice), "spec") {
        spec.remove("sharedCounters");
        spec.remove("perDeviceNodeSelection");
        each(spec, "devices").for_each(device::drop_disabled);
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: ResourceSliceSpec = typed(new.get("spec"));
    csi_driver(&mut errors, SPEC.child("driver"), &spec.driver);
    let pool_at = SPEC.child("pool");
    pool(&mut errors, pool_at.child("name"), &spec.pool.name);
    if spec.pool.resource_slice_count <= 0 {
        let at = pool_at.child("resourceSliceCount");
        errors.invalid(
            at,
            spec.pool.resource_slice_count,
            "must be greater than zero",
        );
    }
    if spec.pool.generation < 0 {
        let detail = "must be greater than or equal to zero";
        errors.invalid(pool_at.child("generation"), spec.pool.generation, detail);
    }
    if let Some(old) = old {
        let old: ResourceSliceSpec = typed(old.get("spec"));
        errors.immutable(pool_at.child("name"), &spec.pool.name, &old.pool.name);
        errors.immutable(SPEC.child("driver"), &spec.driver, &old.driver);
        errors.immutable(SPEC.child("nodeName"), &spec.node_name, &old.node_name);
    }
    nodes(&mut errors, &spec);
    let list = SPEC.child("devices");
    let devices = spec.devices.given();
    if bounded(&mut errors, list, devices.len(), MAX_DEVICES) {
        let mut seen = BTreeSet::new();
        for (i, found) in devices.iter().enumerate() {
            device::validate(&mut errors, &list.index(i), found);
            if !seen.insert(found.name.as_str()) {
                errors.duplicate(list.index(i), found.name.as_str());
            }
        }
    }
    errors.0
}

/// Where the devices can be used is said in one way.
fn nodes(errors: &mut Errors, spec: &ResourceSliceSpec) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut given = Vec::new();
    let name_at = SPEC.child("nodeName");
    match spec.node_name.as_deref() {
        Some("") => {
            errors.invalid(
                name_at,
                "",
                "must be either unset or set to a non-empty string",
            );
        }
        Some(name) => {
            given.push("`nodeName`");
            errors.invalid_each(name_at, name, names::dns1123_subdomain(name));
        }
        None => {}
    }
    if let Some(selector) = &spec.node_selector {
        given.push("`nodeSelector`");
        let at = SPEC.child("nodeSelector");
        placement::node_selector(errors, &at, selector);
        let terms = &selector.node_selector_terms;
        if terms.len() != 1 {
            let detail = "must have exactly one node selector term";
            errors.invalid(at.child("nodeSelectorTerms"), to_value(terms), detail);
        }
    }
    match spec.all_nodes {
        Some(true) => given.push("`allNodes`"),
        Some(false) => {
            let detail = "must be either unset or set to true";
            errors.invalid(SPEC.child("allNodes"), false, detail);
        }
        None => {}
    }
    match given.len() {
        0 => errors.required(SPEC, ONE),
        1 => {}
        _ => {
            let detail = format!("{ONE}, but multiple fields are set");
            errors.invalid(SPEC, format!("{{{}}}", given.join(", ")), detail);
        }
    }
}

fn row(slice: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(slice),
        text(slice, "/spec/nodeName").into(),
        text(slice, "/spec/driver").into(),
        text(slice, "/spec/pool/name").into(),
        table::age(slice, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    fn slice() -> Value {
        json!({"spec": {
            "driver": "gpu.example.com", "nodeName": "n1",
            "pool": {"name": "n1", "generation": 0, "resourceSliceCount": 1},
            "devices": [{
                "name": "gpu-0",
                "attributes": {"model": {"string": "a100"}, "gpu.example.com/v": {"version": "1.0.0"}},
                "capacity": {"memory": {"value": "40Gi"}},
            }],
        }})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &slice(),
            &[
                ("/spec/driver", json!(""), "spec.driver: Required value"),
                (
                    "/spec/pool/name",
                    json!(""),
                    "spec.pool.name: Required value",
                ),
                (
                    "/spec/pool/resourceSliceCount",
                    json!(0),
                    "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                ),
                (
                    "/spec/nodeName",
                    Value::Null,
                    "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, \
                     `perDeviceNodeSelection` is required",
                ),
                (
                    "/spec/allNodes",
                    json!(true),
                    "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, \
                     `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
                ),
                (
                    "/spec/devices",
                    json!([{"name": "a"}, {"name": "a"}]),
                    "spec.devices[1]: Duplicate value: \"a\"",
                ),
                (
                    "/spec/devices/0/attributes/model",
                    json!({}),
                    "spec.devices[0].attributes[model]: Invalid value: \"\": exactly one value must be specified",
                ),
                (
                    "/spec/devices/0/attributes/model",
                    json!({"version": "1"}),
                    "spec.devices[0].attributes[model].version: Invalid value: \"1\": must be a string compatible with \
                     semver.org spec 2.0.0",
                ),
            ],
        );
        check_updates(
            &KIND,
            &slice(),
            &[
                (
                    "/spec/pool/name",
                    json!("n2"),
                    "spec.pool.name: Invalid value: \"n2\": field is immutable",
                ),
                (
                    "/spec/nodeName",
                    json!("n2"),
                    "spec.nodeName: Invalid value: \"n2\": field is immutable",
                ),
                ("/spec/devices", json!([]), ""),
            ],
        );
        let slice = created(&KIND, &slice());
        assert_eq!(row(&slice, 0)[1..4], ["n1", "gpu.example.com", "n1"]);
    }
}
