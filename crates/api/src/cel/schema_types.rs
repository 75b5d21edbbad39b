//! From the shape of a built-in kind to the type that an expression sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::types::{Field, ObjectType, Type, escaped};
use crate::schema::{Object, Schema};

/// Structs in structs that are followed; what lies deeper, as in a kind that holds itself, is of any type.
const MAX_DEPTH: usize = 16;

/// The type of values of this shape.
pub fn type_of(schema: &Schema) -> Type {
    Types::default().of(schema, 0)
}

/// Structs that were met, so that each is made once.
#[derive(Default)]
struct Types(BTreeMap<Box<str>, Type>);

impl Types {
    fn of(&mut self, schema: &Schema, depth: usize) -> Type {
        match schema {
            Schema::Object(object) => self.object(object, depth),
            Schema::Map(value) => Type::map(Type::String, self.of(value, depth)),
            Schema::List(list) => Type::list(self.of(&list.item, depth)),
            Schema::String | Schema::Quantity => Type::String,
            Schema::Bool => Type::Bool,
            Schema::Int32 | Schema::Int64 => Type::Int,
            Schema::Double => Type::Double,
            Schema::Bytes => Type::Bytes,
            Schema::Time | Schema::MicroTime => Type::Timestamp,
            Schema::IntOrString
            | Schema::Any
            | Schema::Deduced
            | Schema::Later(_)
            | Schema::Either(_) => Type::Dyn,
        }
    }

    fn object(&mut self, object: &Object, depth: usize) -> Type {
        if let Some(known) = self.0.get(&object.definition) {
            return known.clone();
        }
        if depth >= MAX_DEPTH {
            return Type::Dyn;
        }
        let fields = object.fields.iter().filter_map(|(json, field)| {
            let value = self.of(&field.schema, depth + 1);
            let json = json.to_string();
            Some((escaped(&json)?, Field { json, value }))
        });
        let made = Type::Object(Arc::new(ObjectType {
            name: object.name.to_string(),
            fields: fields.collect(),
        }));
        self.0.insert(object.definition.clone(), made.clone());
        made
    }
}
