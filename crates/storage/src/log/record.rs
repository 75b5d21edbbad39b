//! How entries look on disk: `e` + index → version, CRC-32 of the rest, index, term, payload. In version 2 the payload is
//! sealed, bound to index and term.
//!
//! The index is in key and value: a value under a wrong key is noticed. Files of tests hold both versions for ever.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Entry, Error, KeyId, LogId, Sealer};

/// First byte of an entry's key; all other keys sort after entries.
pub(super) const ENTRY: u8 = b'e';
/// Entries' keys are below this.
pub(super) const END: &[u8] = b"f";
const PLAIN: u8 = 1;
const SEALED: u8 = 2;
const SUMMED_FROM: usize = 1 + 4;
const HEADER_BYTES: usize = SUMMED_FROM + 8 + 8;

/// The key of an index; keys sort as indexes do.
pub(crate) fn key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn encode(sealer: &Sealer, entry: &Entry) -> Vec<u8> {
    let sealed = sealer.resources().may_be_in(&entry.payload);
    let mut value = Vec::with_capacity(HEADER_BYTES + entry.payload.len());
    value.push(if sealed { SEALED } else { PLAIN });
    value.extend_from_slice(&[0; 4]);
    value.extend_from_slice(&entry.id.index.to_be_bytes());
    value.extend_from_slice(&entry.id.term.to_be_bytes());
    if sealed {
        let place = place(&value);
        sealer.seal(&place, &entry.payload, &mut value);
    } else {
        value.extend_from_slice(&entry.payload);
    }
    let sum = crc32fast::hash(&value[SUMMED_FROM..]);
    value[1..SUMMED_FROM].copy_from_slice(&sum.to_be_bytes());
    value
}

pub(crate) fn decode(
    sealer: &Sealer,
    path: &Path,
    key_bytes: &[u8],
    value: &[u8],
) -> Result<Entry, Error> {
    let damaged = |reason: &str| Error::damaged(path, format!("entry {key_bytes:02x?}: {reason}"));
    if value.len() < HEADER_BYTES || ![PLAIN, SEALED].contains(&value[0]) {
        return Err(damaged("unknown version or too short"));
    }
    if crc32fast::hash(&value[SUMMED_FROM..]).to_be_bytes() != value[1..SUMMED_FROM] {
        return Err(damaged("checksum differs"));
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&value[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    let id = LogId {
        index: number(SUMMED_FROM),
        term: number(SUMMED_FROM + 8),
    };
    if key_bytes != key(id.index) {
        return Err(damaged("another entry's bytes"));
    }
    let payload = &value[HEADER_BYTES..];
    let payload = match value[0] {
        PLAIN => Bytes::copy_from_slice(payload),
        _ => sealer
            .unseal(&place(value), payload)
            .map_err(|refusal| sealer.refused(refusal, path, &format!("entry {}", id.index)))?
            .into(),
    };
    Ok(Entry { id, payload })
}

/// What a sealed payload is bound to.
fn place(value: &[u8]) -> [u8; 1 + HEADER_BYTES - SUMMED_FROM] {
    let mut place = [ENTRY; 1 + HEADER_BYTES - SUMMED_FROM];
    place[1..].copy_from_slice(&value[SUMMED_FROM..HEADER_BYTES]);
    place
}

/// The key that an entry's payload is sealed with.
pub(super) fn sealed_with(value: &[u8]) -> Option<KeyId> {
    match (value.first(), value.get(HEADER_BYTES..)) {
        (Some(&SEALED), Some(sealed)) => KeyId::of_sealed(sealed),
        _ => None,
    }
}

/// Whether an entry's value is sealed as it would be if it were written now, or as plain.
pub(super) fn is_as_wanted(sealer: &Sealer, entry: &Entry, value: &[u8]) -> bool {
    match (sealer.resources().may_be_in(&entry.payload), value[0]) {
        (true, SEALED) => sealer.is_of_writer(&value[HEADER_BYTES..]),
        (wanted, version) => !wanted && version == PLAIN,
    }
}

/// Vote, committed, purged: CRC-32, then postcard.
pub(super) fn encode_meta<T: Serialize>(value: &T) -> Vec<u8> {
    let body = postcard::to_stdvec(value).expect("writing to memory cannot fail");
    [&crc32fast::hash(&body).to_be_bytes()[..], &body].concat()
}

pub(super) fn decode_meta<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    let (sum, body) = bytes
        .split_at_checked(4)
        .ok_or_else(|| Error::damaged(path, "short record"))?;
    if crc32fast::hash(body).to_be_bytes() != sum {
        return Err(Error::damaged(path, "checksum of a record differs"));
    }
    postcard::from_bytes(body).map_err(|error| Error::damaged(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resources;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let id = LogId { term: 7, index: 42 };
        let payload = Bytes::from_static(b"the payload \x07secrets");
        let entry = Entry { id, payload };
        let path = Path::new("log");
        let sealer = Sealer::in_memory(Resources::default());
        for sealer in [Sealer::off(), sealer] {
            let good = encode(&sealer, &entry);
            assert_eq!(decode(&sealer, path, &key(42), &good).unwrap(), entry);
            assert!(
                decode(&sealer, path, &key(43), &good).is_err(),
                "under another key"
            );
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&sealer, path, &key(42), &bad).is_err(), "bit {bit}");
            }
            assert!(is_as_wanted(&sealer, &entry, &good));
            assert!(!is_as_wanted(
                &Sealer::in_memory(Resources::default()),
                &entry,
                &good
            ));
        }
    }

    #[test]
    fn a_sealed_payload_opens_at_its_index_and_term_only() {
        let sealer = Sealer::in_memory(Resources::default());
        let id = LogId { term: 7, index: 42 };
        let payload = Bytes::from_static(b"the payload \x07secrets");
        let good = encode(&sealer, &Entry { id, payload });
        assert!(!good.windows(7).any(|bytes| bytes == b"payload"));
        let mut moved = good.clone();
        moved[HEADER_BYTES - 1] = 8;
        let sum = crc32fast::hash(&moved[SUMMED_FROM..]);
        moved[1..SUMMED_FROM].copy_from_slice(&sum.to_be_bytes());
        let error = decode(&sealer, Path::new("log"), &key(42), &moved).unwrap_err();
        assert!(error.to_string().contains("does not open"), "{error}");
        let other = Sealer::in_memory(Resources::default());
        let error = decode(&other, Path::new("log"), &key(42), &good).unwrap_err();
        assert!(matches!(error, Error::KeyMissing { .. }), "{error}");
    }
}
