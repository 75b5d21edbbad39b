//! Definitions that may be and may not be.

use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::{check_creates, check_updates, created};

fn definition() -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab",
                "shortNames": ["ct"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cron"}],
                "selectableFields": [{"jsonPath": ".spec.cron"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "cron": {"type": "string"},
                        "replicas": {"type": "integer", "default": 1},
                    }},
                    "status": {"type": "object", "properties": {
                        "replicas": {"type": "integer"}}},
                }}}}],
        },
    })
}

#[test]
fn defaults_and_status_are_upstreams() {
    let mut bare = definition();
    bare["spec"]["names"]
        .as_object_mut()
        .unwrap()
        .remove("singular");
    let made = created(&KIND, &bare);
    assert_eq!(made["spec"]["names"]["singular"], "crontab");
    assert_eq!(made["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(
        made["status"],
        json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [],
            "storedVersions": ["v1"]})
    );
    let mut new = made.clone();
    new["spec"]["versions"][0]["storage"] = json!(false);
    let mut second = new["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(true);
    new["spec"]["versions"].as_array_mut().unwrap().push(second);
    KIND.prepare_update(&mut new, &made);
    assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(new["metadata"]["generation"], 2);
}

#[test]
fn rules_of_a_create() {
    let spec = "/spec/versions/0/schema/openAPIV3Schema";
    let at = |rest: &str| format!("{spec}{rest}");
    check_creates(
        &KIND,
        &definition(),
        &[
            (
                "/metadata/name",
                json!("x.example.com"),
                "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group",
            ),
            (
                "/spec/scope",
                json!("World"),
                "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            ("/spec/scope", Value::Null, "spec.scope: Required value"),
            (
                "/spec/preserveUnknownFields",
                json!(true),
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            ),
            (
                "/spec/names/kind",
                json!("9x"),
                "spec.names.kind: Invalid value: \"9x\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ),
            (
                "/spec/names/listKind",
                json!("CronTab"),
                "spec.names.listKind: Invalid value: \"CronTab\": kind and listKind may not be the same",
            ),
            (
                "/spec/versions/0/schema",
                Value::Null,
                "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
            ),
            (
                "/spec/versions/0/deprecationWarning",
                json!("x"),
                "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
            ),
            (
                "/spec/versions/0/subresources/scale/specReplicasPath",
                json!(".status.x"),
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            ),
            (
                "/spec/versions/0/additionalPrinterColumns/0/jsonPath",
                json!("spec"),
                "spec.additionalPrinterColumns[0].jsonPath: Invalid value: \"spec\": must be a simple json path starting with .",
            ),
            (
                "/spec/versions/0/selectableFields/0/jsonPath",
                json!(".spec"),
                "spec.selectableFields[0].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            ),
            (
                "/spec/conversion",
                json!({"strategy": "Magic"}),
                "spec.conversion.strategy: Unsupported value: \"Magic\": supported values: \"None\", \"Webhook\"",
            ),
            (
                "/spec/conversion",
                json!({"strategy": "Webhook"}),
                "spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required",
            ),
            (
                &at("/type"),
                Value::Null,
                "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root",
            ),
            (
                &at("/properties/spec/type"),
                Value::Null,
                "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
            ),
            (
                &at("/properties/status/properties/replicas/type"),
                json!("text"),
                "spec.validation.openAPIV3Schema.properties[status].properties[replicas].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
            ),
            (
                &at("/properties/spec/properties/cron/pattern"),
                json!("["),
                "spec.validation.openAPIV3Schema.properties[spec].properties[cron].pattern: Invalid value: \"[\": must be a valid regular expression, but isn't: unclosed character class",
            ),
            (
                &at("/properties/spec/properties/replicas/default"),
                json!("one"),
                "spec.validation.openAPIV3Schema.properties[spec].properties[replicas].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
            ),
            (
                &at("/properties/spec/anyOf"),
                json!([{"properties": {"new": {"minLength": 1}}}]),
                "spec.validation.openAPIV3Schema.properties[spec].properties[new]: Required value: because it is defined in spec.validation.openAPIV3Schema.properties[spec].anyOf[0].properties[new]",
            ),
            (
                &at("/properties/spec/anyOf"),
                json!([{"type": "object"}]),
                "spec.validation.openAPIV3Schema.properties[spec].anyOf[0].type: Forbidden: must be empty to be structural",
            ),
            (
                &at("/properties/list"),
                json!({"type": "array"}),
                "spec.validation.openAPIV3Schema.properties[list].items: Required value: must be specified",
            ),
            (
                &at("/properties/list"),
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
                "spec.validation.openAPIV3Schema.properties[list].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ),
            (
                &at("/properties/metadata"),
                json!({"type": "object", "properties": {"labels": {"type": "object"}}}),
                "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ),
            (
                &at("/properties/spec/x-kubernetes-validations"),
                json!([{"rule": "self.replicas > 0"}]),
                "",
            ),
        ],
    );
}

#[test]
fn rules_of_an_update() {
    let mut old = definition();
    check_updates(
        &KIND,
        &old,
        &[
            (
                "/spec/group",
                json!("other.example.com"),
                "spec.group: Invalid value: \"other.example.com\": field is immutable",
            ),
            ("/spec/names/kind", json!("Other"), ""),
            (
                "/spec/versions/0/name",
                json!("v2"),
                "status.storedVersions[0]: Invalid value: \"v1\": must appear in spec.versions",
            ),
        ],
    );
    old = created(&KIND, &old);
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    let errors = KIND.validate(&new, Some(&old));
    assert_eq!(
        errors[0].to_string(),
        "spec.scope: Invalid value: \"Cluster\": field is immutable"
    );
}

#[test]
fn groups_of_the_project_need_an_approval() {
    let mut guarded = definition();
    guarded["metadata"]["name"] = json!("crontabs.stable.k8s.io");
    guarded["spec"]["group"] = json!("stable.k8s.io");
    check_approval(
        &guarded,
        "Required value: protected groups must have approval annotation",
    );
    let pointer = json!({"api-approved.kubernetes.io": "maybe"});
    guarded["metadata"]["annotations"] = pointer;
    check_approval(&guarded, "Invalid value: \"maybe\": protected groups");
    guarded["metadata"]["annotations"]["api-approved.kubernetes.io"] = json!("unapproved, mine");
    assert_eq!(KIND.validate(&created(&KIND, &guarded), None), []);
}

fn check_approval(definition: &Value, expected: &str) {
    let errors = KIND.validate(&created(&KIND, definition), None);
    let text = errors[0].to_string();
    assert!(
        text.starts_with(&format!(
            "metadata.annotations[api-approved.kubernetes.io]: {expected}"
        )),
        "{text}"
    );
}
