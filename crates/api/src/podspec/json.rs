//! Small steps on JSON trees that defaulting is made of.
//!
//! Go's zero values count as absent where upstream's defaulting treats them so: null and `""` always, 0 where the
//! field is no pointer ([`or_zero`]).

use serde_json::{Map, Value};

/// A JSON object's fields.
pub type Fields = Map<String, Value>;

/// Whether `key` is absent, null or an empty string.
pub fn unset(fields: &Fields, key: &str) -> bool {
    match fields.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// Sets `key` unless it is set already.
pub fn or(fields: &mut Fields, key: &str, value: impl Into<Value>) {
    if unset(fields, key) {
        fields.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` where upstream's field is a plain integer, for which 0 is unset.
pub fn or_zero(fields: &mut Fields, key: &str, value: i64) {
    if unset(fields, key) || fields[key] == 0 {
        fields.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` where upstream's field is a pointer: an empty string stays.
pub fn or_pointer(fields: &mut Fields, key: &str, value: impl Into<Value>) {
    if fields.get(key).is_none_or(Value::is_null) {
        fields.insert(key.to_owned(), value.into());
    }
}

/// The object at `key`, when there is one.
pub fn child<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    fields.get_mut(key).and_then(Value::as_object_mut)
}

/// The object at `key`, made when absent or of another type.
pub fn ensure<'a>(fields: &'a mut Fields, key: &str) -> &'a mut Fields {
    let value = fields.entry(key).or_insert(Value::Null);
    into_object(value)
}

/// The value as an object; anything else becomes an empty one.
pub fn into_object(value: &mut Value) -> &mut Fields {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

/// Each object of the list at `key`.
pub fn each<'a>(fields: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    let items = fields.get_mut(key).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The text at a JSON pointer, or an empty one.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The integer at a JSON pointer, or 0.
pub fn int(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The typed form of a part of an object; an absent part is a default one. Schema checks run before, so a part that
/// does not fit its type is a defect, answered with a default value.
pub fn typed<T: serde::de::DeserializeOwned + Default>(value: Option<&Value>) -> T {
    value
        .and_then(|value| T::deserialize(value).ok())
        .unwrap_or_default()
}

/// Whether two trees say the same: null, absence and empty lists and objects are one.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let covers = |a: &Fields, b: &Fields| {
                a.iter()
                    .all(|(key, value)| same(value, b.get(key).unwrap_or(&Value::Null)))
            };
            covers(a, b)
                && b.iter()
                    .all(|(key, value)| a.contains_key(key) || is_empty(value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b || (is_empty(a) && is_empty(b)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

/// What differs between two trees, for people: a line with `-` and one with `+` for each place.
pub fn difference(old: &Value, new: &Value) -> String {
    let mut lines = String::new();
    differ(&mut lines, String::new(), old, new);
    lines
}

fn differ(lines: &mut String, path: String, old: &Value, new: &Value) {
    match (old, new) {
        _ if same(old, new) => {}
        (Value::Object(a), Value::Object(b)) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                let dot = if path.is_empty() { "" } else { "." };
                differ(lines, format!("{path}{dot}{key}"), &old[key], &new[key]);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differ(lines, format!("{path}[{i}]"), a, b);
            }
        }
        _ => {
            for (sign, value) in [('-', old), ('+', new)] {
                if !value.is_null() {
                    lines.push_str(&format!("  {sign} {path}: {value}\n"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn emptiness_is_no_difference() {
        let a = json!({"a": [], "b": {"c": null}, "d": 1});
        let b = json!({"d": 1, "e": {}});
        assert!(same(&a, &b) && same(&b, &a));
        assert!(!same(&a, &json!({"d": 2})));
        assert_eq!(
            difference(&json!({"x": [{"y": 1}], "z": 1}), &json!({"x": [{"y": 2}]})),
            "  - x[0].y: 1\n  + x[0].y: 2\n  - z: 1\n"
        );
    }
}
