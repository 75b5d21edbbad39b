//! From JSON and back.

use chrono::{DateTime, Utc};
use serde_json::{Number, Value as Json};

use super::{List, Map, Value};
use crate::cel::functions::time::parse_duration;
use crate::cel::types::{Field, Type};

static DYN: Type = Type::Dyn;

impl<'a> Value<'a> {
    /// A value of the data, with nothing known of its schema.
    pub fn json(json: &'a Json) -> Self {
        Self::of(json, &DYN)
    }

    /// A value of the data as its schema types it. What does not fit stays what it is.
    pub fn of(json: &'a Json, of: &'a Type) -> Self {
        match (json, of) {
            (Json::Null, _) => Self::Null,
            (Json::Bool(value), _) => Self::Bool(*value),
            (Json::Number(number), of) => numeric(number, of),
            (Json::String(text), of) => textual(text, of),
            (Json::Array(elements), Type::List(of)) => Self::List(List::Json(elements, Some(of))),
            (Json::Array(elements), _) => Self::List(List::Json(elements, None)),
            (Json::Object(object), Type::Object(of)) => Self::Map(Map::Object(object, of)),
            (Json::Object(object), Type::Map(of)) => Self::Map(Map::Json(object, &of.1)),
            (Json::Object(object), _) => Self::Map(Map::Json(object, &DYN)),
        }
    }

    /// A field that is there.
    pub(super) fn field(
        object: &'a serde_json::Map<String, Json>,
        field: &'a Field,
    ) -> Option<Self> {
        let value = object.get(&field.json)?;
        Some(Self::of(value, &field.value))
    }

    /// As JSON; none if it has no such form.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => Json::Number(Number::from_f64(*value)?),
            Self::String(text) => Json::from(text.as_str()),
            Self::List(list) => {
                let elements: Option<Vec<Json>> =
                    list.iter().map(|value| value.to_json()).collect();
                Json::Array(elements?)
            }
            Self::Map(map) => {
                let mut object = serde_json::Map::new();
                for (key, value) in map.entries() {
                    let Self::String(key) = key else { return None };
                    object.insert(key.to_string(), value.to_json()?);
                }
                Json::Object(object)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            _ => return None,
        })
    }
}

fn numeric<'a>(number: &Number, of: &Type) -> Value<'a> {
    let double = || Value::Double(number.as_f64().unwrap_or(f64::NAN));
    match (of, number.as_i64()) {
        (Type::Double, _) | (_, None) => double(),
        (_, Some(value)) => Value::Int(value),
    }
}

fn textual<'a>(text: &'a str, of: &Type) -> Value<'a> {
    match of {
        Type::Timestamp => {
            let parsed = DateTime::parse_from_rfc3339(text);
            parsed.map_or_else(
                |_| Value::text(text),
                |at| Value::Timestamp(at.with_timezone(&Utc)),
            )
        }
        Type::Duration => parse_duration(text).map_or_else(|| Value::text(text), Value::Duration),
        Type::Bytes => {
            use base64::Engine as _;
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map_or_else(|_| Value::text(text), |bytes| Value::Bytes(bytes.into()))
        }
        _ => Value::text(text),
    }
}
