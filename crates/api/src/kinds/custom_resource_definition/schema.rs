//! What an OpenAPI schema of a definition may say at all: supported words, lists and maps, defaults, rules in CEL.
//!
//! Not here: whether it is structural (`structure`).

use serde_json::Value;

use super::costs::{Cardinality, Costs};
use super::text;
use crate::custom::structural::Structural;
use crate::custom::{default_by, prune, rules, validate_by};
use crate::field_error::FieldError;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Words that no structural schema knows, and what is said of them.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
    ("$schema", "$schema is not supported"),
];
/// Words that at the root would reach into the status, which has a subresource of its own.
const NOT_WITH_STATUS: [&str; 9] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "enum",
    "maxProperties",
    "minProperties",
    "not",
    "oneOf",
];
const ALLOWED_AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";
/// Levels of a schema; deeper ones are refused before anything walks them.
const MAX_DEPTH: usize = 64;

/// Rules of one version's schema.
pub(super) fn validate(path: &str, schema: &Value, has_status: bool) -> Vec<FieldError> {
    if depth(schema) > MAX_DEPTH {
        let detail = format!("must not be nested deeper than {MAX_DEPTH}");
        return vec![FieldError::forbidden(path, detail)];
    }
    let mut errors = Vec::new();
    if has_status {
        errors.extend(root(path, schema));
    }
    let place = Place {
        is_root: true,
        is_nested: false,
        cardinality: Cardinality::ONE,
    };
    let mut costs = Costs::default();
    walk(path, schema, place, &mut costs, &mut errors);
    errors.extend(costs.finish(path));
    errors
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn root(path: &str, schema: &Value) -> Option<FieldError> {
    let kind = text(schema, "type");
    if !kind.is_empty() && kind != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return Some(FieldError::invalid(format!("{path}.type"), kind, detail));
    }
    let given = NOT_WITH_STATUS
        .iter()
        .any(|word| schema.get(*word).is_some_and(|value| !value.is_null()));
    let detail = format!(
        "only {ALLOWED_AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled"
    );
    given.then(|| FieldError::invalid(path, schema, detail))
}

#[derive(Clone, Copy)]
struct Place {
    is_root: bool,
    /// Within `allOf` and the like, where only values are judged.
    is_nested: bool,
    cardinality: Cardinality,
}

fn walk(path: &str, schema: &Value, place: Place, costs: &mut Costs, errors: &mut Vec<FieldError>) {
    words(path, schema, errors);
    list(path, schema, errors);
    map(path, schema, errors);
    if !place.is_nested {
        default(path, schema, errors);
        let is_resource = place.is_root || schema["x-kubernetes-embedded-resource"] == true;
        if schema["x-kubernetes-validations"].is_array() {
            let of = Structural::of(schema);
            let mut priced = Vec::new();
            errors.extend(rules::check(&of, is_resource, path, &mut priced));
            errors.extend(costs.count(&of, is_resource, place.cardinality, priced));
        }
    }
    let below = Place {
        is_root: false,
        ..place
    };
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        walk(&path, of, below, costs, errors);
    }
    for word in ["additionalProperties", "items"] {
        if let Some(of @ Value::Object(_)) = schema.get(word) {
            let inside = Place {
                cardinality: place.cardinality.inside(&Structural::bounds_of(schema)),
                ..below
            };
            walk(&format!("{path}.{word}"), of, inside, costs, errors);
        }
    }
    let nested = Place {
        is_nested: true,
        ..below
    };
    for word in ["allOf", "anyOf", "oneOf"] {
        for (idx, of) in schema[word].as_array().into_iter().flatten().enumerate() {
            walk(&format!("{path}.{word}[{idx}]"), of, nested, costs, errors);
        }
    }
    if let Some(of @ Value::Object(_)) = schema.get("not") {
        walk(&format!("{path}.not"), of, nested, costs, errors);
    }
}

fn words(path: &str, schema: &Value, errors: &mut Vec<FieldError>) {
    for (word, detail) in UNSUPPORTED {
        let given = match &schema[word] {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        };
        if given {
            errors.push(FieldError::forbidden(format!("{path}.{word}"), detail));
        }
    }
    if schema["uniqueItems"] == true {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), detail));
    }
    let additional = &schema["additionalProperties"];
    let at = || format!("{path}.additionalProperties");
    let has_properties = schema["properties"]
        .as_object()
        .is_some_and(|p| !p.is_empty());
    if *additional == false {
        let detail = "additionalProperties cannot be set to false";
        errors.push(FieldError::forbidden(at(), detail));
    } else if has_properties && additional.is_object() {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(at(), detail));
    }
    match text(schema, "type") {
        "" => {}
        "null" => {
            let detail = "type cannot be set to null, use nullable as an alternative";
            errors.push(FieldError::forbidden(format!("{path}.type"), detail));
        }
        kind if !TYPES.contains(&kind) => {
            let at = format!("{path}.type");
            errors.push(FieldError::not_supported(at, kind, &TYPES));
        }
        _ => {}
    }
    if schema["items"].is_array() {
        let detail = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(format!("{path}.items"), detail));
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let at = format!("{path}.x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(at, false, "must be true or undefined"));
    }
}

