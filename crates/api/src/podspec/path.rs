//! Where in an object a rule looks, and the list of what it found.
//!
//! A path is a chain of borrowed steps: valid objects, the usual case, allocate nothing for it.

use std::fmt;

use serde_json::Value;

use crate::field_error::FieldError;

/// A field's place, such as `spec.containers[0].name`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A path's first step.
    pub const fn root(field: &'a str) -> Self {
        Self {
            parent: None,
            step: Step::Field(field),
        }
    }

    /// A field below; dots in `field` are steps, as with several arguments of upstream's `Child`.
    pub const fn child(&'a self, field: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Field(field),
        }
    }

    /// An item of this list.
    pub const fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// An entry of this map.
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(field) if self.parent.is_some() => write!(f, ".{field}"),
            Step::Field(field) => f.write_str(field),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// What validation found, in the order of finding, which is upstream's.
#[derive(Debug, Default)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// A needed field is absent.
    pub fn required(&mut self, at: Path<'_>, detail: impl Into<String>) {
        self.0
            .push(FieldError::required(at.to_string(), detail.into()));
    }

    /// A value breaks a rule.
    pub fn invalid(&mut self, at: Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.0.push(FieldError::invalid(
            at.to_string(),
            value.into(),
            detail.into(),
        ));
    }

    /// A rule of a whole part is broken, which the message does not show.
    pub fn invalid_without_value(&mut self, at: Path<'_>, detail: impl Into<String>) {
        let mut error = FieldError::invalid(at.to_string(), (), detail);
        error.bad_value = None;
        self.0.push(error);
    }

    /// A value may not stand here.
    pub fn forbidden(&mut self, at: Path<'_>, detail: impl Into<String>) {
        self.0
            .push(FieldError::forbidden(at.to_string(), detail.into()));
    }

    /// A value stands twice.
    pub fn duplicate(&mut self, at: Path<'_>, value: impl Into<Value>) {
        self.0
            .push(FieldError::duplicate(at.to_string(), value.into()));
    }

    /// A reference leads nowhere.
    pub fn not_found(&mut self, at: Path<'_>, value: impl Into<Value>) {
        self.0
            .push(FieldError::not_found(at.to_string(), value.into()));
    }

    /// A value is none of those known.
    pub fn not_supported(&mut self, at: Path<'_>, value: impl Into<Value>, supported: &[&str]) {
        self.0.push(FieldError::not_supported(
            at.to_string(),
            value.into(),
            supported,
        ));
    }

    /// A text is longer than `max` bytes.
    pub fn too_long(&mut self, at: Path<'_>, max: usize) {
        self.0.push(FieldError::too_long(at.to_string(), max));
    }

    /// A list has more than `max` items.
    pub fn too_many(&mut self, at: Path<'_>, actual: usize, max: usize) {
        self.0
            .push(FieldError::too_many(at.to_string(), actual, max));
    }

    /// `value` breaks each rule of `messages`.
    pub fn invalid_each(&mut self, at: Path<'_>, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(at, value, message);
        }
    }

    /// A number must not be negative.
    pub fn nonnegative(&mut self, at: Path<'_>, value: impl Into<i64>) {
        let value = value.into();
        if value < 0 {
            self.invalid(at, value, "must be greater than or equal to 0");
        }
    }

    /// An optional number must not be negative.
    pub fn nonnegative_if<N: Into<i64>>(&mut self, at: Path<'_>, value: Option<N>) {
        if let Some(value) = value {
            self.nonnegative(at, value);
        }
    }

    /// A word must be one of `supported`; an empty one is a missing one.
    pub fn one_of(&mut self, at: Path<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(at, "");
        } else if !supported.contains(&value) {
            self.not_supported(at, value, supported);
        }
    }

    /// As [`Errors::one_of`], for a word that may be absent.
    pub fn one_of_if(&mut self, at: Path<'_>, value: Option<&str>, supported: &[&str]) {
        if let Some(value) = value
            && !supported.contains(&value)
        {
            self.not_supported(at, value, supported);
        }
    }

    /// A part of an object must not change.
    pub fn immutable<T: PartialEq + serde::Serialize>(&mut self, at: Path<'_>, new: &T, old: &T) {
        if new != old {
            self.invalid(at, to_value(new), "field is immutable");
        }
    }
}

/// The JSON form of a typed value, for messages.
pub fn to_value<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// What an optional field holds, absence being the empty value, as in Go's structs.
pub trait Given {
    /// The borrowed form.
    type Target: ?Sized;
    /// The value or an empty one.
    fn given(&self) -> &Self::Target;
}

impl Given for Option<String> {
    type Target = str;
    fn given(&self) -> &str {
        self.as_deref().unwrap_or_default()
    }
}

impl<T> Given for Option<Vec<T>> {
    type Target = [T];
    fn given(&self) -> &[T] {
        self.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_upstreams() {
        let spec = Path::root("spec");
        let list = spec.child("containers");
        let item = list.index(2);
        let resources = item.child("resources.limits");
        assert_eq!(
            resources.key("cpu").to_string(),
            "spec.containers[2].resources.limits[cpu]"
        );
    }
}
