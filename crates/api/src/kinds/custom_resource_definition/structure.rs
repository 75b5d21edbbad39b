//! Whether a schema is structural (upstream's `apiserver/schema/validation.go`): every value's type is told outside of
//! `allOf` and the like, metadata is left alone.

use regex::Regex;
use serde_json::{Value, json};

use super::text;
use crate::field_error::FieldError;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, in order of the texts.
pub(super) fn validate(path: &str, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    invariants(path, schema, Level::Root, &mut errors);
    complete(path, schema, schema, &mut errors);
    errors.sort_by_key(ToString::to_string);
    errors
}

fn flag(schema: &Value, word: &str) -> bool {
    schema[word] == true
}

fn invariants(path: &str, schema: &Value, level: Level, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    let is_embedded = flag(schema, "x-kubernetes-embedded-resource");
    let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let child = |word: &str| format!("{path}.{word}");
    if kind == "array" && !schema["items"].is_object() {
        errors.push(FieldError::required(child("items"), "must be specified"));
    }
    below(path, schema, level, errors);
    for (word, given) in [
        ("x-kubernetes-preserve-unknown-fields", preserves),
        ("x-kubernetes-embedded-resource", is_embedded),
    ] {
        if int_or_string && given {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(child(word), true, detail));
        }
    }
    let (any_of, all_of) = int_or_string_patterns(schema);
    values(path, schema, (any_of, all_of), errors);
    if is_embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => FieldError::required(child("type"), detail),
            kind => FieldError::invalid(child("type"), kind, detail),
        });
    } else if kind.is_empty() && !int_or_string && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(child("type"), detail));
    }
    if is_embedded && schema["additionalProperties"].is_object() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(child("additionalProperties"), detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        let detail = "must be object at the root";
        errors.push(FieldError::invalid(child("type"), kind, detail));
    }
    if level == Level::Root || is_embedded {
        metadata(path, schema, level, errors);
    }
    let has_properties = schema["properties"]
        .as_object()
        .is_some_and(|p| !p.is_empty());
    if is_embedded && !preserves && !has_properties {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(child("properties"), detail));
    }
}

fn below(path: &str, schema: &Value, level: Level, errors: &mut Vec<FieldError>) {
    if let Some(of @ Value::Object(_)) = schema.get("items") {
        invariants(&format!("{path}.items"), of, Level::Item, errors);
    }
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        invariants(
            &format!("{path}.properties[{name}]"),
            of,
            Level::Field,
            errors,
        );
    }
    let additional = &schema["additionalProperties"];
    let at = format!("{path}.additionalProperties");
    if additional.is_object() || *additional == true {
        if level == Level::Root {
            errors.push(FieldError::forbidden(
                at.clone(),
                "must not be used at the root",
            ));
        }
        if additional.is_object() {
            invariants(&at, additional, Level::Field, errors);
        }
    }
}

/// Kind and version are texts, and of the metadata of the root only the name can be restricted.
fn metadata(path: &str, schema: &Value, level: Level, errors: &mut Vec<FieldError>) {
    for word in ["kind", "apiVersion"] {
        if let Some(of) = schema["properties"]
            .get(word)
            .filter(|of| text(of, "type") != "string")
        {
            let at = format!("{path}.properties[{word}].type");
            errors.push(FieldError::invalid(at, text(of, "type"), "must be string"));
        }
    }
    let Some(of) = schema["properties"].get("metadata") else {
        return;
    };
    let at = format!("{path}.properties[metadata]");
    if text(of, "type") != "object" {
        let at = format!("{at}.type");
        errors.push(FieldError::invalid(at, text(of, "type"), "must be object"));
    }
    if level != Level::Root {
        return;
    }
    let names_only = |properties: &Value| {
        let all = properties.as_object();
        all.is_none_or(|all| {
            all.keys()
                .all(|name| name == "name" || name == "generateName")
        })
    };
    let fields = of.as_object().into_iter().flatten();
    let is_bare = fields.into_iter().all(|(word, value)| match word.as_str() {
        "type" | "default" | "description" | "title" => true,
        "properties" => names_only(value),
        _ => value.is_null(),
    });
    if !is_bare {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(at, detail));
    }
}

/// Whether `anyOf`, or the first of `allOf`, is the known pair of types.
fn int_or_string_patterns(schema: &Value) -> (bool, bool) {
    let pair = json!([{"type": "integer"}, {"type": "string"}]);
    (schema["anyOf"] == pair, schema["allOf"][0]["anyOf"] == pair)
}

