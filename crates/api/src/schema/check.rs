//! Decoding as Go would: type errors, unknown fields, nulls, and the spelling of times and quantities.
//!
//! After `check` a value deserializes into its k8s-openapi struct. Not here: rules of values (`Kind::validate`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::jiff::{Timestamp, fmt::strtime};
use serde_json::{Map, Value};

use super::{Object, Schema};
use crate::field_error::go_quote;
use crate::quantity::Quantity;

/// Unknown field paths kept for one object; more are dropped silently, as they tell nothing new.
const MAX_UNKNOWN: usize = 100;

/// A value that does not fit the schema, worded as Go's decoder does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// What decoding found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Paths of unknown fields, all pruned, such as `spec.containers[0].imagee`.
    pub unknown: Vec<String>,
}

/// Checks types, prunes unknown fields and nulls, writes times and quantities in Go's spelling.
pub fn check(schema: &Schema, value: &mut Value) -> Result<Checked, Error> {
    let mut walk = Walk {
        checked: Checked::default(),
        path: Vec::new(),
        owner: None,
    };
    if value.is_null() {
        *value = zero(schema);
    }
    walk.value(schema, value)?;
    Ok(walk.checked)
}

enum Step<'a> {
    Field(&'a str),
    /// A key of a map, which Go's messages leave out.
    Key(String),
    Index(usize),
}

struct Walk<'a> {
    checked: Checked,
    path: Vec<Step<'a>>,
    /// The struct that holds the value at hand.
    owner: Option<&'a str>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, schema: &'a Schema, value: &mut Value) -> Result<(), Error> {
        match (schema, &mut *value) {
            (Schema::Any | Schema::Deduced, _)
            | (Schema::String, Value::String(_))
            | (Schema::Bool, Value::Bool(_))
            | (Schema::Double, Value::Number(_)) => Ok(()),
            (Schema::Either(_), value) if !value.is_object() => Ok(()),
            (Schema::Later(_) | Schema::Either(_), value) => self.value(schema.known(), value),
            (Schema::Object(object), Value::Object(fields)) => self.object(object, fields),
            (Schema::Map(item), Value::Object(entries)) => self.map(item, entries),
            (Schema::List(list), Value::Array(items)) => self.list(&list.item, items),
            (Schema::Int64 | Schema::Int32, Value::Number(number)) => {
                let range = if matches!(schema, Schema::Int32) {
                    i64::from(i32::MIN)..=i64::from(i32::MAX)
                } else {
                    i64::MIN..=i64::MAX
                };
                match number
                    .as_i64()
                    .is_some_and(|number| range.contains(&number))
                {
                    true => Ok(()),
                    false => Err(self.mismatch(schema, &format!("number {number}"))),
                }
            }
            (Schema::IntOrString, Value::String(_)) => Ok(()),
            (Schema::IntOrString, value) => {
                let fits = value
                    .as_i64()
                    .is_some_and(|number| i32::try_from(number).is_ok());
                let word = match &*value {
                    Value::Number(number) => format!("number {number}"),
                    value => json_word(value).to_owned(),
                };
                let message = || {
                    Error(format!(
                        "json: cannot unmarshal {word} into Go value of type int32"
                    ))
                };
                fits.then_some(()).ok_or_else(message)
            }
            (Schema::Quantity, value) => quantity(value),
            (Schema::Time, value) => time(value, "%Y-%m-%dT%H:%M:%SZ"),
            (Schema::MicroTime, value) => time(value, "%Y-%m-%dT%H:%M:%S%.6fZ"),
            (Schema::Bytes, Value::String(text)) => bytes(text),
            (schema, value) => Err(self.mismatch(schema, json_word(value))),
        }
    }

    fn object(&mut self, object: &'a Object, fields: &mut Map<String, Value>) -> Result<(), Error> {
        let owner = self.owner.replace(&object.name);
        let known = |field: &str| object.fields.contains_key(field);
        let unknown = fields.keys().filter(|field| !known(field));
        let room = MAX_UNKNOWN.saturating_sub(self.checked.unknown.len());
        let unknown: Vec<String> = unknown.take(room).map(|field| self.join(field)).collect();
        self.checked.unknown.extend(unknown);
        fields.retain(|field, value| known(field) && !value.is_null());
        for (name, value) in fields.iter_mut() {
            let Some((name, field)) = object.fields.get_key_value(name.as_str()) else {
                continue;
            };
            self.path.push(Step::Field(name));
            self.value(&field.schema, value)?;
            self.path.pop();
        }
        self.owner = owner;
        Ok(())
    }

    fn map(&mut self, item: &'a Schema, entries: &mut Map<String, Value>) -> Result<(), Error> {
        for (key, value) in entries.iter_mut() {
            if value.is_null() {
                *value = zero(item);
            }
            self.path.push(Step::Key(key.clone()));
            self.value(item, value)?;
            self.path.pop();
        }
        Ok(())
    }

    fn list(&mut self, item: &'a Schema, items: &mut [Value]) -> Result<(), Error> {
        for (idx, value) in items.iter_mut().enumerate() {
            if value.is_null() {
                *value = zero(item);
            }
            self.path.push(Step::Index(idx));
            self.value(item, value)?;
            self.path.pop();
        }
        Ok(())
    }

    /// The path of `field` below here, as strict decoding prints it.
    fn join(&self, field: &str) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Index(idx) => path.push_str(&format!("[{idx}]")),
                Step::Field(name) => push_dotted(&mut path, name),
                Step::Key(name) => push_dotted(&mut path, name),
            }
        }
        push_dotted(&mut path, field);
        shortened(path)
    }

    fn mismatch(&self, schema: &Schema, word: &str) -> Error {
        let go_type = go_type(schema);
        let mut path = String::new();
        for step in &self.path {
            if let Step::Field(name) = step {
                push_dotted(&mut path, name);
            }
        }
        Error(match self.owner {
            Some(owner) => format!(
                "json: cannot unmarshal {word} into Go struct field {owner}.{path} of type {go_type}"
            ),
            None => format!("json: cannot unmarshal {word} into Go value of type {go_type}"),
        })
    }
}

