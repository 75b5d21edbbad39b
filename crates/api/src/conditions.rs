//! Rules of `metav1.Condition` (upstream `ValidateConditions`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

use crate::meta::names::regex_error;
use crate::podspec::json::{list, text, typed};
use crate::podspec::names::label_name;
use crate::podspec::path::{Errors, Path};

const MAX_REASON_BYTES: usize = 1 << 10;
const MAX_MESSAGE_BYTES: usize = 32 << 10;
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// Checks the conditions at a JSON pointer, which messages call `at`.
pub fn validate(errors: &mut Errors, at: &Path<'_>, object: &Value, pointer: &str) {
    let conditions = list(object, pointer);
    for (i, value) in conditions.iter().enumerate() {
        let at = at.index(i);
        let kind = text(value, "/type");
        if conditions[..i]
            .iter()
            .any(|other| text(other, "/type") == kind)
        {
            errors.duplicate(at.child("type"), kind);
        }
        validate_one(errors, &at, value);
    }
}

fn validate_one(errors: &mut Errors, at: &Path<'_>, value: &Value) {
    let condition: Condition =
        serde_json::from_value(value.clone()).unwrap_or_else(|_| Condition {
            // A condition without a time is not read: its other fields are, one by one.
            last_transition_time: crate::time::time(0),
            message: text(value, "/message").to_owned(),
            observed_generation: typed(value.get("observedGeneration")),
            reason: text(value, "/reason").to_owned(),
            status: text(value, "/status").to_owned(),
            type_: text(value, "/type").to_owned(),
        });
    label_name(errors, at.child("type"), &condition.type_);
    if !STATUSES.contains(&condition.status.as_str()) {
        errors.not_supported(at.child("status"), condition.status, STATUSES);
    }
    if let Some(generation) = condition.observed_generation.filter(|number| *number < 0) {
        let detail = "must be greater than or equal to zero";
        errors.invalid(at.child("observedGeneration"), generation, detail);
    }
    if text(value, "/lastTransitionTime").is_empty() {
        errors.required(at.child("lastTransitionTime"), "must be set");
    }
    let reason = condition.reason.as_str();
    let reason_at = at.child("reason");
    if reason.is_empty() {
        errors.required(reason_at, "must be set");
    } else {
        if !is_reason(reason) {
            errors.invalid(reason_at, reason, reason_rule());
        }
        if reason.len() > MAX_REASON_BYTES {
            errors.too_long(reason_at, MAX_REASON_BYTES);
        }
    }
    if condition.message.len() > MAX_MESSAGE_BYTES {
        errors.too_long(at.child("message"), MAX_MESSAGE_BYTES);
    }
}

fn is_reason(reason: &str) -> bool {
    let bytes = reason.as_bytes();
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(word)
        && bytes.iter().all(|byte| word(byte) || b",:".contains(byte))
}

fn reason_rule() -> String {
    regex_error(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric \
         characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &[
            "my_name",
            "MY_NAME",
            "MyName",
            "ReasonA,ReasonB",
            "ReasonA:ReasonB",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_checked_field_by_field() {
        let good = json!({"type": "Ready", "status": "True", "reason": "A_b:C", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        for (field, value, expected) in [
            ("type", json!("Ready"), ""),
            (
                "status",
                json!("Maybe"),
                "c[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
            ),
            (
                "lastTransitionTime",
                Value::Null,
                "c[0].lastTransitionTime: Required value: must be set",
            ),
            (
                "reason",
                json!(""),
                "c[0].reason: Required value: must be set",
            ),
            (
                "reason",
                json!("a b"),
                &format!("c[0].reason: Invalid value: \"a b\": {}", reason_rule()),
            ),
        ] {
            let mut condition = good.clone();
            condition[field] = value;
            let mut errors = Errors::default();
            let object = json!({"c": [condition]});
            validate(&mut errors, &Path::root("c"), &object, "/c");
            let first = errors
                .0
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert_eq!(first, expected);
        }
        let mut errors = Errors::default();
        validate(
            &mut errors,
            &Path::root("c"),
            &json!({"c": [good, good]}),
            "/c",
        );
        assert_eq!(
            errors.0[0].to_string(),
            "c[1].type: Duplicate value: \"Ready\""
        );
    }

    fn broken(path: &'static str, conditions: Value) -> Vec<String> {
        let mut errors = Errors::default();
        let object = json!({"c": conditions});
        validate(&mut errors, &Path::root(path), &object, "/c");
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn conditions_are_whole_and_unique() {
        let good = json!({"type": "A", "status": "True", "reason": "It_is:so",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(broken("status.conditions", json!([good])), [""; 0]);
        let bad = json!({"type": "A", "status": "Maybe", "reason": "1"});
        let errors = broken("c", json!([good, bad]));
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
