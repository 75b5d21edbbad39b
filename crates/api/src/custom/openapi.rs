//! Publication of a custom kind's schema (upstream's `controller/openapi/builder`).

use serde_json::{Map, Value, json};

use super::CustomKind;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// `com.example.stable.v1.CronTab`.
pub(crate) fn schema_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

impl CustomKind {
    /// The name of its schema.
    pub(crate) fn schema_name(&self) -> String {
        schema_name(&self.definition.group, &self.version, &self.definition.kind)
    }

    /// Its schema as clients read it, with the fields of every object.
    pub(crate) fn openapi(&self) -> Value {
        let mut schema = self.published.clone();
        if !schema.is_object() {
            schema = json!({"type": "object"});
        }
        embed(&mut schema);
        add_meta(&mut schema);
        schema
    }
}

fn add_meta(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    let properties = schema
        .entry("properties")
        .or_insert_with(|| Map::new().into());
    let reference = format!("#/components/schemas/{OBJECT_META}");
    properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
    properties["kind"] = json!({"type": "string", "description": KIND});
    properties["metadata"] = json!({"description": METADATA, "allOf": [{"$ref": reference}]});
}

/// Embedded resources have metadata too.
fn embed(schema: &mut Value) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(embed);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below @ Value::Object(_)) = schema.get_mut(below) {
            embed(below);
        }
    }
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        add_meta(schema);
        require(schema, "kind");
        require(schema, "apiVersion");
    }
}

fn require(schema: &mut Value, name: &str) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    let required = schema.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut()
        && !required.iter().any(|other| other == name)
    {
        required.push(name.into());
    }
}
