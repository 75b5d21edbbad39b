//! A stored object: canonical JSON without `resourceVersion`, a header, and the revisions that made it.
//!
//! Reads splice the revision into the bytes; nothing is decoded and encoded again. Typed values are made once per
//! revision, on first use, and shared.

mod splice;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Header, Key, Revision, wire};

/// One revision of one object; immutable, shared by snapshots, rings and readers.
pub struct Object {
    /// What names it.
    pub key: Key,
    /// Revision that wrote these bytes.
    pub revision: Revision,
    /// Revision that created the object.
    pub created: Revision,
    /// What is known without decoding.
    pub header: Header,
    /// Canonical JSON without `resourceVersion`.
    pub bytes: Bytes,
    digest: u64,
    /// Where `resourceVersion` goes, plus one; 0 until someone asks.
    splice: AtomicU32,
    made: RwLock<Vec<Arc<dyn Any + Send + Sync>>>,
}

/// Bytes that do not fit the type that was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{key} at revision {revision} does not decode: {reason}")]
pub struct Error {
    /// The object.
    pub key: Key,
    /// Its revision.
    pub revision: Revision,
    /// The decoder's words.
    pub reason: String,
}

/// The persisted shape; append fields only.
#[derive(Serialize)]
struct StoredRef<'a> {
    key: &'a Key,
    revision: Revision,
    created: Revision,
    header: &'a Header,
    bytes: &'a Bytes,
}

#[derive(Deserialize)]
struct Stored {
    key: Key,
    revision: Revision,
    created: Revision,
    header: Header,
    bytes: Bytes,
}

impl Object {
    /// An object of its parts.
    pub fn new(
        key: Key,
        revision: Revision,
        created: Revision,
        header: Header,
        bytes: Bytes,
    ) -> Self {
        debug_assert!(
            created <= revision,
            "{key}: created {created} after revision {revision}"
        );
        let digest = digest(&key, revision, created, &header, &bytes);
        let (splice, made) = (AtomicU32::new(0), RwLock::new(Vec::new()));
        Self {
            key,
            revision,
            created,
            header,
            bytes,
            digest,
            splice,
            made,
        }
    }

    /// JSON with `metadata.resourceVersion`.
    pub fn json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len() + 48);
        self.write_json(&mut out);
        out.into()
    }

    /// Appends what `json` returns, sparing a list its intermediate copies.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // One that was never stored has no revision.
        let Some(at) = self.splice_offset().filter(|_| self.revision > 0) else {
            out.extend_from_slice(&self.bytes);
            return;
        };
        out.extend_from_slice(&self.bytes[..at]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        out.extend_from_slice(self.revision.to_string().as_bytes());
        out.extend_from_slice(if self.bytes[at] == b'}' {
            b"\""
        } else {
            b"\","
        });
        out.extend_from_slice(&self.bytes[at..]);
    }

    /// What `json` returns without managed fields: for those who read an object and do not write it back. Decoded, they
    /// would take more memory than all the rest, as upstream's informers know.
    pub fn lean_json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len() + 48);
        self.write_json(&mut out);
        let members = self.splice_offset();
        if let Some(range) = members.and_then(|from| splice::managed_fields(&out, from)) {
            out.drain(range);
        }
        out.into()
    }

    /// The object as a tree, `resourceVersion` included. For writers, who are about to change it.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.json()).unwrap_or_default()
    }

    /// The object as `T` but for its managed fields, decoded once and shared.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        self.project(|object| {
            serde_json::from_slice(&object.lean_json()).map_err(|error| Error {
                key: object.key.clone(),
                revision: object.revision,
                reason: error.to_string(),
            })
        })
    }

    /// A projection, made once for each type and shared: what a controller or the scheduler reads of this object.
    pub fn project<T: Send + Sync + 'static, E>(
        &self,
        make: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let cached = |made: &[Arc<dyn Any + Send + Sync>]| {
            made.iter()
                .find_map(|any| Arc::clone(any).downcast::<T>().ok())
        };
        if let Some(found) = cached(&self.made.read()) {
            return Ok(found);
        }
        let fresh = Arc::new(make(self)?);
        let mut made = self.made.write();
        if let Some(found) = cached(&made) {
            return Ok(found);
        }
        made.push(Arc::clone(&fresh) as Arc<dyn Any + Send + Sync>);
        Ok(fresh)
    }

    /// The persisted form.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            key,
            revision,
            created,
            header,
            bytes,
            ..
        } = self;
        let (revision, created) = (*revision, *created);
        wire::encode(
            &StoredRef {
                key,
                revision,
                created,
                header,
                bytes,
            },
            bytes.len() + 256,
        )
    }

    /// Reads the persisted form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Stored {
            key,
            revision,
            created,
            header,
            bytes,
        } = wire::decode(bytes)?;
        if created > revision || revision == 0 {
            let why = format!("{key}: created at {created}, but its revision is {revision}");
            return Err(DecodeError::Refused(why));
        }
        Ok(Self::new(key, revision, created, header, bytes))
    }

    /// A number that differs when anything of the object differs; equal on all replicas.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The same content under the revision of its deletion.
    pub(crate) fn tombstone(&self, revision: Revision) -> Self {
        debug_assert!(revision > self.revision);
        let (key, header) = (self.key.clone(), self.header.clone());
        Self::new(key, revision, self.created, header, self.bytes.clone())
    }

    fn splice_offset(&self) -> Option<usize> {
        let cached = self.splice.load(Ordering::Relaxed);
        if cached != 0 {
            return Some(cached as usize - 1);
        }
        let at = splice::metadata_offset(&self.bytes)?;
        debug_assert!(at < self.bytes.len());
        self.splice
            .store(u32::try_from(at + 1).ok()?, Ordering::Relaxed);
        Some(at)
    }
}

