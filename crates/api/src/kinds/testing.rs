//! What the tests of kinds share: tables of changes to a valid object, each with the text of the first broken rule.

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::kind::Kind;

/// The texts of broken rules.
pub fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// `object` on its way through a create, before validation.
pub fn created(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.entry("name").or_insert_with(|| json!("x"));
    if kind.namespaced() {
        metadata
            .entry("namespace")
            .or_insert_with(|| json!("default"));
    }
    kind.default(&mut object);
    kind.prepare_create(&mut object);
    object
}

/// `object` with another value at a JSON pointer, whose objects are made; null takes the field away.
pub fn with(object: &Value, pointer: &str, value: &Value) -> Value {
    let mut object = object.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut object;
    for step in parent.split('/').skip(1) {
        let step = step.replace("~1", "/");
        at = match at {
            Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
            other => &mut other[step],
        };
    }
    match at {
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value.clone(),
        Value::Object(fields) if value.is_null() => drop(fields.remove(field)),
        other => other[field.replace("~1", "/")] = value.clone(),
    }
    object
}

/// A change at a pointer and the text of the first rule that it breaks, empty for none.
pub type Case<'a> = (&'a str, Value, &'a str);

fn first(errors: &[FieldError]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}

/// Creates of `valid`, changed, break these rules.
pub fn check_creates(kind: &Kind, valid: &Value, cases: &[Case<'_>]) {
    assert_eq!(texts(&kind.validate(&created(kind, valid), None)), [""; 0]);
    for (pointer, value, expected) in cases {
        let object = created(kind, &with(valid, pointer, value));
        let errors = kind.validate(&object, None);
        assert_eq!(first(&errors), *expected, "{pointer} {value}");
    }
}

/// Updates from `old`, changed, break these rules.
pub fn check_updates(kind: &Kind, old: &Value, cases: &[Case<'_>]) {
    let old = created(kind, old);
    for (pointer, value, expected) in cases {
        let mut new = with(&old, pointer, value);
        kind.default(&mut new);
        kind.prepare_update(&mut new, &old);
        let errors = kind.validate(&new, Some(&old));
        assert_eq!(first(&errors), *expected, "{pointer} {value}");
    }
}

/// Status updates from `old`, changed, break these rules.
pub fn check_statuses(kind: &Kind, old: &Value, cases: &[Case<'_>]) {
    let old = created(kind, old);
    for (pointer, value, expected) in cases {
        let mut new = with(&old, pointer, value);
        kind.prepare_status(&mut new, &old);
        let errors = kind.validate_status(&new, &old);
        assert_eq!(first(&errors), *expected, "{pointer} {value}");
    }
}
