//! Metadata within custom objects: the object's own, and that of resources embedded in it
//! (`x-kubernetes-embedded-resource`). Upstream's `schema/objectmeta`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::shape;
use super::structural::Structural;
use crate::field_error::FieldError;
use crate::meta::names;
use crate::meta::{Meta, validate_annotations, validate_labels};
use crate::schema::{self, Field, Object, Schema};

/// Decodes `metadata`; answers its unknown fields, which are gone.
pub(crate) fn check_metadata(kind: &str, object: &mut Value) -> Result<Vec<String>, String> {
    let schema = Schema::Object(Arc::new(Object {
        name: kind.into(),
        definition: kind.into(),
        fields: BTreeMap::from([(
            "metadata".into(),
            Field {
                schema: shape::metadata(),
                required: false,
                by_value: false,
                retain_keys: false,
                atomic: false,
            },
        )]),
        atomic: false,
        rest: None,
    }));
    let Some(metadata) = object.get_mut("metadata") else {
        return Ok(Vec::new());
    };
    let mut alone = json!({"metadata": metadata.take()});
    let checked = schema::check(&schema, &mut alone).map_err(|error| error.to_string())?;
    *metadata = alone["metadata"].take();
    if metadata.is_null() {
        *metadata = json!({});
    }
    Ok(checked.unknown)
}

/// Decodes the metadata of embedded resources.
pub(crate) fn check(schema: &Structural, object: &mut Value) -> Result<Vec<String>, String> {
    if !schema.any(&|schema| schema.is_embedded) {
        return Ok(Vec::new());
    }
    let mut unknown = Vec::new();
    walk(schema, object, String::new(), &mut |value, path| {
        let found = check_metadata("ObjectMeta", value)?;
        unknown.extend(found.into_iter().map(|field| format!("{path}.{field}")));
        Ok(())
    })?;
    Ok(unknown)
}

fn walk(
    schema: &Structural,
    value: &mut Value,
    path: String,
    look: &mut impl FnMut(&mut Value, &str) -> Result<(), String>,
) -> Result<(), String> {
    if schema.is_embedded && value.is_object() {
        look(value, &path)?;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                if let Some(of) = schema.field(name) {
                    let path = match path.as_str() {
                        "" => name.clone(),
                        path => format!("{path}.{name}"),
                    };
                    walk(of, value, path, look)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = &schema.items else {
                return Ok(());
            };
            for (idx, item) in items.iter_mut().enumerate() {
                walk(of, item, format!("{path}[{idx}]"), look)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The rules that embedded resources break.
pub(crate) fn validate(schema: &Structural, object: &Value) -> Vec<FieldError> {
    if !schema.any(&|schema| schema.is_embedded) {
        return Vec::new();
    }
    let (mut errors, mut object) = (Vec::new(), object.clone());
    let walked = walk(schema, &mut object, String::new(), &mut |value, path| {
        errors.extend(resource_errors(value, path));
        Ok(())
    });
    debug_assert!(walked.is_ok(), "this walk refuses nothing");
    errors
}

fn resource_errors(resource: &Value, path: &str) -> Vec<FieldError> {
    let text = |name: &str| resource[name].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    let (api_version, kind) = (format!("{path}.apiVersion"), format!("{path}.kind"));
    match text("apiVersion") {
        "" => errors.push(FieldError::required(api_version, "must not be empty")),
        version if version.matches('/').count() > 1 => {
            let detail = format!("unexpected GroupVersion string: {version}");
            errors.push(FieldError::invalid(api_version, version, detail));
        }
        _ => {}
    }
    match text("kind") {
        "" => errors.push(FieldError::required(kind, "must not be empty")),
        name => {
            let broken = names::dns1035_label(&name.to_lowercase());
            if !broken.is_empty() {
                let detail = format!(
                    "may have mixed case, but should otherwise match: {}",
                    broken.join(",")
                );
                errors.push(FieldError::invalid(kind, name, detail));
            }
        }
    }
    let meta = Meta::of(resource);
    errors.extend(validate_labels(
        meta.labels(),
        &format!("{path}.metadata.labels"),
    ));
    errors.extend(validate_annotations(
        meta.annotations(),
        &format!("{path}.metadata.annotations"),
    ));
    errors
}
