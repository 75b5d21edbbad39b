//! From schemars' JSON schemas to the compact `Schema`.
//!
//! The generated tree is dropped at the end; structs that several kinds share (`PodSpec`, `ObjectMeta`) are compiled
//! once for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::rules::{ListRule, Rule, is_atomic, is_by_value, key_default, rule};
use super::{Field, Key, Later, List, ListKind, Object, Schema};
use crate::kind::BuiltIn;

type Objects = BTreeMap<String, Arc<Object>>;

/// Structs by definition, shared by all kinds.
static OBJECTS: Mutex<Objects> = Mutex::new(BTreeMap::new());

/// Where schemars puts definitions.
const DEFS: &str = "#/$defs/";

/// The root schema and all definitions of a kind, as schemars generates them.
pub(crate) fn generate(kind: &BuiltIn) -> (Value, Map<String, Value>) {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let root = (kind.definition)(&mut generator);
    let definitions = generator.take_definitions(false);
    (root.to_value(), definitions)
}

/// Compiles the schema of a kind. Costly: `Kind::schema` keeps the result.
pub fn compile(kind: &BuiltIn) -> Schema {
    let (root, definitions) = generate(kind);
    let mut objects = OBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut compiler = Compiler {
        definitions: &definitions,
        objects: &mut objects,
        begun: BTreeMap::new(),
    };
    compiler.schema(&root, super::rules::DEFAULT)
}

/// The definition that a `$ref` names.
pub(crate) fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(DEFS)
}

struct Compiler<'a> {
    definitions: &'a Map<String, Value>,
    objects: &'a mut Objects,
    /// Definitions that are being compiled: they may contain themselves.
    begun: BTreeMap<String, Later>,
}

impl Compiler<'_> {
    fn schema(&mut self, schema: &Value, rule: Rule) -> Schema {
        if let Some(definition) = reference(schema) {
            return self.definition(definition);
        }
        let text = |field: &str| {
            schema
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match (text("type"), text("format")) {
            ("string", "byte") => Schema::Bytes,
            ("string", _) => Schema::String,
            ("boolean", _) => Schema::Bool,
            ("integer", "int32") => Schema::Int32,
            ("integer", _) => Schema::Int64,
            ("number", _) => Schema::Double,
            ("array", _) => {
                let item = schema
                    .get("items")
                    .map_or(Schema::Any, |item| self.item(item));
                Schema::List(Arc::new(List {
                    item,
                    kind: list_kind(rule.list),
                    merge: rule.merge,
                }))
            }
            ("object", _) => match schema.get("additionalProperties") {
                Some(value @ Value::Object(_)) => Schema::Map(Arc::new(self.item(value))),
                _ => Schema::Any,
            },
            _ => Schema::Any,
        }
    }

    fn item(&mut self, schema: &Value) -> Schema {
        self.schema(schema, super::rules::DEFAULT)
    }

    fn definition(&mut self, definition: &str) -> Schema {
        let name = definition.rsplit('.').next().unwrap_or(definition);
        match name {
            "Quantity" => return Schema::Quantity,
            "IntOrString" => return Schema::IntOrString,
            "Time" => return Schema::Time,
            "MicroTime" => return Schema::MicroTime,
            "FieldsV1" | "RawExtension" | "JSON" | "JSONSchemaPropsOrStringArray" => {
                return Schema::Any;
            }
            "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" => {
                let own = definition
                    .trim_end_matches("OrArray")
                    .trim_end_matches("OrBool");
                return (self.begun.get(own).cloned()).map_or(Schema::Any, Schema::Either);
            }
            _ => {}
        }
        if let Some(later) = self.begun.get(definition) {
            return Schema::Later(later.clone());
        }
        if let Some(object) = self.objects.get(definition) {
            return Schema::Object(Arc::clone(object));
        }
        let Some(schema) = self.definitions.get(definition) else {
            return Schema::Any;
        };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return self.schema_or_empty(schema, definition, name);
        };
        let later = Later::default();
        self.begun.insert(definition.to_owned(), later.clone());
        let required = schema.get("required").and_then(Value::as_array);
        let is_required =
            |field: &str| required.is_some_and(|list| list.iter().any(|name| name == field));
        let fields = properties.iter().map(|(field, schema)| {
            let rule = rule(definition, field);
            let compiled = Field {
                schema: self.schema(schema, rule),
                required: is_required(field),
                by_value: is_by_value(definition, field),
                retain_keys: rule.retain_keys,
                atomic: rule.atomic,
            };
            (field.as_str().into(), compiled)
        });
        let fields = fields.collect();
        let object = self.object(definition, name, fields);
        self.begun.remove(definition);
        // Set once: a definition is compiled once.
        let _ = later.0.set(object.clone());
        object
    }

    /// A definition without properties: a struct without fields, or an alias.
    fn schema_or_empty(&mut self, schema: &Value, definition: &str, name: &str) -> Schema {
        let is_object = schema.get("type").and_then(Value::as_str) == Some("object");
        if is_object && schema.get("additionalProperties").is_none() {
            return self.object(definition, name, BTreeMap::new());
        }
        self.item(schema)
    }

    fn object(
        &mut self,
        definition: &str,
        name: &str,
        fields: BTreeMap<Box<str>, Field>,
    ) -> Schema {
        let object = Arc::new(Object {
            name: name.into(),
            definition: definition.into(),
            fields,
            atomic: is_atomic(definition),
            rest: None,
        });
        self.objects
            .insert(definition.to_owned(), Arc::clone(&object));
        Schema::Object(object)
    }
}

