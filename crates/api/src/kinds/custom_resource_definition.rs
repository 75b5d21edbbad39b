//! CustomResourceDefinition: a kind that a user defines (upstream's
//! `apiextensions-apiserver/pkg/registry/customresourcedefinition`).
//!
//! What becomes of a definition is in `custom`; who sets its conditions is a controller.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::custom::naming;
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource, copy_field};
use crate::meta::{Meta, StatusMetadata, object_mut};
use crate::table;

mod conversion;
mod costs;
mod names;
mod schema;
mod structure;
mod validate;
mod versions;

/// CustomResourceDefinition.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column {
            name: "Created At",
            kind: "date",
            format: "",
            description: crate::meta::AGE_DESCRIPTION,
            priority: 0,
        },
    ],
    counts_generation: true,
    hooks: Hooks {
        default,
        prepare_create,
        prepare_update,
        prepare_status,
        prepare_delete: naming::prepare_delete,
        validate: validate::validate,
        validate_status: validate::validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<CustomResourceDefinition>()
});

/// What keeps the schemas of a stored definition from being structural, in words.
pub(crate) fn violations(definition: &Value) -> Vec<String> {
    let errors = versions::schemas(definition);
    let errors = errors.flat_map(|(path, of)| structure::validate(&path, of));
    errors.map(|error| error.to_string()).collect()
}

fn versions_of(definition: &Value) -> &[Value] {
    let list = definition["spec"]["versions"].as_array();
    list.map_or(&[], Vec::as_slice)
}

/// The name of the version that is stored.
fn storage_version(definition: &Value) -> Option<&str> {
    let mut versions = versions_of(definition).iter();
    let stored = versions.find(|version| version["storage"] == true);
    stored?["name"].as_str()
}

fn default(object: &mut Value) {
    let names = &mut object["spec"]["names"];
    if let Some(kind) = names["kind"].as_str().filter(|kind| !kind.is_empty()) {
        let (singular, list) = (kind.to_lowercase(), format!("{kind}List"));
        let names = object_mut(names);
        for (field, value) in [("singular", singular), ("listKind", list)] {
            let given = names.get(field).and_then(Value::as_str);
            if given.is_none_or(str::is_empty) {
                names.insert(field.to_owned(), value.into());
            }
        }
    }
    let spec = object_mut(&mut object["spec"]);
    let conversion = spec
        .entry("conversion")
        .or_insert_with(|| json!({"strategy": "None"}));
    if let Some(Value::Object(service)) = conversion.pointer_mut("/webhook/clientConfig/service") {
        service.entry("port").or_insert_with(|| 443.into());
    }
    if object["status"].is_object() {
        default_status(object);
    }
}

fn default_status(object: &mut Value) {
    let storage = storage_version(object).map(str::to_owned);
    let status = object_mut(&mut object["status"]);
    status
        .entry("acceptedNames")
        .or_insert_with(|| json!({"kind": "", "plural": ""}));
    status.entry("conditions").or_insert_with(|| json!([]));
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let (Value::Array(versions), Some(storage)) = (stored, storage)
        && versions.is_empty()
    {
        versions.push(storage.into());
    }
}

fn prepare_create(object: &mut Value) {
    object["status"] = json!({});
    default_status(object);
}

fn prepare_update(new: &mut Value, old: &Value) {
    // Objects may be stored in that version from now on.
    copy_field(new, old, "status");
    let storage = storage_version(new).map(str::to_owned);
    if new["status"].is_object()
        && let (Some(storage), Value::Array(versions)) =
            (storage, &mut new["status"]["storedVersions"])
        && !versions.iter().any(|version| *version == *storage)
    {
        versions.push(storage.into());
    }
}

fn prepare_status(new: &mut Value, _: &Value) {
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    default_status(new);
}

fn row(object: &Value, _: u64) -> Vec<Value> {
    let created = Meta::of(object).creation_timestamp();
    vec![table::name(object), created.into()]
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// One error for each broken rule of a name, joined as upstream does.
fn joined(path: String, value: &str, broken: &[String], prefix: &str) -> Option<FieldError> {
    let detail = || format!("{prefix}{}", broken.join(","));
    (!broken.is_empty()).then(|| FieldError::invalid(path, value, detail()))
}

#[cfg(test)]
mod tests;
