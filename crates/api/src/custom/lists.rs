//! Lists as sets and as maps: no item comes twice (upstream's `schema/listtype`).

use serde_json::Value;

use super::structural::Structural;
use crate::field_error::FieldError;
use crate::schema::ListKind;

/// The items of sets and maps that come twice.
pub(crate) fn validate(schema: &Structural, value: &Value, path: &str) -> Vec<FieldError> {
    match value {
        Value::Object(fields) => (fields.iter())
            .filter_map(|(name, value)| Some((name, value, schema.field(name)?)))
            .flat_map(|(name, value, of)| {
                let path = match (path, schema.properties.contains_key(name.as_str())) {
                    ("", _) => name.clone(),
                    (path, true) => format!("{path}.{name}"),
                    (path, false) => format!("{path}[{name}]"),
                };
                validate(of, value, &path)
            })
            .collect(),
        Value::Array(items) => {
            let mut errors = match &schema.list {
                Some(ListKind::Set) => twice(items, path, |item| Some(item.clone())),
                Some(ListKind::Map(keys)) => twice(items, path, |item| {
                    let fields = keys
                        .iter()
                        .filter_map(|key| Some((key.name.to_string(), key.of(item)?.clone())));
                    item.is_object().then(|| fields.collect())
                }),
                _ => Vec::new(),
            };
            if let Some(of) = &schema.items {
                for (idx, item) in items.iter().enumerate() {
                    errors.extend(validate(of, item, &format!("{path}[{idx}]")));
                }
            }
            errors
        }
        _ => Vec::new(),
    }
}

/// Each item that an earlier one equals in its identity, told once.
fn twice(
    items: &[Value],
    path: &str,
    identity: impl Fn(&Value) -> Option<Value>,
) -> Vec<FieldError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut told = std::collections::BTreeSet::new();
    let mut errors = Vec::new();
    for (idx, item) in items.iter().enumerate() {
        let Some(identity) = identity(item) else {
            continue;
        };
        let text = identity.to_string();
        if !seen.insert(text.clone()) && told.insert(text) {
            errors.push(FieldError::duplicate(format!("{path}[{idx}]"), identity));
        }
    }
    errors
}