fn digest(key: &Key, revision: Revision, created: Revision, header: &Header, bytes: &Bytes) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    for part in [&key.resource, &key.namespace, &key.name, &header.uid] {
        crc.update(part.as_bytes());
        crc.update(&[0xff]);
    }
    for (name, value) in header.labels.iter().chain(&header.fields) {
        crc.update(name.as_bytes());
        crc.update(&[0xfe]);
        crc.update(value.as_bytes());
    }
    for owner in &header.owners {
        crc.update(owner.as_bytes());
    }
    crc.update(&[u8::from(header.deleting)]);
    crc.update(bytes);
    mix(u64::from(crc.finalize()) ^ mix(revision.rotate_left(32) ^ mix(created)))
}

/// splitmix64's finalizer: spreads each input bit over the whole word.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.created == other.created
            && self.key == other.key
            && self.header == other.header
            && self.bytes == other.bytes
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object {
        let key = Key::new("pods", "default", "web");
        Object::new(
            key,
            42,
            7,
            Header::default(),
            Bytes::copy_from_slice(json.as_bytes()),
        )
    }

    #[test]
    fn the_revision_is_spliced_into_the_top_level_metadata_only() {
        let plain = object(r#"{"kind":"Pod","metadata":{"name":"web"}}"#);
        let expected = r#"{"kind":"Pod","metadata":{"resourceVersion":"42","name":"web"}}"#;
        assert_eq!(plain.json(), expected);
        assert_eq!(plain.json(), expected, "the cached offset says the same");
        let empty = object(r#"{"metadata":{}}"#);
        assert_eq!(empty.json(), r#"{"metadata":{"resourceVersion":"42"}}"#);
        let nested = object(r#"{"data":{"metadata":{"x":"\"metadata\":{\\"}},"metadata":{"a":1}}"#);
        assert_eq!(nested.value()["metadata"]["resourceVersion"], "42");
        assert!(
            nested.value()["data"]["metadata"]
                .get("resourceVersion")
                .is_none()
        );
        assert_eq!(object("{}").json(), "{}", "claims have no metadata");
        assert_eq!(
            object(r#"{"metadata":{"#).json(),
            r#"{"metadata":{"#,
            "never a panic"
        );
    }

    #[test]
    fn lean_bytes_have_no_managed_fields() {
        let entries = r#""managedFields":[{"fieldsV1":{"f:a":{"k:{\"x\":\"]\"}":{}}}},{}]"#;
        let rest = r#""labels":{"managedFields":"[x]"}"#;
        for (metadata, lean) in [
            (
                format!("{rest},{entries},\"name\":\"web\""),
                format!("{rest},\"name\":\"web\""),
            ),
            (format!("{rest},{entries}"), rest.to_owned()),
            (rest.to_owned(), rest.to_owned()),
        ] {
            let object = object(&format!(
                "{{\"metadata\":{{{metadata}}},\"x\":{{{entries}}}}}"
            ));
            let expected = format!(
                "{{\"metadata\":{{\"resourceVersion\":\"42\",{lean}}},\"x\":{{{entries}}}}}"
            );
            assert_eq!(object.lean_json(), expected);
        }
        let only = object(&format!("{{\"metadata\":{{{entries}}}}}"));
        assert_eq!(only.lean_json(), r#"{"metadata":{"resourceVersion":"42"}}"#);
        let cut = object(r#"{"metadata":{"managedFields":[{"a":"#);
        assert_eq!(cut.lean_json(), cut.json(), "never a panic");
    }

    #[test]
    fn typed_values_are_made_once_for_each_type() {
        let object = object(r#"{"metadata":{"name":"web"}}"#);
        let first = object.typed::<serde_json::Value>().unwrap();
        let second = object.typed::<serde_json::Value>().unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let size = object.project(|o| Ok::<_, Error>(o.bytes.len())).unwrap();
        assert_eq!(*size, 27);
        assert!(
            object
                .typed::<Vec<u8>>()
                .unwrap_err()
                .to_string()
                .contains("pods/default/web")
        );
    }

    #[test]
    fn storage_bytes_round_trip_and_garbage_is_refused() {
        let object = object(r#"{"metadata":{"name":"web"}}"#);
        let bytes = object.encode();
        let back = Object::decode(&bytes).unwrap();
        assert_eq!(back, object);
        assert_eq!(back.digest(), object.digest());
        assert_eq!(Object::decode(&[]), Err(DecodeError::Empty));
        assert_eq!(Object::decode(&[9, 1]), Err(DecodeError::Version(9)));
        for cut in 1..bytes.len() {
            assert!(Object::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
