//! Kubernetes' protobuf (`application/vnd.kubernetes.protobuf`): objects between JSON trees and the bytes that client-go
//! and kubectl send for every built-in kind.
//!
//! One transcoder for all kinds, driven by a table of facts (`messages.txt`, read by `table`): a kind that joins `KINDS`
//! needs nothing here. Custom resources have no protobuf form, as upstream. Not here: HTTP, streams of frames (gateway).

use kontiki_base::limits::NESTING_DEPTH;
use serde_json::{Map, Value};

mod decode;
mod duration;
mod encode;
mod special;
mod table;
#[cfg(test)]
mod tests;
mod timestamp;
mod wire;

use decode::Decoder;
use table::Message;
use wire::{Reader, Writer as _};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What stands before every object that tells its own type.
const MAGIC: &[u8; 4] = b"k8s\0";

/// Field numbers of the envelope (`runtime.Unknown`) and of the type in it.
const TYPE_META: u32 = 1;
const RAW: u32 = 2;
const CONTENT_ENCODING: u32 = 3;
const CONTENT_TYPE: u32 = 4;
const API_VERSION: u32 = 1;
const KIND: u32 = 2;

/// Field numbers of every list; a test holds all kinds to them.
const LIST_METADATA: u32 = 1;
const LIST_ITEMS: u32 = 2;

/// Field numbers of `WatchEvent`, and of the `RawExtension` in it.
const EVENT_TYPE: u32 = 1;
const EVENT_OBJECT: u32 = 2;
const EXTENSION_RAW: u32 = 1;

/// Bytes that are no object, or a tree that has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Error {
    /// `apiVersion` and `kind`, where the bytes told them before they went wrong.
    pub told: Option<(String, String)>,
    /// What is wrong, in the words of Go's decoder.
    pub why: String,
}

impl Error {
    fn new(why: impl Into<String>) -> Self {
        Self {
            told: None,
            why: why.into(),
        }
    }
}

/// Whether objects of this type have a protobuf form.
pub fn knows(api_version: &str, kind: &str) -> bool {
    table::root(api_version, kind).is_some()
}

/// Reads an object in its envelope; `default` is the (`apiVersion`, `kind`) of one that does not tell its own.
pub fn decode(bytes: &[u8], default: (&str, &str)) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Err(Error::new("empty data"));
    }
    let Some(bytes) = bytes.strip_prefix(MAGIC) else {
        return Err(Error::new(format!(
            "provided data does not appear to be a protobuf message, expected prefix {}",
            go_bytes(MAGIC)
        )));
    };
    if bytes.is_empty() {
        return Err(Error::new("empty body"));
    }
    let (mut api_version, mut kind, raw) = open(bytes)?;
    if kind.is_empty() {
        default.1.clone_into(&mut kind);
    }
    if api_version.is_empty() {
        default.0.clone_into(&mut api_version);
    }
    let object = object(&api_version, &kind, raw).map_err(|error| Error {
        told: Some((api_version.clone(), kind.clone())),
        ..error
    })?;
    Ok(object)
}

fn object(api_version: &str, kind: &str, raw: &[u8]) -> Result<Value, Error> {
    let message = table::root(api_version, kind).ok_or_else(|| {
        Error::new(format!(
            "no kind \"{kind}\" is registered for version \"{api_version}\""
        ))
    })?;
    let mut fields = Map::new();
    fields.insert("apiVersion".into(), api_version.into());
    fields.insert("kind".into(), kind.into());
    Decoder::default().message(message, raw, NESTING_DEPTH, &mut fields)?;
    Ok(fields.into())
}

/// `apiVersion`, `kind` and the object's own bytes.
fn open(bytes: &[u8]) -> Result<(String, String, &[u8]), Error> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut object: &[u8] = &[];
    let mut envelope = Reader::new(bytes);
    while let Some((number, raw)) = envelope.next()? {
        match number {
            TYPE_META => {
                let mut type_meta = Reader::new(raw.bytes("typeMeta")?);
                while let Some((number, raw)) = type_meta.next()? {
                    match number {
                        API_VERSION => api_version = raw.text("apiVersion")?,
                        KIND => kind = raw.text("kind")?,
                        _ => {}
                    }
                }
            }
            RAW => object = raw.bytes("raw")?,
            // Upstream reads an object's bytes as they are, whatever these two say.
            CONTENT_ENCODING | CONTENT_TYPE => drop(raw.bytes("contentType")?),
            _ => {}
        }
    }
    Ok((api_version, kind, object))
}

/// Bytes as Go's `%v` prints them.
fn go_bytes(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", bytes.join(" "))
}

/// Writes an object in its envelope.
pub fn encode(object: &Value) -> Result<Vec<u8>, Error> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let form = Form::of(text("apiVersion"), text("kind"))?;
    let mut raw = Vec::new();
    form.write(object, &mut raw)?;
    let mut out = Vec::with_capacity(raw.len() + 64);
    form.write_head(raw.len(), &mut out);
    out.extend_from_slice(&raw);
    write_tail(&mut out);
    Ok(out)
}

/// The protobuf form of one type, for writing it piece by piece.
#[derive(Debug, Clone)]
pub struct Form {
    api_version: String,
    kind: String,
    message: &'static Message,
}

impl Form {
    /// Of a type; an error names one that has none.
    pub fn of(api_version: &str, kind: &str) -> Result<Self, Error> {
        let message = table::root(api_version, kind).ok_or_else(|| {
            Error::new(format!(
                "object {kind} in version \"{api_version}\" does not implement the protobuf marshalling interface and \
                 cannot be encoded to a protobuf message"
            ))
        })?;
        Ok(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            message,
        })
    }

    /// Appends the object's own bytes, without the envelope.
    fn write(&self, object: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
        encode::message(self.message, object, out)
    }

    /// Appends the envelope up to the object's own bytes, of which there will be `n_bytes`.
    pub fn write_head(&self, n_bytes: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.delimited(TYPE_META, |out| {
            out.bytes(API_VERSION, self.api_version.as_bytes());
            out.bytes(KIND, self.kind.as_bytes());
        });
        out.delimiter(RAW, n_bytes);
    }

    /// Appends a list's metadata, the first of the list's own bytes.
    pub fn write_list_metadata(metadata: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
        let message = table::meta("ListMeta");
        out.try_delimited(LIST_METADATA, |out| encode::message(message, metadata, out))
    }

    /// Appends one item of a list, of which this is the type of the items.
    pub fn write_item(&self, item: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
        out.try_delimited(LIST_ITEMS, |out| self.write(item, out))
    }
}

/// Appends the end of the envelope. As Go writes it: fields that are no pointers are written even when empty.
pub fn write_tail(out: &mut Vec<u8>) {
    out.bytes(CONTENT_ENCODING, b"");
    out.bytes(CONTENT_TYPE, b"");
}

/// A `WatchEvent` around an object in its envelope.
pub fn event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.bytes(EVENT_TYPE, kind.as_bytes());
    out.delimited(EVENT_OBJECT, |out| out.bytes(EXTENSION_RAW, object));
    out
}
