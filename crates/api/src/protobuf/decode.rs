//! From a message's bytes to the JSON tree that Go would write of it.
//!
//! Fields that the table does not know are skipped. A zero that Go's JSON leaves out is left out here too, so that all
//! that follows (strict checks, defaults, managed fields) sees what it sees of a JSON body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki_base::limits::REQUEST_BYTES;
use serde_json::{Map, Number, Value};

use super::table::{Content, Field, Label, Message};
use super::wire::{Raw, Reader};
use super::{Error, special};

/// Values of one tree. Fewer bytes make a value here than in JSON (a packed number takes one): no more than the
/// largest JSON body could hold.
const MAX_VALUES: usize = REQUEST_BYTES / 2;

/// Reads one object.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    n_values: usize,
}

impl Decoder {
    /// Adds a message's fields to `into`. A message that comes in several parts is their sum, as the format has it.
    pub fn message(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        self.fields(message.fields(), bytes, depth, into)
    }

    /// A message that is a value of its own.
    pub fn value(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, Error> {
        let mut fields = Map::new();
        self.message(message, bytes, deeper(depth)?, &mut fields)?;
        Ok(fields.into())
    }

    fn fields(
        &mut self,
        fields: &'static [Field],
        bytes: &[u8],
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.next()? {
            let known = fields.binary_search_by_key(&number, |field| field.number);
            let Ok(at) = known else {
                continue;
            };
            let field = &fields[at];
            match field.label {
                Label::One => self.one(field, raw, depth, into)?,
                Label::List => self.list(field, raw, depth, into)?,
                Label::Map => self.entry(field, raw, depth, into)?,
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        field: &'static Field,
        raw: Raw<'_>,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        match field.content {
            Content::Inline(ref fields) => {
                return self.fields(fields, raw.bytes("inlined")?, depth, into);
            }
            Content::Message(message) => {
                let bytes = raw.bytes(field.name)?;
                self.count()?;
                if let Value::Object(fields) = slot(into, field.name, || Map::new().into()) {
                    self.message(message, bytes, deeper(depth)?, fields)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let value = self.content(field, raw, depth)?;
        if value.is_null() || (!field.keeps_zero && is_zero(&field.content, &value)) {
            into.remove(field.name);
        } else {
            into.insert(field.name.to_owned(), value);
        }
        Ok(())
    }

    fn list(
        &mut self,
        field: &'static Field,
        raw: Raw<'_>,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let depth = deeper(depth)?;
        let Value::Array(items) = slot(into, field.name, || Value::Array(Vec::new())) else {
            return Ok(());
        };
        let packed = match raw {
            Raw::Bytes(bytes) if is_packable(&field.content) => bytes,
            _ => {
                items.push(self.content(field, raw, depth)?);
                return Ok(());
            }
        };
        let mut packed = Reader::new(packed);
        while !packed.is_empty() {
            let raw = match field.content {
                Content::Double => Raw::Fixed64(u64::from_le_bytes(packed.fixed()?)),
                _ => Raw::Varint(packed.varint()?),
            };
            items.push(self.content(field, raw, depth)?);
        }
        Ok(())
    }

    /// A map's entry: a message of its own, with the key in field 1 and the value in field 2. Either may be left out.
    fn entry(
        &mut self,
        field: &'static Field,
        raw: Raw<'_>,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let depth = deeper(depth)?;
        let (mut key, mut value) = (String::new(), None);
        let mut entry = Reader::new(raw.bytes(field.name)?);
        while let Some((number, raw)) = entry.next()? {
            match number {
                1 => key = raw.text(field.name)?,
                2 => value = Some(raw),
                _ => {}
            }
        }
        let value = match value {
            Some(raw) => self.content(field, raw, depth)?,
            None => self.content(field, empty(&field.content), depth)?,
        };
        if let Value::Object(entries) = slot(into, field.name, || Map::new().into()) {
            entries.insert(key, value);
        }
        Ok(())
    }

    /// One value of a field. Null is what Go's JSON shows as null.
    fn content(
        &mut self,
        field: &'static Field,
        raw: Raw<'_>,
        depth: usize,
    ) -> Result<Value, Error> {
        self.count()?;
        let name = field.name;
        Ok(match field.content {
            Content::String => raw.text(name)?.into(),
            Content::Bool => (raw.varint(name)? != 0).into(),
            // Go cuts what does not fit.
            Content::Int32 => (raw.varint(name)? as i32).into(),
            Content::Int64 => (raw.varint(name)? as i64).into(),
            Content::Double => number(raw.double(name)?, name)?,
            Content::Bytes => STANDARD.encode(raw.bytes(name)?).into(),
            Content::Message(message) => self.value(message, raw.bytes(name)?, depth)?,
            Content::Inline(_) => return Err(Error::new("an inlined message in a list")),
            ref other => special::read(self, other, name, raw.bytes(name)?, depth)?,
        })
    }

    /// Counts a value.
    pub fn count(&mut self) -> Result<(), Error> {
        self.n_values += 1;
        if self.n_values > MAX_VALUES {
            return Err(Error::new(format!("more than {MAX_VALUES} values")));
        }
        Ok(())
    }
}

/// A field's value, made when it is first met.
fn slot<'a>(
    into: &'a mut Map<String, Value>,
    name: &str,
    make: impl FnOnce() -> Value,
) -> &'a mut Value {
    if !into.contains_key(name) {
        into.insert(name.to_owned(), make());
    }
    &mut into[name]
}

/// One level less to go.
pub(super) fn deeper(depth: usize) -> Result<usize, Error> {
    depth.checked_sub(1).ok_or_else(|| {
        let limit = kontiki_base::limits::NESTING_DEPTH;
        Error::new(format!("nested deeper than {limit}"))
    })
}

fn is_packable(content: &Content) -> bool {
    matches!(
        content,
        Content::Bool | Content::Int32 | Content::Int64 | Content::Double
    )
}

fn is_zero(content: &Content, value: &Value) -> bool {
    match content {
        Content::String | Content::Bytes => value == "",
        Content::Bool => value == false,
        Content::Int32 | Content::Int64 => value == 0,
        Content::Double => value.as_f64() == Some(0.0),
        _ => false,
    }
}

/// What a missing value of a map's entry reads from.
fn empty(content: &Content) -> Raw<'static> {
    match content {
        Content::Bool | Content::Int32 | Content::Int64 => Raw::Varint(0),
        Content::Double => Raw::Fixed64(0),
        _ => Raw::Bytes(&[]),
    }
}

/// A floating-point number as Go's JSON spells it: without a fraction where there is none.
fn number(value: f64, name: &str) -> Result<Value, Error> {
    /// Beyond this not every integer has a floating-point number.
    const EXACT: f64 = (1_u64 << 53) as f64;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Ok((value as i64).into());
    }
    let number = Number::from_f64(value);
    number
        .map(Value::Number)
        .ok_or_else(|| Error::new(format!("{name}: {value} has no form in JSON")))
}
