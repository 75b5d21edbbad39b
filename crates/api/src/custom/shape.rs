//! From a structural schema to the shape that managed fields and server-side apply walk along.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::structural::{Additional, Structural};
use crate::kinds;
use crate::schema::{Field, List, ListKind, Object, Schema};

/// The shape of a resource: its own schema, and the metadata that every object has.
pub(crate) fn of_resource(schema: &Structural, kind: &str, definition: &str) -> Schema {
    let mut fields = fields(schema);
    add_meta(&mut fields);
    object(schema, kind, definition, fields)
}

/// The shape of `metadata`.
pub(crate) fn metadata() -> Schema {
    let any = kinds::config_map::KIND.schema();
    any.field("metadata").cloned().unwrap_or(Schema::Any)
}

fn add_meta(fields: &mut BTreeMap<Box<str>, Field>) {
    for (name, schema) in [
        ("apiVersion", Schema::String),
        ("kind", Schema::String),
        ("metadata", metadata()),
    ] {
        fields.insert(name.into(), field(schema, false));
    }
}

fn field(schema: Schema, atomic: bool) -> Field {
    Field {
        schema,
        required: false,
        by_value: false,
        retain_keys: false,
        atomic,
    }
}

fn fields(schema: &Structural) -> BTreeMap<Box<str>, Field> {
    let fields = schema.properties.iter();
    fields
        .map(|(name, of)| (name.clone(), field(shape(of), of.is_atomic_map)))
        .collect()
}

fn object(
    schema: &Structural,
    name: &str,
    definition: &str,
    fields: BTreeMap<Box<str>, Field>,
) -> Schema {
    let rest = match &schema.additional {
        Some(Additional::Of(of)) => Some(shape(of)),
        Some(Additional::Any(true)) => Some(Schema::Deduced),
        _ => schema.preserves_unknown.then_some(Schema::Deduced),
    };
    Schema::Object(Arc::new(Object {
        name: name.into(),
        definition: definition.into(),
        fields,
        atomic: schema.is_atomic_map,
        rest,
    }))
}

fn shape(schema: &Structural) -> Schema {
    if schema.is_int_or_string {
        return Schema::IntOrString;
    }
    match &*schema.kind {
        "object" if schema.is_embedded => {
            let mut fields = fields(schema);
            add_meta(&mut fields);
            object(schema, "", "", fields)
        }
        "object" if schema.properties.is_empty() => match &schema.additional {
            Some(Additional::Of(of)) => Schema::Map(Arc::new(shape(of))),
            Some(Additional::Any(true)) => Schema::Map(Arc::new(Schema::Deduced)),
            _ if schema.preserves_unknown => Schema::Deduced,
            _ => object(schema, "", "", BTreeMap::new()),
        },
        "object" => object(schema, "", "", fields(schema)),
        "array" => Schema::List(Arc::new(List {
            item: schema.items.as_deref().map_or(Schema::Deduced, shape),
            kind: schema.list.clone().unwrap_or(ListKind::Atomic),
            merge: None,
        })),
        "string" => Schema::String,
        "integer" => Schema::Int64,
        "number" => Schema::Double,
        "boolean" => Schema::Bool,
        _ => Schema::Deduced,
    }
}