/// Junctors: their schemas judge values and say nothing of shapes.
fn values(
    path: &str,
    schema: &Value,
    (skips_any_of, skips_all_of): (bool, bool),
    errors: &mut Vec<FieldError>,
) {
    for word in ["anyOf", "allOf", "oneOf"] {
        if word == "anyOf" && skips_any_of {
            continue;
        }
        for (idx, of) in schema[word].as_array().into_iter().flatten().enumerate() {
            let skips = word == "allOf" && idx == 0 && skips_all_of;
            nested(&format!("{path}.{word}[{idx}]"), of, skips, errors);
        }
    }
    if let Some(of @ Value::Object(_)) = schema.get("not") {
        nested(&format!("{path}.not"), of, false, errors);
    }
    let pattern = text(schema, "pattern");
    if let Err(error) = Regex::new(pattern) {
        let why = error.to_string();
        let why = why
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(
            format!("{path}.pattern"),
            pattern,
            detail,
        ));
    }
}

fn nested(path: &str, schema: &Value, skips_any_of: bool, errors: &mut Vec<FieldError>) {
    values(path, schema, (skips_any_of, false), errors);
    if let Some(of @ Value::Object(_)) = schema.get("items") {
        nested(&format!("{path}.items"), of, false, errors);
    }
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{path}.properties[{name}]");
        nested(&at, of, false, errors);
        if name == "metadata" {
            let detail = "must not be specified in a nested context";
            errors.push(FieldError::forbidden(at, detail));
        }
    }
    for (word, how) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("externalDocs", "must be undefined to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-embedded-resource",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-int-or-string",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-list-map-keys",
            "must be empty to be structural",
        ),
        (
            "x-kubernetes-list-type",
            "must be undefined to be structural",
        ),
        (
            "x-kubernetes-map-type",
            "must be undefined to be structural",
        ),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        let given = match &schema[word] {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        };
        if given {
            errors.push(FieldError::forbidden(format!("{path}.{word}"), how));
        }
    }
}

/// What is judged within a junctor has to have its shape told outside of it.
fn complete(path: &str, schema: &Value, shape: &Value, errors: &mut Vec<FieldError>) {
    for word in ["anyOf", "allOf", "oneOf"] {
        for (idx, of) in schema[word].as_array().into_iter().flatten().enumerate() {
            known(&format!("{path}.{word}[{idx}]"), path, of, shape, errors);
        }
    }
    if let Some(of @ Value::Object(_)) = schema.get("not") {
        known(&format!("{path}.not"), path, of, shape, errors);
    }
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        complete(&format!("{path}.properties[{name}]"), of, of, errors);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(of @ Value::Object(_)) = schema.get(word) {
            complete(&format!("{path}.{word}"), of, of, errors);
        }
    }
}

fn known(at: &str, shape_at: &str, of: &Value, shape: &Value, errors: &mut Vec<FieldError>) {
    complete_nested(at, shape_at, of, shape, errors);
    for (name, of) in of["properties"].as_object().into_iter().flatten() {
        let below = format!("{shape_at}.properties[{name}]");
        match shape["properties"].get(name) {
            Some(shape) => {
                let at = format!("{at}.properties[{name}]");
                known(&at, &below, of, shape, errors);
            }
            None => {
                let detail = format!("because it is defined in {at}.properties[{name}]");
                errors.push(FieldError::required(below, detail));
            }
        }
    }
    if let Some(of @ Value::Object(_)) = of.get("items") {
        let below = format!("{shape_at}.items");
        match shape.get("items") {
            Some(shape @ Value::Object(_)) => {
                known(&format!("{at}.items"), &below, of, shape, errors);
            }
            _ => {
                let detail = format!("because it is defined in {at}.items");
                errors.push(FieldError::required(below, detail));
            }
        }
    }
}

fn complete_nested(
    at: &str,
    shape_at: &str,
    of: &Value,
    shape: &Value,
    errors: &mut Vec<FieldError>,
) {
    for word in ["anyOf", "allOf", "oneOf"] {
        for (idx, of) in of[word].as_array().into_iter().flatten().enumerate() {
            known(&format!("{at}.{word}[{idx}]"), shape_at, of, shape, errors);
        }
    }
    if let Some(of @ Value::Object(_)) = of.get("not") {
        known(&format!("{at}.not"), shape_at, of, shape, errors);
    }
}