fn list_kind(rule: ListRule) -> ListKind {
    let key = |name: &&str| Key {
        name: (*name).into(),
        default: key_default(name).map(Value::from),
    };
    match rule {
        ListRule::Atomic => ListKind::Atomic,
        ListRule::Set => ListKind::Set,
        ListRule::Map(keys) => ListKind::Map(keys.iter().map(key).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Merge;
    use super::*;
    use crate::kinds::{KINDS, by_resource};

    #[test]
    fn every_kind_compiles_to_a_struct_with_metadata() {
        for kind in KINDS {
            let Schema::Object(object) = kind.schema() else {
                panic!("{kind:?}")
            };
            assert_eq!(&*object.name, kind.kind());
            assert!(object.fields.contains_key("metadata"), "{kind:?}");
        }
    }

    #[test]
    fn lists_carry_upstreams_rules() {
        let schema = by_resource("deployments.apps").unwrap().schema();
        let at = |path: &[&str]| schema.at(path).unwrap().list().unwrap();
        let containers = at(&["spec", "template", "spec", "containers"]);
        assert_eq!(containers.kind, list_kind(ListRule::Map(&["name"])));
        assert_eq!(containers.merge, Some(Merge::Key("name")));
        let command = at(&["spec", "template", "spec", "containers", "[]", "command"]);
        assert_eq!((&command.kind, command.merge), (&ListKind::Atomic, None));
        assert_eq!(at(&["metadata", "finalizers"]).kind, ListKind::Set);
        let Some(Schema::Object(spec)) = schema.at(&["spec"]) else {
            panic!()
        };
        assert!(spec.fields["strategy"].retain_keys);
        let Some(Schema::Object(selector)) = schema.at(&["spec", "selector"]) else {
            panic!()
        };
        assert!(selector.atomic);
    }

    #[test]
    fn every_rule_names_a_field_that_exists() {
        for kind in KINDS {
            kind.schema();
        }
        let objects = OBJECTS.lock().unwrap();
        for (definition, field) in super::super::rules::all() {
            let object = objects
                .get(&definition)
                .unwrap_or_else(|| panic!("no {definition}"));
            assert!(object.fields.contains_key(field), "{definition}.{field}");
        }
    }
}
