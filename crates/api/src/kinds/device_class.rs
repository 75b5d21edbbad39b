//! DeviceClass (upstream `ValidateDeviceClass`).

use k8s_openapi::api::resource::v1::{DeviceClass, DeviceClassSpec};
use serde_json::Value;

use crate::devicespec::names::bounded;
use crate::devicespec::{claim, config};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Hooks, Kind};
use crate::podspec::json::{child, into_object, same, typed};
use crate::podspec::path::{Errors, Given};
use crate::podspec::scaled::SPEC;

const MAX_CONFIGS: usize = 32;

/// DeviceClass.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "deviceclass",
    namespaced: false,
    counts_generation: true,
    hooks: Hooks {
        prepare_create: drop_disabled,
        prepare_update: |new, _| drop_disabled(new),
        validate,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<DeviceClass>()
});

fn drop_disabled(class: &mut Value) {
    if let Some(spec) = child(into_object(class), "spec") {
        spec.remove("extendedResourceName");
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: DeviceClassSpec = typed(new.get("spec"));
    claim::selectors(
        &mut errors,
        &SPEC.child("selectors"),
        spec.selectors.given(),
    );
    let part = |class: &Value| class["spec"]["config"].clone();
    let is_stored = old.is_some_and(|old| same(&part(new), &part(old)));
    let list = SPEC.child("config");
    let configs = spec.config.given();
    if bounded(&mut errors, list, configs.len(), MAX_CONFIGS) {
        for (i, found) in configs.iter().enumerate() {
            config::validate(
                &mut errors,
                &list.index(i),
                found.opaque.as_ref(),
                is_stored,
            );
        }
    }
    errors.0
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, created};
    use super::*;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let class = json!({"spec": {
            "selectors": [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}],
            "config": [{"opaque": {"driver": "gpu.example.com", "parameters": {"a": 1}}}],
            "extendedResourceName": "example.com/gpu",
        }});
        check_creates(
            &KIND,
            &class,
            &[
                (
                    "/spec/selectors/0",
                    json!({}),
                    "spec.selectors[0].cel: Required value",
                ),
                (
                    "/spec/selectors/0/cel/expression",
                    json!("x".repeat(10_241)),
                    "spec.selectors[0].cel.expression: Too long: may not be more than 10240 bytes",
                ),
                (
                    "/spec/selectors",
                    json!(vec![json!({}); 33]),
                    "spec.selectors: Too many: 33: must have at most 32 items",
                ),
                (
                    "/spec/config/0",
                    json!({}),
                    "spec.config[0].opaque: Required value",
                ),
                (
                    "/spec/config/0/opaque/driver",
                    json!(""),
                    "spec.config[0].opaque.driver: Required value",
                ),
                (
                    "/spec/config/0/opaque/parameters",
                    json!([1]),
                    "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                ),
            ],
        );
        assert_eq!(
            created(&KIND, &class)["spec"].get("extendedResourceName"),
            None
        );
    }
}
