//! How objects look in the state's database: `o` + resource + 0 + namespace + 0 + name → the object's encoding, which
//! begins with its version, or `S` and that encoding sealed.

use std::borrow::Cow;
use std::path::Path;

use kontiki_state::{Key, Object};

use crate::{Error, KeyId, Sealer};

/// First byte of an object's key; all other keys are not of objects.
const OBJECT: u8 = b'o';
/// Objects' keys, from and below.
pub(super) const START: &[u8] = b"o";
pub(super) const END: &[u8] = b"p";
/// First byte of a sealed record. No version of the encoding is as high.
const SEALED: u8 = b'S';

/// The key of an object.
pub(crate) fn key(key: &Key) -> Vec<u8> {
    let parts = [&key.resource, &key.namespace, &key.name].map(|part| part.as_bytes());
    [&[OBJECT][..], parts[0], &[0], parts[1], &[0], parts[2]].concat()
}

/// Keys from one on and below another.
pub(super) type Range = (Vec<u8>, Vec<u8>);

/// The keys of all objects of a resource, from and below.
pub(super) fn range(resource: &str) -> Range {
    let start = [&[OBJECT], resource.as_bytes()].concat();
    ([&start[..], &[0]].concat(), [&start[..], &[1]].concat())
}

/// The record of an object under a key.
pub(crate) fn encode(sealer: &Sealer, key: &[u8], object: &Object) -> Vec<u8> {
    of_plain(sealer, key, object.encode())
}

/// The record that an encoding becomes.
pub(super) fn of_plain(sealer: &Sealer, key: &[u8], plain: Vec<u8>) -> Vec<u8> {
    if !is_wanted_sealed(sealer, key) {
        return plain;
    }
    let mut record = vec![SEALED];
    sealer.seal(key, &plain, &mut record);
    record
}

/// The encoding that a record holds; `path` is for the error.
pub(super) fn plain<'a>(
    sealer: &Sealer,
    path: &Path,
    key: &[u8],
    record: &'a [u8],
) -> Result<Cow<'a, [u8]>, Error> {
    match record.split_first() {
        Some((&SEALED, sealed)) => {
            let plain = sealer.unseal(key, sealed);
            plain
                .map(Cow::Owned)
                .map_err(|refusal| sealer.refused(refusal, path, &name(key)))
        }
        _ => Ok(Cow::Borrowed(record)),
    }
}

/// The object that a record under a key is.
pub(crate) fn decode(
    sealer: &Sealer,
    path: &Path,
    key_bytes: &[u8],
    record: &[u8],
) -> Result<Object, Error> {
    let plain = plain(sealer, path, key_bytes, record)?;
    let object = Object::decode(&plain)
        .map_err(|error| Error::damaged(path, format!("{}: {error}", name(key_bytes))))?;
    if *key_bytes != *key(&object.key) {
        let reason = format!("{} under another key", object.key);
        return Err(Error::damaged(path, reason));
    }
    Ok(object)
}

/// The key that a record is sealed with.
pub(super) fn sealed_with(record: &[u8]) -> Option<KeyId> {
    match record.split_first() {
        Some((&SEALED, sealed)) => KeyId::of_sealed(sealed),
        _ => None,
    }
}

/// Whether a record is sealed as it would be if it were written now, or as plain.
pub(super) fn is_as_wanted(sealer: &Sealer, key: &[u8], record: &[u8]) -> bool {
    match (is_wanted_sealed(sealer, key), record.split_first()) {
        (true, Some((&SEALED, sealed))) => sealer.is_of_writer(sealed),
        (wanted, first) => !wanted && first.is_none_or(|(first, _)| *first != SEALED),
    }
}

/// Whether records under a key ought to be sealed.
pub(super) fn is_wanted_sealed(sealer: &Sealer, key: &[u8]) -> bool {
    sealer.resources().contain(&resource(key))
}

/// The resource that a key is of.
pub(super) fn resource(key: &[u8]) -> Cow<'_, str> {
    let name = key.get(1..).unwrap_or_default();
    let end = name.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&name[..end.unwrap_or(name.len())])
}

/// What to call a record: `secrets/default/x`.
fn name(key: &[u8]) -> String {
    let parts = key.get(1..).unwrap_or_default().split(|byte| *byte == 0);
    let parts = parts.filter(|part| !part.is_empty());
    let parts: Vec<_> = parts.map(String::from_utf8_lossy).collect();
    parts.join("/")
}