/// `must be {wanted} if {word} is specified`.
fn needs_type(path: &str, schema: &Value, wanted: &str, word: &str) -> Option<FieldError> {
    let at = format!("{path}.type");
    let detail = format!("must be {wanted} if {word} is specified");
    match text(schema, "type") {
        "" => Some(FieldError::required(at, detail)),
        kind if kind != wanted => Some(FieldError::invalid(at, kind, detail)),
        _ => None,
    }
}

fn map(path: &str, schema: &Value, errors: &mut Vec<FieldError>) {
    const WORD: &str = "x-kubernetes-map-type";
    let Some(given) = schema[WORD].as_str() else {
        return;
    };
    errors.extend(needs_type(path, schema, "object", WORD));
    if !matches!(given, "atomic" | "granular") {
        let at = format!("{path}.{WORD}");
        errors.push(FieldError::not_supported(
            at,
            given,
            &["atomic", "granular"],
        ));
    }
}

fn list(path: &str, schema: &Value, errors: &mut Vec<FieldError>) {
    const WORD: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let given = schema[WORD].as_str();
    let at = format!("{path}.{WORD}");
    let keys = schema[KEYS].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(given) = given {
        errors.extend(needs_type(path, schema, "array", WORD));
        if !matches!(given, "atomic" | "set" | "map") {
            let known = ["atomic", "set", "map"];
            errors.push(FieldError::not_supported(at.clone(), given, &known));
        }
    }
    if !keys.is_empty() {
        let detail = format!("must be map if {KEYS} is non-empty");
        match given {
            None => errors.push(FieldError::required(at, detail)),
            Some("map") => {}
            Some(given) => errors.push(FieldError::invalid(at, given, detail)),
        }
    }
    match given {
        Some("map") => map_items(path, schema, keys, errors),
        Some("set") => set_items(path, &schema["items"], errors),
        _ => {}
    }
}

fn map_items(path: &str, schema: &Value, keys: &[Value], errors: &mut Vec<FieldError>) {
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let at = format!("{path}.{KEYS}");
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(at.clone(), detail));
    }
    let items = &schema["items"];
    if !items.is_object() {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(format!("{path}.items"), detail));
        return;
    }
    if text(items, "type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        let kind = text(items, "type");
        errors.push(FieldError::invalid(
            format!("{path}.items.type"),
            kind,
            detail,
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    for key in keys.iter().filter_map(Value::as_str) {
        if seen.contains(&key) {
            let detail = "must not contain duplicate entries";
            errors.push(FieldError::invalid(at.clone(), keys, detail));
        }
        seen.push(key);
        let Some(of) = items["properties"].get(key) else {
            let detail = "entries must all be names of item properties";
            errors.push(FieldError::invalid(at.clone(), keys, detail));
            continue;
        };
        let below = format!("{path}.items.properties[{key}]");
        if matches!(text(of, "type"), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            let kind = text(of, "type");
            errors.push(FieldError::invalid(format!("{below}.type"), kind, detail));
        }
        if of["nullable"] == true {
            let detail = "list map keys cannot be nullable";
            errors.push(FieldError::forbidden(format!("{below}.nullable"), detail));
        }
        let required = items["required"].as_array().into_iter().flatten();
        if of.get("default").is_none() && !required.into_iter().any(|name| name == key) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(format!("{below}.default"), detail));
        }
    }
}

fn set_items(path: &str, items: &Value, errors: &mut Vec<FieldError>) {
    if items["nullable"] == true {
        let detail = "set items cannot be nullable";
        errors.push(FieldError::forbidden(
            format!("{path}.items.nullable"),
            detail,
        ));
    }
    let (word, detail) = match text(items, "type") {
        "array" => (
            "x-kubernetes-list-type",
            "must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        "object" => (
            "x-kubernetes-map-type",
            "must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        _ => return,
    };
    let at = format!("{path}.items.{word}");
    match items[word].as_str() {
        Some("atomic") => {}
        None if word == "x-kubernetes-list-type" => {}
        None => errors.push(FieldError::required(at, detail)),
        Some(given) => errors.push(FieldError::invalid(at, given, detail)),
    }
}

/// A default is a value of its own schema.
fn default(path: &str, schema: &Value, errors: &mut Vec<FieldError>) {
    let Some(value) = schema.get("default").filter(|value| !value.is_null()) else {
        return;
    };
    let at = format!("{path}.default");
    let of = Structural::of(schema);
    let mut pruned = value.clone();
    if !prune(&of, &mut pruned).is_empty() {
        let detail = "must not have unknown fields";
        errors.push(FieldError::invalid(at.clone(), value, detail));
    }
    default_by(&of, &mut pruned);
    for mut error in validate_by(&of, &pruned, None) {
        error.field = match error.field.as_str() {
            "<nil>" => at.clone(),
            field => format!("{at}.{field}"),
        };
        errors.push(error);
    }
}
