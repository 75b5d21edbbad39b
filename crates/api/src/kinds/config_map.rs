//! ConfigMap (upstream `pkg/registry/core/configmap`, `ValidateConfigMap`).

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use super::secret::{entries, immutable_errors};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::table;

/// Data of one ConfigMap or Secret, in bytes (upstream's `MaxSecretSize`).
pub(super) const MAX_DATA_BYTES: usize = 1 << 20;

/// ConfigMap.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "configmap",
    short_names: &["cm"],
    columns: &[
        Column::NAME,
        Column::text("Data", "Data contains the configuration data."),
        Column::AGE,
    ],
    hooks: Hooks {
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ConfigMap>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = old.map_or_else(Vec::new, |old| {
        immutable_errors(new, old, &["data", "binaryData"])
    });
    let mut size_bytes = 0;
    for (bag, other) in [("data", "binaryData"), ("binaryData", "data")] {
        for (key, value) in entries(new, bag) {
            let path = format!("{bag}[{key}]");
            errors.extend(FieldError::invalid_each(
                &path,
                key,
                names::config_map_key(key),
            ));
            if new.get(other).is_some_and(|other| other.get(key).is_some()) {
                let detail = format!("duplicate of key present in {other}");
                errors.push(FieldError::invalid(path, key, detail));
            }
            size_bytes += match bag {
                "data" => value.len(),
                _ => decoded_len(value),
            };
        }
    }
    if size_bytes > MAX_DATA_BYTES {
        errors.push(FieldError::too_long("[]", MAX_DATA_BYTES));
    }
    errors
}

/// Bytes of a base64 text.
pub(super) fn decoded_len(base64: &str) -> usize {
    let padding = base64
        .bytes()
        .rev()
        .take_while(|byte| *byte == b'=')
        .count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let n_keys = table::count(object, "/data") + table::count(object, "/binaryData");
    vec![
        table::name(object),
        n_keys.into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_checked_and_unique_over_both_bags() {
        let map = json!({"data": {"a b": "x", "k": ""}, "binaryData": {"k": "AA=="}});
        let errors: Vec<String> = validate(&map, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(errors[0].starts_with("data[a b]: Invalid value: \"a b\": a valid config key"));
        assert_eq!(
            errors[1],
            "data[k]: Invalid value: \"k\": duplicate of key present in binaryData"
        );
    }

    #[test]
    fn data_is_bounded() {
        let map = json!({"data": {"k": "x".repeat(MAX_DATA_BYTES + 1)}});
        assert_eq!(
            validate(&map, None)[0].to_string(),
            "[]: Too long: may not be more than 1048576 bytes"
        );
    }

    #[test]
    fn immutable_maps_stay() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        let new = json!({"data": {"a": "2"}});
        let errors: Vec<String> = validate(&new, Some(&old))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
    }
}