/// So many bytes of an unknown field's path are told: no more than was sent.
const PATH_BYTES: usize = 1024;

fn shortened(mut path: String) -> String {
    if path.len() > PATH_BYTES {
        path.truncate(path.floor_char_boundary(PATH_BYTES));
        path.push_str("...");
    }
    path
}

fn push_dotted(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn json_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The Go type as messages name it.
fn go_type(schema: &Schema) -> String {
    match schema {
        Schema::Object(object) => {
            let package = object.definition.rsplit('.').nth(1).unwrap_or("v1");
            format!("{package}.{}", object.name)
        }
        Schema::Map(item) => format!("map[string]{}", go_type(item)),
        Schema::List(list) => format!("[]{}", go_type(&list.item)),
        Schema::String => "string".into(),
        Schema::Bool => "bool".into(),
        Schema::Int32 => "int32".into(),
        Schema::Int64 => "int64".into(),
        Schema::Double => "float64".into(),
        Schema::Bytes => "[]uint8".into(),
        Schema::IntOrString => "intstr.IntOrString".into(),
        Schema::Quantity => "resource.Quantity".into(),
        Schema::Time => "v1.Time".into(),
        Schema::MicroTime => "v1.MicroTime".into(),
        Schema::Any | Schema::Deduced => "interface {}".into(),
        Schema::Later(later) | Schema::Either(later) => go_type(later.get()),
    }
}

/// What Go has where JSON has null inside a list or map.
fn zero(schema: &Schema) -> Value {
    match schema {
        Schema::Object(_) | Schema::Map(_) | Schema::Later(_) => Value::Object(Map::new()),
        Schema::List(_) => Value::Array(Vec::new()),
        Schema::String | Schema::Bytes => "".into(),
        Schema::Bool => false.into(),
        Schema::Int32 | Schema::Int64 | Schema::Double | Schema::IntOrString => 0.into(),
        Schema::Quantity => "0".into(),
        Schema::Time | Schema::MicroTime | Schema::Any | Schema::Deduced | Schema::Either(_) => {
            Value::Null
        }
    }
}

fn quantity(value: &mut Value) -> Result<(), Error> {
    let text = match &*value {
        Value::Null => return Ok(()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.parse::<Quantity>()
        .map_err(|error| Error(error.to_string()))?;
    *value = text.into();
    Ok(())
}

fn time(value: &mut Value, format: &str) -> Result<(), Error> {
    let Value::String(text) = &*value else {
        let word = json_word(value);
        return Err(Error(format!(
            "json: cannot unmarshal {word} into Go value of type string"
        )));
    };
    let wrong = || {
        let text = go_quote(text);
        Error(format!(
            "parsing time {text} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text} as \"2006\""
        ))
    };
    // The plain date forms that jiff also takes are none of RFC 3339.
    if text.len() < "2006-01-02T15:04:05Z".len() || text.as_bytes()[10] != b'T' {
        return Err(wrong());
    }
    let timestamp: Timestamp = text.parse().map_err(|_| wrong())?;
    *value = strtime::format(format, timestamp)
        .map_err(|_| wrong())?
        .into();
    Ok(())
}

/// Go's decoder skips line breaks in base64.
fn bytes(text: &mut String) -> Result<(), Error> {
    if text.contains(['\n', '\r']) {
        text.retain(|c| c != '\n' && c != '\r');
    }
    let error = match STANDARD.decode(text.as_bytes()) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let offset = match error {
        base64::DecodeError::InvalidByte(offset, _)
        | base64::DecodeError::InvalidLastSymbol(offset, _) => offset,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
            text.len() / 4 * 4
        }
    };
    Err(Error(format!("illegal base64 data at input byte {offset}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::by_resource;
    use serde_json::json;

    fn checked(resource: &str, mut value: Value) -> (Result<Checked, Error>, Value) {
        let result = check(by_resource(resource).unwrap().schema(), &mut value);
        (result, value)
    }

    #[test]
    fn type_errors_are_gos() {
        for (resource, value, message) in [
            (
                "deployments.apps",
                json!({"spec": {"replicas": "3"}}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of \
              type int32",
            ),
            (
                "deployments.apps",
                json!({"spec": {"replicas": 1.5}}),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas \
              of type int32",
            ),
            (
                "pods",
                json!({"spec": {"containers": {}}}),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type \
              []v1.Container",
            ),
            (
                "pods",
                json!({"spec": {"containers": [{"name": 1}]}}),
                "json: cannot unmarshal number into Go struct field Container.spec.containers.name of \
              type string",
            ),
            (
                "configmaps",
                json!({"data": {"a": true}}),
                "json: cannot unmarshal bool into Go struct field ConfigMap.data of type string",
            ),
            (
                "secrets",
                json!({"data": {"a": "*"}}),
                "illegal base64 data at input byte 0",
            ),
            (
                "pods",
                json!([]),
                "json: cannot unmarshal array into Go value of type v1.Pod",
            ),
        ] {
            assert_eq!(checked(resource, value).0.unwrap_err().0, message);
        }
    }

    #[test]
    fn unknown_fields_are_named_and_pruned_and_nulls_go() {
        let (result, value) = checked(
            "pods",
            json!({"bogus": 1, "metadata": {"name": "a",
            "labels": null}, "spec": {"nodeName": null, "containers": [{"name": "a", "imagee": "x"}]}}),
        );
        assert_eq!(
            result.unwrap().unknown,
            ["bogus", "spec.containers[0].imagee"]
        );
        assert_eq!(
            value,
            json!({"metadata": {"name": "a"},
            "spec": {"containers": [{"name": "a"}]}})
        );
    }

    #[test]
    fn times_and_quantities_are_spelled_as_go_does() {
        let (result, value) = checked(
            "leases.coordination.k8s.io",
            json!({
            "metadata": {"creationTimestamp": "2026-01-02T04:00:45+01:00"},
            "spec": {"renewTime": "2026-01-02T03:00:45Z"}}),
        );
        result.unwrap();
        assert_eq!(
            value["metadata"]["creationTimestamp"],
            "2026-01-02T03:00:45Z"
        );
        assert_eq!(value["spec"]["renewTime"], "2026-01-02T03:00:45.000000Z");
        let limits = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 2}}}]}});
        let (result, value) = checked("pods", limits);
        result.unwrap();
        assert_eq!(
            value["spec"]["containers"][0]["resources"]["limits"]["cpu"],
            "2"
        );
    }
}
