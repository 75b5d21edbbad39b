//! `Invalid` (422) for request options: upstream validates them like objects of the group `meta.k8s.io`.

use kontiki_base::status::{Cause, Details, Reason, Status};

/// Collects what is wrong with one set of options.
pub struct Invalid {
    kind: &'static str,
    causes: Vec<Cause>,
}

impl Invalid {
    /// For options of a kind, such as `ListOptions`.
    pub const fn of(kind: &'static str) -> Self {
        Self {
            kind,
            causes: Vec::new(),
        }
    }

    /// Notes a cause.
    pub fn push(&mut self, cause: Cause) {
        self.causes.push(cause);
    }

    /// The refusal, if there was a cause.
    pub fn finish(self) -> Result<(), Status> {
        if self.causes.is_empty() {
            return Ok(());
        }
        let causes: Vec<String> = self
            .causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let causes = match causes.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{}.meta.k8s.io \"\" is invalid: {causes}", self.kind);
        Err(Status::new(Reason::Invalid, message).with_details(Details {
            group: "meta.k8s.io".into(),
            kind: self.kind.into(),
            causes: self.causes,
            ..Details::default()
        }))
    }
}

/// The field may not be there.
pub fn forbidden(field: &str, why: &str) -> Cause {
    cause("FieldValueForbidden", field, format!("Forbidden: {why}"))
}

/// The field must be there.
pub fn required(field: &str, why: &str) -> Cause {
    cause(
        "FieldValueRequired",
        field,
        format!("Required value: {why}"),
    )
}

/// The value is not one of those known.
pub fn not_supported(field: &str, value: &str, supported: &[&str]) -> Cause {
    let supported: Vec<String> = supported.iter().map(|value| quoted(value)).collect();
    let values = supported.join(", ");
    let message = format!(
        "Unsupported value: {}: supported values: {values}",
        quoted(value)
    );
    cause("FieldValueNotSupported", field, message)
}

/// The value is malformed.
pub fn invalid(field: &str, value: &str, why: &str) -> Cause {
    cause(
        "FieldValueInvalid",
        field,
        format!("Invalid value: {}: {why}", quoted(value)),
    )
}

/// The value is too long.
pub fn too_long(field: &str, why: &str) -> Cause {
    cause("FieldValueTooLong", field, format!("Too long: {why}"))
}

/// A value in quotes, escaped.
pub fn quoted(value: &str) -> String {
    format!("{value:?}")
}

fn cause(reason: &str, field: &str, message: String) -> Cause {
    Cause {
        reason: reason.into(),
        message,
        field: field.into(),
    }
}
