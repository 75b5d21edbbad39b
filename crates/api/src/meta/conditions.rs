//! Rules of `metav1.Condition` lists (upstream `apimachinery/pkg/apis/meta/v1/validation`).

use serde_json::Value;

use super::names::{qualified_name, regex_error};
use crate::field_error::FieldError;
use crate::podspec::json::text;
use crate::podspec::path::{Errors, Path};

const REASON_BYTES: usize = 1024;
const MESSAGE_BYTES: usize = 32 * 1024;

/// Checks the conditions of a status that are `metav1.Condition`s.
pub fn validate_conditions(conditions: &[Value], path: &str) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let list = Path::root(path);
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = list.index(i);
        let kind = text(condition, "/type");
        if !seen.insert(kind) {
            errors.duplicate(at.child("type"), kind);
        }
        validate_condition(&mut errors, &at, condition);
    }
    errors.0
}

fn validate_condition(errors: &mut Errors, at: &Path<'_>, condition: &Value) {
    let kind = text(condition, "/type");
    errors.invalid_each(at.child("type"), kind, qualified_name(kind));
    let status = text(condition, "/status");
    let supported = &["False", "True", "Unknown"];
    errors.one_of_if(at.child("status"), Some(status), supported);
    let generation = condition["observedGeneration"].as_i64().unwrap_or_default();
    if generation < 0 {
        let detail = "must be greater than or equal to zero";
        errors.invalid(at.child("observedGeneration"), generation, detail);
    }
    if text(condition, "/lastTransitionTime").is_empty() {
        errors.required(at.child("lastTransitionTime"), "must be set");
    }
    let reason = text(condition, "/reason");
    if reason.is_empty() {
        errors.required(at.child("reason"), "must be set");
    } else {
        errors.invalid_each(at.child("reason"), reason, condition_reason(reason));
        if reason.len() > REASON_BYTES {
            errors.too_long(at.child("reason"), REASON_BYTES);
        }
    }
    if text(condition, "/message").len() > MESSAGE_BYTES {
        errors.too_long(at.child("message"), MESSAGE_BYTES);
    }
}

fn condition_reason(reason: &str) -> Vec<String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = reason.as_bytes();
    let is_shaped = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(|last| word(*last))
        && bytes.iter().all(|byte| word(*byte) || b",:".contains(byte));
    if is_shaped {
        return Vec::new();
    }
    vec![regex_error(
        "a condition reason must start with alphabetic character, optionally followed by a string of \
         alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &[
            "my_name",
            "MY_NAME",
            "MyName",
            "ReasonA,ReasonB",
            "ReasonA:ReasonB",
        ],
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_whole_and_unique() {
        let good = json!({"type": "A", "status": "True", "reason": "It_is:so",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(
            validate_conditions(std::slice::from_ref(&good), "status.conditions"),
            []
        );
        let bad = json!({"type": "A", "status": "Maybe", "reason": "1"});
        let errors: Vec<String> = validate_conditions(&[good, bad], "c")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors[0], "c[1].type: Duplicate value: \"A\"");
        assert_eq!(
            errors[1],
            "c[1].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\""
        );
        assert_eq!(
            errors[2],
            "c[1].lastTransitionTime: Required value: must be set"
        );
        assert!(
            errors[3].starts_with("c[1].reason: Invalid value: \"1\": a condition reason must")
        );
    }
}
