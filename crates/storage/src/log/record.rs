//! How entries look on disk: `e` + index → version, CRC-32 of the rest, index, term, payload.
//!
//! The index is in key and value: a value under a wrong key is noticed. Files of tests hold version 1 for ever.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Entry, Error, LogId};

/// First byte of an entry's key; all other keys sort after entries.
pub(super) const ENTRY: u8 = b'e';
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 + 8 + 8;

/// The key of an index; keys sort as indexes do.
pub(super) fn key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + entry.payload.len());
    value.push(VERSION);
    value.extend_from_slice(&[0; 4]);
    value.extend_from_slice(&entry.id.index.to_be_bytes());
    value.extend_from_slice(&entry.id.term.to_be_bytes());
    value.extend_from_slice(&entry.payload);
    let sum = crc32fast::hash(&value[5..]);
    value[1..5].copy_from_slice(&sum.to_be_bytes());
    value
}

pub(super) fn decode(path: &Path, key_bytes: &[u8], value: &[u8]) -> Result<Entry, Error> {
    let damaged = |reason: &str| Error::damaged(path, format!("entry {key_bytes:02x?}: {reason}"));
    if value.len() < HEADER_BYTES || value[0] != VERSION {
        return Err(damaged("unknown version or too short"));
    }
    if crc32fast::hash(&value[5..]).to_be_bytes() != value[1..5] {
        return Err(damaged("checksum differs"));
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&value[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    let id = LogId {
        index: number(5),
        term: number(13),
    };
    if key_bytes != key(id.index) {
        return Err(damaged("another entry's bytes"));
    }
    Ok(Entry {
        id,
        payload: Bytes::copy_from_slice(&value[HEADER_BYTES..]),
    })
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

    #[test]
    fn every_flipped_bit_is_noticed() {
        let id = LogId { term: 7, index: 42 };
        let entry = Entry {
            id,
            payload: Bytes::from_static(b"payload"),
        };
        let (path, good) = (Path::new("log"), encode(&entry));
        assert_eq!(decode(path, &key(42), &good).unwrap(), entry);
        assert!(decode(path, &key(43), &good).is_err(), "under another key");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(path, &key(42), &bad).is_err(), "bit {bit}");
        }
    }
}
