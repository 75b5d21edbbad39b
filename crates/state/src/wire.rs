//! The one shape of persisted and forwarded bytes: a version byte, then postcard.
//!
//! Tags and fields are append-only; another shape takes another version byte and keeps the old decoder.

use kontiki_base::limits;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version that this build writes.
pub(crate) const VERSION: u8 = 1;

/// Why bytes are no command, result or object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("no bytes to decode")]
    Empty,
    /// Written by a newer build.
    #[error("encoding version {0} is unknown: this build reads version 1")]
    Version(u8),
    /// Larger than anything that this system writes.
    #[error("{size_bytes} bytes exceed the limit of {limit_bytes}")]
    TooLarge {
        /// Size of the input.
        size_bytes: usize,
        /// Largest size accepted.
        limit_bytes: usize,
    },
    /// Damaged or foreign.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Well formed, but against a limit or rule.
    #[error("refused: {0}")]
    Refused(String),
}

pub(crate) fn encode<T: Serialize>(value: &T, size_hint: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_hint + 64);
    out.push(VERSION);
    postcard::to_extend(value, out).expect("writing to memory cannot fail")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let limit_bytes = limits::RPC_MESSAGE_BYTES;
    if bytes.len() > limit_bytes {
        return Err(DecodeError::TooLarge {
            size_bytes: bytes.len(),
            limit_bytes,
        });
    }
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let (value, rest) = postcard::take_from_bytes(body)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Malformed(format!(
            "{} bytes too many",
            rest.len()
        )))
    }
}
