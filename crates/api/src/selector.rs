//! Selectors: by labels (query strings and `LabelSelector` objects) and by fields.
//!
//! Not here: which fields a kind can be selected by (`Kind::can_select`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

mod field;
mod label;
mod lexer;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Operator, Requirement, validate};

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Anything that has labels or fields by name.
pub trait Lookup {
    /// The value of `key`.
    fn lookup(&self, key: &str) -> Option<&str>;
}

impl Lookup for BTreeMap<String, String> {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<T: Lookup> Lookup for Option<T> {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.as_ref()?.lookup(key)
    }
}

impl<T: Lookup + ?Sized> Lookup for &T {
    fn lookup(&self, key: &str) -> Option<&str> {
        (**self).lookup(key)
    }
}

impl Lookup for [(Arc<str>, Arc<str>)] {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| &**known == key)
            .map(|(_, value)| &**value)
    }
}

impl Lookup for Vec<(Arc<str>, Arc<str>)> {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.as_slice().lookup(key)
    }
}

impl Lookup for [(&str, &str)] {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
    }
}

/// A JSON object of strings, such as `metadata.labels`.
impl Lookup for Value {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}
