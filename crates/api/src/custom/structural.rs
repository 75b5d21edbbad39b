//! Structural schemas: a definition's OpenAPI schema in the form that pruning, defaulting and validation read.
//!
//! After upstream's `apiextensions-apiserver/pkg/apiserver/schema`. What a schema may say is checked with the definition
//! (`kinds/custom_resource_definition/`); what breaks those rules is read here as if it were not there.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::schema::{Key, ListKind};

/// Fields that every object has, whatever its schema says.
pub(crate) const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The shape of one value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structural {
    /// `object`, `array`, `string`, ...; empty where an extension says more.
    pub(crate) kind: Box<str>,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) properties: BTreeMap<Box<str>, Structural>,
    pub(crate) additional: Option<Additional>,
    pub(crate) items: Option<Box<Structural>>,
    pub(crate) preserves_unknown: bool,
    pub(crate) is_embedded: bool,
    pub(crate) is_int_or_string: bool,
    /// How items are told apart; none is an atomic list.
    pub(crate) list: Option<ListKind>,
    pub(crate) is_atomic_map: bool,
    /// Constraints on the value.
    pub(crate) values: Option<Box<Values>>,
    /// `x-kubernetes-validations`, as they are written.
    pub(crate) rules: Option<Box<Value>>,
}

/// What entries beyond the properties may be.
#[derive(Debug, Clone)]
pub(crate) enum Additional {
    /// `true` or `false`.
    Any(bool),
    /// Of this schema.
    Of(Box<Structural>),
}

/// Constraints on a value that say nothing about its shape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) format: Option<Box<str>>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) pattern: Option<Regex>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) required: Vec<Box<str>>,
    pub(crate) values: Vec<Value>,
    pub(crate) all_of: Vec<Structural>,
    pub(crate) any_of: Vec<Structural>,
    pub(crate) one_of: Vec<Structural>,
    pub(crate) not: Option<Box<Structural>>,
}

impl Structural {
    /// Reads an `openAPIV3Schema`, or a part of one.
    pub(crate) fn of(schema: &Value) -> Self {
        let flag = |name: &str| schema[name].as_bool().unwrap_or_default();
        let properties = schema["properties"].as_object().into_iter().flatten();
        let additional = match &schema["additionalProperties"] {
            Value::Bool(allowed) => Some(Additional::Any(*allowed)),
            of @ Value::Object(_) => Some(Additional::Of(Box::new(Self::of(of)))),
            _ => None,
        };
        let items = &schema["items"];
        Self {
            kind: schema["type"].as_str().unwrap_or_default().into(),
            nullable: flag("nullable"),
            default: schema
                .get("default")
                .filter(|value| !value.is_null())
                .cloned(),
            properties: properties
                .map(|(name, of)| (name.as_str().into(), Self::of(of)))
                .collect(),
            additional,
            items: items.is_object().then(|| Box::new(Self::of(items))),
            preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            is_embedded: flag("x-kubernetes-embedded-resource"),
            is_int_or_string: flag("x-kubernetes-int-or-string"),
            list: list_kind(schema),
            is_atomic_map: schema["x-kubernetes-map-type"] == "atomic",
            values: Values::of(schema).map(Box::new),
            rules: schema
                .get("x-kubernetes-validations")
                .filter(|rules| rules.as_array().is_some_and(|rules| !rules.is_empty()))
                .map(|rules| Box::new(rules.clone())),
        }
    }

    /// Its type and the constraints on its own value alone, for who asks nothing of what is below.
    pub(crate) fn bounds_of(schema: &Value) -> Self {
        let count = |name: &str| schema[name].as_u64();
        let values = Values {
            max_items: count("maxItems"),
            max_properties: count("maxProperties"),
            ..Values::default()
        };
        Self {
            kind: schema["type"].as_str().unwrap_or_default().into(),
            values: Some(Box::new(values)),
            ..Self::default()
        }
    }

    /// The schema of an entry beyond the properties.
    pub(crate) fn additional_schema(&self) -> Option<&Self> {
        match &self.additional {
            Some(Additional::Of(of)) => Some(of),
            _ => None,
        }
    }

    /// The schema of a field, or of an entry of a map.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties
            .get(name)
            .or_else(|| self.additional_schema())
    }

    /// Whether this and all below it are without what `has` looks for.
    pub(crate) fn any(&self, has: &impl Fn(&Self) -> bool) -> bool {
        has(self)
            || self.properties.values().any(|of| of.any(has))
            || self.additional_schema().is_some_and(|of| of.any(has))
            || self.items.as_ref().is_some_and(|of| of.any(has))
    }
}

fn list_kind(schema: &Value) -> Option<ListKind> {
    match schema["x-kubernetes-list-type"].as_str()? {
        "set" => Some(ListKind::Set),
        "map" => {
            let names = schema["x-kubernetes-list-map-keys"].as_array();
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            let key = |name: &str| Key {
                name: name.into(),
                default: schema["items"]["properties"][name].get("default").cloned(),
            };
            Some(ListKind::Map(names.map(key).collect()))
        }
        _ => Some(ListKind::Atomic),
    }
}

impl Values {
    fn of(schema: &Value) -> Option<Self> {
        let number = |name: &str| schema[name].as_f64();
        let count = |name: &str| schema[name].as_u64();
        let flag = |name: &str| schema[name].as_bool().unwrap_or_default();
        let all = |name: &str| schema[name].as_array().map_or(&[][..], Vec::as_slice);
        let schemas = |name: &str| all(name).iter().map(Structural::of).collect();
        let text = |name: &str| schema[name].as_str().filter(|text| !text.is_empty());
        let required = all("required").iter().filter_map(Value::as_str);
        let values = Self {
            format: text("format").map(Into::into),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: number("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: text("pattern").and_then(|pattern| Regex::new(pattern).ok()),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: required.map(Into::into).collect(),
            values: all("enum").to_vec(),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: schema
                .get("not")
                .filter(|not| not.is_object())
                .map(|not| Box::new(Structural::of(not))),
        };
        (!values.is_empty()).then_some(values)
    }

    fn is_empty(&self) -> bool {
        let numbers = [self.maximum, self.minimum, self.multiple_of];
        let counts = [
            self.max_length,
            self.min_length,
            self.max_items,
            self.min_items,
            self.max_properties,
            self.min_properties,
        ];
        self.format.is_none()
            && self.pattern.is_none()
            && numbers.iter().all(Option::is_none)
            && counts.iter().all(Option::is_none)
            && self.required.is_empty()
            && self.values.is_empty()
            && self.not.is_none()
            && [&self.all_of, &self.any_of, &self.one_of]
                .iter()
                .all(|list| list.is_empty())
    }
}
