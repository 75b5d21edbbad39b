//! Validation failures with upstream's wording (`k8s.io/apimachinery/pkg/util/validation/field`).
//!
//! Not here: the rules. They live with the kinds and in `meta`.

use std::fmt;

use kontiki_base::status::{Cause, Details, Reason, Status, qualified};
use serde::Serialize;
use serde_json::Value;

/// What sort of rule a field broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No value where one must be.
    Required,
    /// A value against the rules.
    Invalid,
    /// A value of the wrong type.
    TypeInvalid,
    /// A value twice where values are unique.
    Duplicate,
    /// A field that may not be set or changed now.
    Forbidden,
    /// A value outside an enumeration.
    NotSupported,
    /// A string with too many bytes.
    TooLong,
    /// A list with too many items.
    TooMany,
    /// A reference to nothing.
    NotFound,
}

impl ErrorKind {
    /// `Status.details.causes[].reason`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotSupported => "FieldValueNotSupported",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::NotSupported => "Unsupported value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// The sort of rule.
    pub kind: ErrorKind,
    /// Path, such as `spec.containers[0].name`.
    pub field: String,
    /// The offending value; `None` when the message shows none.
    pub bad_value: Option<Value>,
    /// The rule, in words.
    pub detail: String,
}

impl FieldError {
    fn new(
        kind: ErrorKind,
        field: impl Into<String>,
        bad_value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            bad_value,
            detail: detail.into(),
        }
    }

    /// A missing value.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, field, None, detail)
    }

    /// A value against the rules.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Serialize,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::Invalid, field, Some(to_value(value)), detail)
    }

    /// A value of the wrong type.
    pub fn type_invalid(
        field: impl Into<String>,
        value: impl Serialize,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::TypeInvalid, field, Some(to_value(value)), detail)
    }

    /// A value that appears twice.
    pub fn duplicate(field: impl Into<String>, value: impl Serialize) -> Self {
        Self::new(ErrorKind::Duplicate, field, Some(to_value(value)), "")
    }

    /// A field that may not be set.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, field, None, detail)
    }

    /// A value outside an enumeration; `supported` is listed in the given order.
    pub fn not_supported(
        field: impl Into<String>,
        value: impl Serialize,
        supported: &[&str],
    ) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| go_quote(value)).collect();
        let detail = match quoted.is_empty() {
            true => String::new(),
            false => format!("supported values: {}", quoted.join(", ")),
        };
        Self::new(
            ErrorKind::NotSupported,
            field,
            Some(to_value(value)),
            detail,
        )
    }

    /// A string of more than `max_bytes`.
    pub fn too_long(field: impl Into<String>, max_bytes: usize) -> Self {
        let unit = if max_bytes == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max_bytes} {unit}");
        Self::new(ErrorKind::TooLong, field, None, detail)
    }

    /// A list of `actual` items where `max` may be.
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let items = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {items}");
        Self::new(ErrorKind::TooMany, field, Some(actual.into()), detail)
    }

    /// A reference to nothing.
    pub fn not_found(field: impl Into<String>, value: impl Serialize) -> Self {
        Self::new(ErrorKind::NotFound, field, Some(to_value(value)), "")
    }

    /// One `Invalid` for each message of a name rule.
    pub fn invalid_each(field: &str, value: &str, messages: Vec<String>) -> Vec<Self> {
        messages
            .into_iter()
            .map(|message| Self::invalid(field, value, message))
            .collect()
    }

    /// The message without the path: upstream's `ErrorBody`.
    pub fn body(&self) -> String {
        let words = self.kind.words();
        let mut body = match &self.bad_value {
            None => words.to_owned(),
            Some(Value::String(text)) => format!("{words}: {}", go_quote(text)),
            Some(value) => format!("{words}: {value}"),
        };
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }

    /// As one cause of a `Status`.
    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.kind.reason().into(),
            message: self.body(),
            field: self.field.clone(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

fn to_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// A string as Go's `%q` prints it.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                quoted.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The `Invalid` answer (422) of one object, as upstream's `errors.NewInvalid`.
pub fn invalid_status(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    let mut messages: Vec<String> = Vec::new();
    for error in errors {
        let message = error.to_string();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    let list = match messages.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let message = format!(
        "{} {} is invalid: {list}",
        qualified(group, kind),
        go_quote(name)
    );
    Status::new(Reason::Invalid, message).with_details(Details {
        name: name.into(),
        group: group.into(),
        kind: kind.into(),
        causes: errors.iter().map(FieldError::cause).collect(),
        ..Details::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_upstreams() {
        for (error, text) in [
            (
                FieldError::required("metadata.name", "name or generateName is required"),
                "metadata.name: Required value: name or generateName is required",
            ),
            (
                FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0"),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                FieldError::duplicate("spec.ports[1].name", "a\"b"),
                "spec.ports[1].name: Duplicate value: \"a\\\"b\"",
            ),
            (
                FieldError::not_supported("spec.type", "X", &["A", "B"]),
                "spec.type: Unsupported value: \"X\": supported values: \"A\", \"B\"",
            ),
            (
                FieldError::forbidden("data", "field is immutable when `immutable` is set"),
                "data: Forbidden: field is immutable when `immutable` is set",
            ),
            (
                FieldError::too_long("metadata.annotations", 262_144),
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            (
                FieldError::too_many("a", 4, 3),
                "a: Too many: 4: must have at most 3 items",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn invalid_lists_each_message_once() {
        let one = FieldError::required("a", "");
        let two = FieldError::required("b", "");
        let status = invalid_status("apps", "Deployment", "web", &[one.clone(), two, one]);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: [a: Required value, b: Required value]"
        );
        assert_eq!(status.details.unwrap().causes.len(), 3);
    }
}
