//! Types of expressions: what the checker infers, what a schema declares of a variable, and how cel-go spells them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Known at evaluation only.
    Dyn,
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// 64 bits, floating.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A moment.
    Timestamp,
    /// A span of time.
    Duration,
    /// A list.
    List(Arc<ListType>),
    /// A map: key, value.
    Map(Arc<(Type, Type)>),
    /// Known fields.
    Object(Arc<ObjectType>),
    /// A value or none.
    Optional(Arc<Type>),
    /// A type as a value.
    Type,
    /// A type of a library, by its full name.
    Opaque(&'static str),
    /// A parameter of a function's signature.
    Param(u8),
}

/// The type of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListType {
    /// Of the elements.
    pub element: Type,
    /// How lists of it are compared and joined.
    pub semantics: ListSemantics,
}

/// How two lists are compared and joined by `==` and `+` (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListSemantics {
    /// In order.
    #[default]
    Atomic,
    /// Without order.
    Set,
    /// Without order, elements by these keys.
    Map(Vec<String>),
}

/// The type of an object of a schema.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectType {
    /// As messages name it.
    pub name: String,
    /// By the name that expressions use.
    pub fields: BTreeMap<String, Field>,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in the data.
    pub json: String,
    /// Its type.
    pub value: Type,
}

/// Words that a field may be called but a name may not: they are written with two underscores before and behind.
const ESCAPED_WORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name by which expressions select a property, none if they can't.
pub fn escaped(property: &str) -> Option<String> {
    if ESCAPED_WORDS.contains(&property) {
        return Some(format!("__{property}__"));
    }
    let starts_well = property.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well && !property.starts_with(['-', '.', '/']) {
        return None;
    }
    let mut name = String::with_capacity(property.len());
    let mut rest = property;
    while let Some(c) = rest.chars().next() {
        let (text, length): (&str, usize) = match c {
            '_' if rest.starts_with("__") => ("__underscores__", 2),
            '.' => ("__dot__", 1),
            '-' => ("__dash__", 1),
            '/' => ("__slash__", 1),
            c if c.is_ascii_alphanumeric() || c == '_' => (&rest[..1], 1),
            _ => return None,
        };
        name.push_str(text);
        rest = &rest[length..];
    }
    Some(name)
}

impl Type {
    /// A list in order.
    pub fn list(element: Self) -> Self {
        Self::list_of(element, ListSemantics::Atomic)
    }

    /// A list with its semantics.
    pub fn list_of(element: Self, semantics: ListSemantics) -> Self {
        Self::List(Arc::new(ListType { element, semantics }))
    }

    /// A map.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// An optional.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// An object with these fields: property, type. Properties that no expression can name are left out.
    pub fn object(
        name: impl Into<String>,
        fields: impl IntoIterator<Item = (String, Self)>,
    ) -> Self {
        let fields = fields
            .into_iter()
            .filter_map(|(json, value)| Some((escaped(&json)?, Field { json, value })));
        Self::Object(Arc::new(ObjectType {
            name: name.into(),
            fields: fields.collect(),
        }))
    }

    /// Whether nothing is known before evaluation.
    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Param(_))
    }

    /// Whether a value of type `other` can stand where this one is asked for. Parameters are bound as they are met.
    pub(super) fn takes(&self, other: &Self, bound: &mut [Option<Self>; 2]) -> bool {
        match (self, other) {
            (Self::Param(i), other) => {
                let i = usize::from(*i);
                match bound[i].clone() {
                    None => bound[i] = Some(other.clone()),
                    Some(Self::Dyn) if !other.is_dyn() => bound[i] = Some(other.clone()),
                    Some(known) => return known.joins(other),
                }
                true
            }
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(a), Self::List(b)) => a.element.takes(&b.element, bound),
            (Self::Map(a), Self::Map(b)) => a.0.takes(&b.0, bound) && a.1.takes(&b.1, bound),
            (Self::Map(a), Self::Object(_)) => a.0.takes(&Self::String, bound),
            (Self::Optional(a), Self::Optional(b)) => a.takes(b, bound),
            (a, b) => a.joins(b),
        }
    }

    /// Whether the two can meet in one list or on both sides of `==`.
    pub(super) fn joins(&self, other: &Self) -> bool {
        match (self, other) {
            (a, b) if a.is_dyn() || b.is_dyn() => true,
            // A schema may call anything nullable.
            (Self::Null, _) | (_, Self::Null) => true,
            (Self::List(a), Self::List(b)) => a.element.joins(&b.element),
            (Self::Map(a), Self::Map(b)) => a.0.joins(&b.0) && a.1.joins(&b.1),
            (Self::Optional(a), Self::Optional(b)) => a.joins(b),
            (Self::Object(_), Self::Map(b)) | (Self::Map(b), Self::Object(_)) => {
                b.0.joins(&Self::String)
            }
            (a, b) => a == b,
        }
    }

    /// The type with its parameters replaced.
    pub(super) fn bound(&self, bound: &[Option<Self>; 2]) -> Self {
        match self {
            Self::Param(i) => bound[usize::from(*i)].clone().unwrap_or(Self::Dyn),
            Self::List(list) => Self::list(list.element.bound(bound)),
            Self::Map(map) => Self::map(map.0.bound(bound), map.1.bound(bound)),
            Self::Optional(value) => Self::optional(value.bound(bound)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(list) => write!(f, "list({})", list.element),
            Self::Map(map) => write!(f, "map({}, {})", map.0, map.1),
            Self::Object(object) => f.write_str(&object.name),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Type => f.write_str("type"),
            Self::Opaque(name) => f.write_str(name),
            Self::Param(i) => f.write_str(if *i == 0 { "A" } else { "B" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_escaped_as_upstream_does() {
        for (property, name) in [
            ("plain", Some("plain")),
            ("namespace", Some("__namespace__")),
            ("x-prop", Some("x__dash__prop")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("redact__d", Some("redact__underscores__d")),
            ("ünicode", None),
            ("1st", None),
        ] {
            assert_eq!(escaped(property).as_deref(), name, "{property}");
        }
    }
}
