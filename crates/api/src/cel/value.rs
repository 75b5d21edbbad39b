//! Values while an expression is evaluated. JSON is borrowed and looked into as far as the expression goes; nothing is
//! converted before.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use super::authorizer::Authz;
use super::error::EvalError;
use super::formats::Format;
use super::types::{ListType, ObjectType, Type};
use crate::quantity::Quantity;
use crate::semver::Version;

mod compare;
mod json;
mod text;

pub use text::Text;

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// `1`.
    Int(i64),
    /// `1u`.
    Uint(u64),
    /// `1.0`.
    Double(f64),
    /// `'text'`.
    String(Text<'a>),
    /// `b'bytes'`.
    Bytes(Arc<[u8]>),
    /// A moment.
    Timestamp(DateTime<Utc>),
    /// A span of time.
    Duration(TimeDelta),
    /// A list.
    List(List<'a>),
    /// A map, or an object.
    Map(Map<'a>),
    /// A value or none.
    Optional(Option<Arc<Value<'a>>>),
    /// A type by its name.
    Type(Arc<str>),
    /// A URL.
    Url(Arc<url::Url>),
    /// An address.
    Ip(IpAddr),
    /// A network.
    Cidr(Cidr),
    /// A quantity.
    Quantity(Quantity),
    /// A version.
    Semver(Arc<Version>),
    /// A named format.
    Format(&'static Format),
    /// The authorizer, a check of it, a decision.
    Authz(Authz<'a>),
}

/// A network: an address with bits beyond the prefix kept, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
}

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Made by the expression.
    Made(Arc<Vec<Value<'a>>>),
    /// Of the data, with what its schema says.
    Json(&'a [Json], Option<&'a ListType>),
}

/// A map.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Made by the expression: keys in the order of their making.
    Made(Arc<Vec<(Value<'a>, Value<'a>)>>),
    /// Of the data, without a schema or with the type of all its values.
    Json(&'a serde_json::Map<String, Json>, &'a Type),
    /// Of the data, an object of a schema.
    Object(&'a serde_json::Map<String, Json>, &'a ObjectType),
}

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::String(text.into())
    }

    /// A list.
    pub fn list(elements: Vec<Self>) -> Self {
        Self::List(List::Made(Arc::new(elements)))
    }

    /// A map.
    pub fn map(entries: Vec<(Self, Self)>) -> Self {
        Self::Map(Map::Made(Arc::new(entries)))
    }

    /// An optional that holds a value.
    pub fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// An optional from an option.
    pub fn optional(value: Option<Self>) -> Self {
        Self::Optional(value.map(Arc::new))
    }

    /// The name of its type, as `type(x)` tells.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authz(authz) => authz.type_name(),
        }
    }

    /// Whether it may stand where a signature asks for `wanted`.
    pub(super) fn is(&self, wanted: &Type) -> bool {
        match (wanted, self) {
            (Type::Dyn | Type::Param(_), _)
            | (Type::Null, Self::Null)
            | (Type::Bool, Self::Bool(_))
            | (Type::Int, Self::Int(_))
            | (Type::Uint, Self::Uint(_))
            | (Type::Double, Self::Double(_))
            | (Type::String, Self::String(_))
            | (Type::Bytes, Self::Bytes(_))
            | (Type::Timestamp, Self::Timestamp(_))
            | (Type::Duration, Self::Duration(_))
            | (Type::List(_), Self::List(_))
            | (Type::Map(_) | Type::Object(_), Self::Map(_))
            | (Type::Optional(_), Self::Optional(_))
            | (Type::Type, Self::Type(_)) => true,
            (Type::Opaque(name), value) => *name == value.type_name(),
            _ => false,
        }
    }

    /// Its size as the cost of working on it counts it.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::String(text) => text.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            _ => 1,
        }
    }
}

impl<'a> List<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Made(elements) => elements.len(),
            Self::Json(elements, _) => elements.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One element.
    pub fn get(&self, i: usize) -> Option<Value<'a>> {
        match self {
            Self::Made(elements) => elements.get(i).cloned(),
            Self::Json(elements, of) => {
                let of = of.map_or(&Type::Dyn, |of| &of.element);
                elements.get(i).map(|element| Value::of(element, of))
            }
        }
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    pub(super) fn schema(&self) -> Option<&'a ListType> {
        match self {
            Self::Made(_) => None,
            Self::Json(_, of) => *of,
        }
    }
}

impl<'a> Map<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Made(entries) => entries.len(),
            Self::Json(object, _) => object.len(),
            Self::Object(object, of) => {
                let fields = of.fields.values();
                fields
                    .filter(|field| object.contains_key(&field.json))
                    .count()
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub(super) fn get(
        &self,
        key: &Value<'_>,
        budget: &mut super::Budget,
    ) -> Result<Option<Value<'a>>, EvalError> {
        let name = match (self, key) {
            (Self::Made(entries), key) => {
                for (known, value) in entries.iter() {
                    if known.equals(key, budget)? {
                        return Ok(Some(value.clone()));
                    }
                }
                return Ok(None);
            }
            (_, Value::String(name)) => name,
            _ => return Ok(None),
        };
        Ok(match self {
            Self::Made(_) => None,
            Self::Json(object, of) => object.get(name.as_str()).map(|value| Value::of(value, of)),
            Self::Object(object, of) => {
                let field = of.fields.get(name.as_str());
                field.and_then(|field| Value::field(object, field))
            }
        })
    }

    /// All entries.
    pub fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Self::Made(entries) => entries.as_ref().clone(),
            Self::Json(object, of) => {
                let entries = object.iter();
                entries
                    .map(|(key, value)| (Value::text(key.as_str()), Value::of(value, of)))
                    .collect()
            }
            Self::Object(object, of) => {
                let fields = of.fields.iter();
                fields
                    .filter_map(|(name, field)| {
                        let value = Value::field(object, field)?;
                        Some((Value::text(name.as_str()), value))
                    })
                    .collect()
            }
        }
    }
}
