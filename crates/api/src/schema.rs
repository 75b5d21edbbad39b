//! The shape of each kind, compiled once from k8s-openapi's generated JSON schemas and upstream's list and merge rules.
//!
//! Read by: strict decoding (`check`), strategic merge and server-side apply (apiserver), OpenAPI. Kept small, since
//! every replica holds it: no descriptions, shared definitions, no schemars tree.

use std::collections::BTreeMap;
use std::sync::Arc;

mod check;
pub(crate) mod compile;
mod duplicates;
mod rules;

pub use check::{Checked, Error, check};
pub use compile::compile;

pub use duplicates::duplicates;
pub use rules::{Rule, is_atomic, key_default, rule};

/// The shape of one value.
#[derive(Debug, Clone)]
pub enum Schema {
    /// A struct with known fields.
    Object(Arc<Object>),
    /// A map from any string.
    Map(Arc<Schema>),
    /// A list.
    List(Arc<List>),
    /// Text.
    String,
    /// True or false.
    Bool,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Floating point.
    Double,
    /// Base64 text.
    Bytes,
    /// Integer or text.
    IntOrString,
    /// A `resource.Quantity`.
    Quantity,
    /// RFC 3339, seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// Anything (raw extension, fieldsV1).
    Any,
}

/// A struct.
#[derive(Debug)]
pub struct Object {
    /// Go type name, such as `DeploymentSpec`.
    pub name: Box<str>,
    /// Full definition name, such as `io.k8s.api.apps.v1.DeploymentSpec`.
    pub definition: Box<str>,
    /// Fields by JSON name.
    pub fields: BTreeMap<Box<str>, Field>,
    /// Whether it is one value to server-side apply (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its shape.
    pub schema: Schema,
    /// Whether Go writes it even when empty.
    pub required: bool,
    /// Whether it is a struct that Go holds by value: an object that was just made has it already.
    pub by_value: bool,
    /// Strategic merge: `retainKeys` among the field's patch strategies.
    pub retain_keys: bool,
    /// Whether a map or struct at this field is one value to server-side apply.
    pub atomic: bool,
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// Shape of its items.
    pub item: Schema,
    /// How server-side apply tells items apart.
    pub kind: ListKind,
    /// Strategic merge: `None` replaces the list.
    pub merge: Option<Merge>,
}

/// How server-side apply tells items apart (`x-kubernetes-list-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// One value.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects with these key fields.
    Map(&'static [&'static str]),
}

/// How strategic merge joins lists (`patchStrategy: merge`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// By value: scalars.
    Set,
    /// By this key field.
    Key(&'static str),
}

impl Schema {
    /// The field of a struct, or the value of a map.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match self {
            Self::Object(object) => object.fields.get(name).map(|field| &field.schema),
            Self::Map(value) => Some(value),
            _ => None,
        }
    }

    /// The shape at a path of field names; lists are stepped into with `[]`.
    pub fn at(&self, path: &[&str]) -> Option<&Schema> {
        path.iter()
            .try_fold(self, |schema, step| match (schema, *step) {
                (Self::List(list), "[]") => Some(&list.item),
                (schema, step) => schema.field(step),
            })
    }

    /// The list, if it is one.
    pub fn list(&self) -> Option<&List> {
        if let Self::List(list) = self {
            Some(list)
        } else {
            None
        }
    }
}

/// What strict decoding says of unknown and duplicate fields, duplicates first.
pub fn strict_messages(unknown: &[String], duplicate: &[String]) -> Vec<String> {
    let duplicate = duplicate
        .iter()
        .map(|path| format!("duplicate field \"{path}\""));
    let unknown = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""));
    duplicate.chain(unknown).collect()
}
