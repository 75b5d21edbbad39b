//! The shape of each kind, compiled once from k8s-openapi's generated JSON schemas and upstream's list and merge rules.
//!
//! Read by: strict decoding (`check`), strategic merge and server-side apply (apiserver), OpenAPI. Kept small, since
//! every replica holds it: no descriptions, shared definitions, no schemars tree.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

mod check;
pub(crate) mod compile;
mod duplicates;
mod rules;

pub use check::{Checked, Error, check};
pub use compile::compile;

pub use duplicates::duplicates;
pub use rules::{ListRule, Rule, is_atomic, rule};

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
    /// Anything, a map being one of anything: what no schema names of a custom object.
    Deduced,
    /// A struct that contains itself (`JSONSchemaProps`).
    Later(Later),
    /// That struct, or anything that is no object.
    Either(Later),
}

/// A schema that is known once the one that holds it is.
#[derive(Clone, Default)]
pub struct Later(Arc<OnceLock<Schema>>);

impl Later {
    fn get(&self) -> &Schema {
        self.0.get().unwrap_or(&Schema::Any)
    }
}

// Not derived: it would never end.
impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
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
    /// What fields beyond those may be; none where there are no others.
    pub rest: Option<Schema>,
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
#[derive(Debug, Clone, PartialEq)]
pub enum ListKind {
    /// One value.
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects with these key fields.
    Map(Arc<[Key]>),
}

/// A field by which items of a list are told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: Box<str>,
    /// What it is when it is left out.
    pub default: Option<Value>,
}

impl Key {
    /// The field of an item, or what it is when it is left out.
    pub fn of<'a>(&'a self, item: &'a Value) -> Option<&'a Value> {
        let given = item.get(&*self.name).filter(|value| !value.is_null());
        given.or(self.default.as_ref())
    }
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
    /// Itself, or what it became known as.
    pub fn known(&self) -> &Self {
        match self {
            Self::Later(later) | Self::Either(later) => later.get(),
            known => known,
        }
    }

    /// The field of a struct, or the value of a map.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match self.known() {
            Self::Object(object) => (object.fields.get(name))
                .map(|field| &field.schema)
                .or(object.rest.as_ref()),
            Self::Map(value) => Some(value),
            Self::Deduced => Some(self),
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
