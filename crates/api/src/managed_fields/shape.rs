//! How merges see a schema: what is a leaf, what tells list items apart, what a strategic merge does with a field.

use std::collections::BTreeMap;

use crate::schema::{ListKind, Merge, Schema};
use serde_json::Value;

use super::fieldset::Element;

/// A place in a schema. Nothing is known of places that the schema doesn't name: they are leaves.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    schema: Option<&'a Schema>,
    /// The field that led here makes its value one.
    is_atomic: bool,
}

impl<'a> Shape<'a> {
    /// The root of a kind's schema.
    pub fn of(schema: &'a Schema) -> Self {
        Self {
            schema: Some(schema.known()),
            is_atomic: false,
        }
    }

    const UNKNOWN: Self = Self {
        schema: None,
        is_atomic: false,
    };

    /// Whether `value` is one value here: a scalar, or a list or map that merges as a whole.
    pub(crate) fn is_leaf_for(self, value: &Value) -> bool {
        let granular = match (self.schema, value) {
            (Some(Schema::Object(object)), Value::Object(_) | Value::Null) => !object.atomic,
            (Some(Schema::Map(_) | Schema::Deduced), Value::Object(_) | Value::Null) => true,
            (Some(Schema::List(list)), Value::Array(_) | Value::Null) => {
                list.kind != ListKind::Atomic
            }
            _ => false,
        };
        !granular || self.is_atomic
    }

    /// A field of a struct, or an entry of a map.
    pub fn field(self, name: &str) -> Self {
        match self.schema {
            Some(Schema::Object(object)) => match object.fields.get(name) {
                Some(field) => Self {
                    schema: Some(field.schema.known()),
                    is_atomic: field.atomic,
                },
                None => object.rest.as_ref().map_or(Self::UNKNOWN, Self::of),
            },
            Some(Schema::Map(value)) => Self::of(value),
            Some(Schema::Deduced) => self,
            _ => Self::UNKNOWN,
        }
    }

    /// Whether this is a struct with that field.
    pub fn names(self, name: &str) -> bool {
        matches!(self.schema, Some(Schema::Object(object)) if object.fields.contains_key(name))
    }

    /// Whether an object that was just made has that field: structs by value, and what Go writes even when empty.
    pub(crate) fn is_born_with(self, name: &str) -> bool {
        matches!(self.schema, Some(Schema::Object(object))
            if object.fields.get(name).is_some_and(|field| field.by_value || field.required))
    }

    /// The items of a list.
    pub fn item(self) -> Self {
        self.schema
            .and_then(Schema::list)
            .map_or(Self::UNKNOWN, |list| Self::of(&list.item))
    }

    /// What a path element leads to.
    pub(crate) fn child(self, element: &Element) -> Self {
        match element.field_name() {
            Some(name) => self.field(name),
            None if element.is_key() => self.item(),
            None => Self::UNKNOWN,
        }
    }

    /// The path element of a list's item.
    pub(crate) fn element(self, item: &Value) -> Element {
        let list = self.schema.and_then(Schema::list);
        match list.map(|list| &list.kind) {
            Some(ListKind::Map(keys)) => Element::key(
                keys.iter()
                    .filter_map(|key| Some((key.name.to_string(), key.of(item)?.clone())))
                    .collect::<BTreeMap<_, _>>(),
            ),
            _ => Element::value(item),
        }
    }

    /// Whether a strategic merge replaces the map or struct here. None of our kinds' has such a map.
    pub fn patch_replaces(self) -> bool {
        matches!(self.schema, Some(Schema::Any))
    }

    /// Whether a strategic merge joins the list here.
    pub fn patch_merges(self) -> bool {
        self.schema
            .and_then(Schema::list)
            .is_some_and(|list| list.merge.is_some())
    }

    /// The field by which a strategic merge tells items apart; none for scalars.
    pub fn patch_merge_key(self) -> Option<&'a str> {
        match self.schema.and_then(Schema::list)?.merge? {
            Merge::Key(key) => Some(key),
            Merge::Set => None,
        }
    }
}
