//! From an object's JSON tree to the bytes of its message.
//!
//! Fields are written in the order of their numbers, as Go does, and only those that the tree has: readers take an
//! absent field and a zero for the same, and pointers that nobody set stay unset. `apiVersion` and `kind` stand in the
//! envelope, other fields that the table does not know have no protobuf form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::table::{Content, Field, Label, Message};
use super::wire::Writer as _;
use super::{Error, special};

/// Appends the fields of a message.
pub(super) fn message(
    message: &'static Message,
    object: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    match object {
        Value::Object(object) => fields(message.fields(), object, out),
        Value::Null => Ok(()),
        other => Err(Error::new(format!("{} cannot be {other}", message.name))),
    }
}

fn fields(
    fields: &'static [Field],
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    for field in fields {
        if let Content::Inline(inner) = &field.content {
            inline(field.number, inner, object, out)?;
            continue;
        }
        match (field.label, object.get(field.name)) {
            (_, None | Some(Value::Null)) => {}
            (Label::One, Some(value)) => one(field, field.number, value, out)?,
            (Label::List, Some(Value::Array(items))) => {
                for item in items {
                    one(field, field.number, item, out)?;
                }
            }
            (Label::Map, Some(Value::Object(entries))) => {
                for (key, value) in entries {
                    out.try_delimited(field.number, |out| {
                        out.bytes(1, key.as_bytes());
                        one(field, 2, value, out)
                    })?;
                }
            }
            (_, Some(value)) => return Err(wrong(field, value)),
        }
    }
    Ok(())
}

/// A message that JSON has no name for; nothing when it would be empty.
fn inline(
    number: u32,
    inner: &'static [Field],
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let before = out.len();
    let mut is_empty = true;
    out.try_delimited(number, |out| {
        let start = out.len();
        fields(inner, object, out)?;
        is_empty = out.len() == start;
        Ok(())
    })?;
    if is_empty {
        out.truncate(before);
    }
    Ok(())
}

fn one(field: &'static Field, number: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    let wrong = || wrong(field, value);
    let int = || value.as_i64().ok_or_else(wrong);
    match &field.content {
        // Within a list or a map, where JSON shows nulls: Go's zero.
        Content::Bool | Content::Int32 | Content::Int64 if value.is_null() => out.varint(number, 0),
        Content::Double if value.is_null() => out.double(number, 0.0),
        _ if value.is_null() => out.bytes(number, b""),
        Content::String => out.bytes(number, value.as_str().ok_or_else(wrong)?.as_bytes()),
        Content::Bool => out.varint(number, value.as_bool().ok_or_else(wrong)?.into()),
        // Negative numbers take ten bytes on the wire, also those of 32 bits.
        Content::Int32 | Content::Int64 => out.varint(number, int()? as u64),
        Content::Double => out.double(number, value.as_f64().ok_or_else(wrong)?),
        Content::Bytes => {
            let text = value.as_str().ok_or_else(wrong)?;
            let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
            out.bytes(number, &bytes);
        }
        Content::Message(inner) => {
            out.try_delimited(number, |out| message(inner, value, out))?;
        }
        Content::Inline(_) => return Err(wrong()),
        content => special::write(content, number, field.name, value, out)?,
    }
    Ok(())
}

fn wrong(field: &Field, value: &Value) -> Error {
    Error::new(format!("{} cannot be {value}", field.name))
}
