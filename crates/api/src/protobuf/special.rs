//! Messages whose JSON is not an object of their fields: quantities, times, integers or text, raw JSON, and the unions
//! in schemas of custom resources.

use kontiki_base::limits::NESTING_DEPTH;
use serde_json::Value;

use super::decode::{Decoder, deeper};
use super::table::{self, Content};
use super::wire::{Reader, Writer as _};
use super::{Error, duration, encode, timestamp};

/// Kinds of an `IntOrString`.
const INT: u64 = 0;
const STRING: u64 = 1;

/// Reads one, of a field named `name`.
pub(super) fn read(
    decoder: &mut Decoder,
    content: &Content,
    name: &str,
    bytes: &[u8],
    depth: usize,
) -> Result<Value, Error> {
    match content {
        Content::Quantity => quantity(bytes),
        Content::IntOrString => int_or_string(bytes),
        Content::Time => timestamp::decode(bytes, timestamp::Precision::Seconds),
        Content::MicroTime => timestamp::decode(bytes, timestamp::Precision::Micros),
        Content::Duration => duration::decode(bytes),
        Content::Json => json(bytes, name, depth),
        Content::Items => items(decoder, bytes),
        Content::SchemaOrBool | Content::SchemaOrArray | Content::SchemaOrStrings => {
            read_schema_or(decoder, content, bytes, depth)
        }
        _ => Err(Error::new(format!("{name} is no message"))),
    }
}

fn quantity(bytes: &[u8]) -> Result<Value, Error> {
    let mut text = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        if number == 1 {
            text = raw.text("string")?;
        }
    }
    Ok(if text.is_empty() { "0" } else { &text }.into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut kind, mut int, mut text) = (INT, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        match number {
            1 => kind = raw.varint("type")?,
            2 => int = raw.varint("intVal")? as i32,
            3 => text = raw.text("strVal")?,
            _ => {}
        }
    }
    match kind {
        INT => Ok(int.into()),
        STRING => Ok(text.into()),
        _ => Err(Error::new("impossible IntOrString.Type")),
    }
}

fn json(bytes: &[u8], name: &str, depth: usize) -> Result<Value, Error> {
    let mut text: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        if number == 1 {
            text = raw.bytes("raw")?;
        }
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let value = serde_json::from_slice(text)
        .map_err(|error| Error::new(format!("{name} holds no JSON: {error}")))?;
    if is_deeper(&value, deeper(depth)?) {
        return Err(Error::new(format!("nested deeper than {NESTING_DEPTH}")));
    }
    Ok(value)
}

fn is_deeper(value: &Value, depth: usize) -> bool {
    let inner = |value: &Value| depth == 0 || is_deeper(value, depth - 1);
    match value {
        Value::Array(items) => items.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}

fn items(decoder: &mut Decoder, bytes: &[u8]) -> Result<Value, Error> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        if number == 1 {
            decoder.count()?;
            items.push(raw.text("items")?.into());
        }
    }
    Ok(Value::Array(items))
}

/// A schema, or what stands in its place: `allows` in field 1 before the schema in 2, or the schema before a list.
fn read_schema_or(
    decoder: &mut Decoder,
    content: &Content,
    bytes: &[u8],
    depth: usize,
) -> Result<Value, Error> {
    let (mut schema, mut allows, mut others) = (None, false, Vec::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        match (content, number) {
            (Content::SchemaOrBool, 1) => allows = raw.varint("allows")? != 0,
            (Content::SchemaOrBool, 2) | (_, 1) => {
                let bytes = raw.bytes("schema")?;
                schema = Some(decoder.value(table::json_schema_props(), bytes, depth)?);
            }
            (Content::SchemaOrArray, 2) => {
                let bytes = raw.bytes("jSONSchemas")?;
                let depth = deeper(depth)?;
                others.push(decoder.value(table::json_schema_props(), bytes, depth)?);
            }
            (Content::SchemaOrStrings, 2) => {
                decoder.count()?;
                others.push(raw.text("property")?.into());
            }
            _ => {}
        }
    }
    Ok(match (content, schema) {
        (Content::SchemaOrBool, None) => allows.into(),
        (Content::SchemaOrBool, Some(schema)) => schema,
        // As Go writes them: the list, where there is one.
        (_, schema) if others.is_empty() => schema.unwrap_or_default(),
        _ => others.into(),
    })
}

/// Appends one as field `number`, of a field named `name`.
pub(super) fn write(
    content: &Content,
    number: u32,
    name: &str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let wrong = || Error::new(format!("{name} cannot be {value}"));
    match content {
        Content::Quantity => {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            out.delimited(number, |out| out.bytes(1, text.as_bytes()));
        }
        Content::IntOrString => {
            let int = value.as_i64().unwrap_or_default();
            let text = value.as_str();
            if text.is_none() && !value.is_i64() {
                return Err(wrong());
            }
            out.delimited(number, |out| {
                out.varint(1, if text.is_some() { STRING } else { INT });
                out.varint(2, int as u64);
                out.bytes(3, text.unwrap_or_default().as_bytes());
            });
        }
        Content::Time | Content::MicroTime => {
            let stamp = timestamp::parse(value.as_str().ok_or_else(wrong)?)?;
            out.delimited(number, |out| stamp.write(content, out));
        }
        Content::Duration => {
            let nanos = duration::parse(value.as_str().ok_or_else(wrong)?).ok_or_else(wrong)?;
            out.delimited(number, |out| out.varint(1, nanos as u64));
        }
        Content::Json => {
            let text = value.to_string();
            out.delimited(number, |out| out.bytes(1, text.as_bytes()));
        }
        Content::Items => {
            let items = value.as_array().ok_or_else(wrong)?;
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let texts = texts.ok_or_else(wrong)?;
            out.delimited(number, |out| {
                for text in texts {
                    out.bytes(1, text.as_bytes());
                }
            });
        }
        Content::SchemaOrBool | Content::SchemaOrArray | Content::SchemaOrStrings => {
            out.try_delimited(number, |out| write_schema_or(content, name, value, out))?;
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

fn write_schema_or(
    content: &Content,
    name: &str,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let wrong = || Error::new(format!("{name} cannot be {value}"));
    let schema = table::json_schema_props();
    match (content, value) {
        (Content::SchemaOrBool, Value::Bool(allows)) => out.varint(1, u64::from(*allows)),
        (Content::SchemaOrBool, Value::Object(_)) => {
            out.varint(1, 1);
            out.try_delimited(2, |out| encode::message(schema, value, out))?;
        }
        (_, Value::Object(_)) => out.try_delimited(1, |out| encode::message(schema, value, out))?,
        (Content::SchemaOrArray, Value::Array(schemas)) => {
            for one in schemas {
                out.try_delimited(2, |out| encode::message(schema, one, out))?;
            }
        }
        (Content::SchemaOrStrings, Value::Array(properties)) => {
            for property in properties {
                out.bytes(2, property.as_str().ok_or_else(wrong)?.as_bytes());
            }
        }
        _ => return Err(wrong()),
    }
    Ok(())
}
