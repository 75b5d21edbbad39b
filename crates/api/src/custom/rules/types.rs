//! The CEL type of a value of a schema (upstream's `apiserver/pkg/cel/common`).

use crate::cel::{ListSemantics, Type};
use crate::custom::structural::{Additional, Structural};
use crate::schema::ListKind;

/// The type of a value; a resource has the fields of every object too.
pub(super) fn type_of(schema: &Structural, is_resource: bool) -> Type {
    if schema.is_int_or_string {
        return Type::Dyn;
    }
    match &*schema.kind {
        "array" => {
            let item = schema.items.as_deref();
            let item = item.map_or(Type::Dyn, |of| type_of(of, of.is_embedded));
            Type::list_of(item, semantics(schema))
        }
        "object" => match &schema.additional {
            Some(Additional::Of(of)) if schema.properties.is_empty() => {
                Type::map(Type::String, type_of(of, of.is_embedded))
            }
            Some(Additional::Any(true)) if schema.properties.is_empty() => {
                Type::map(Type::String, Type::Dyn)
            }
            _ if schema.properties.is_empty() && schema.preserves_unknown && !is_resource => {
                Type::Dyn
            }
            _ => object(schema, is_resource),
        },
        "integer" => Type::Int,
        "number" => Type::Double,
        "boolean" => Type::Bool,
        "string" => match schema
            .values
            .as_ref()
            .and_then(|values| values.format.as_deref())
        {
            Some("date" | "date-time") => Type::Timestamp,
            Some("duration") => Type::Duration,
            Some("byte") => Type::Bytes,
            _ => Type::String,
        },
        _ => Type::Dyn,
    }
}

fn object(schema: &Structural, is_resource: bool) -> Type {
    let own = schema.properties.iter();
    let own = own.filter(|(name, _)| !(is_resource && is_meta(name)));
    let mut fields: Vec<(String, Type)> = own
        .map(|(name, of)| (name.to_string(), type_of(of, of.is_embedded)))
        .collect();
    if is_resource {
        let metadata = ["name", "generateName"].map(|name| (name.to_owned(), Type::String));
        fields.push(("apiVersion".to_owned(), Type::String));
        fields.push(("kind".to_owned(), Type::String));
        fields.push(("metadata".to_owned(), Type::object("object", metadata)));
    }
    Type::object("object", fields)
}

fn is_meta(name: &str) -> bool {
    super::super::structural::META_FIELDS.contains(&name)
}

fn semantics(schema: &Structural) -> ListSemantics {
    match &schema.list {
        Some(ListKind::Set) => ListSemantics::Set,
        Some(ListKind::Map(keys)) => {
            let keys = keys.iter().map(|key| key.name.to_string());
            ListSemantics::Map(keys.collect())
        }
        _ => ListSemantics::Atomic,
    }
}
