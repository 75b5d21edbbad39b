//! The eight bytes before every frame, and the numbers in control frames.

use super::{Error, StreamId};

/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 8;
/// Largest control frame that is read; clients send headers of some hundred bytes.
pub const CONTROL_BYTES: usize = 16 * 1024;
/// The stream ends in this direction.
pub const FLAG_FIN: u8 = 1;
const VERSION: u16 = 3;
const STREAM_BITS: u32 = 0x7FFF_FFFF;

/// Kinds of control frames.
pub mod kind {
    pub const SYN_STREAM: u16 = 1;
    pub const SYN_REPLY: u16 = 2;
    pub const RST_STREAM: u16 = 3;
    pub const PING: u16 = 6;
    pub const GOAWAY: u16 = 7;
    pub const HEADERS: u16 = 8;
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Bytes of a stream.
    Data {
        /// Which.
        stream: StreamId,
        /// Whether they are its last.
        is_last: bool,
        /// How many.
        n_bytes: usize,
    },
    /// Anything else.
    Control {
        /// Which.
        kind: u16,
        /// Its flags.
        flags: u8,
        /// How many bytes follow.
        n_bytes: usize,
    },
}

impl Head {
    /// Reads a head.
    pub fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, Error> {
        let first = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let flags = bytes[4];
        let n_bytes = u32::from_be_bytes([0, bytes[5], bytes[6], bytes[7]]) as usize;
        if first & !STREAM_BITS == 0 {
            return Ok(Self::Data {
                stream: first,
                is_last: flags & FLAG_FIN != 0,
                n_bytes,
            });
        }
        if (first >> 16) as u16 & 0x7FFF != VERSION {
            return Err(Error::Protocol("another version of SPDY"));
        }
        if n_bytes > CONTROL_BYTES {
            return Err(Error::Protocol("a control frame is too long"));
        }
        Ok(Self::Control {
            kind: first as u16,
            flags,
            n_bytes,
        })
    }

    /// The head's bytes.
    pub fn write(self) -> [u8; HEAD_BYTES] {
        let (first, flags, n_bytes) = match self {
            Self::Data {
                stream,
                is_last,
                n_bytes,
            } => (stream & STREAM_BITS, u8::from(is_last), n_bytes),
            Self::Control {
                kind,
                flags,
                n_bytes,
            } => {
                let first = (u32::from(0x8000 | VERSION) << 16) | u32::from(kind);
                (first, flags, n_bytes)
            }
        };
        debug_assert!(n_bytes < 1 << 24, "a frame's length has three bytes");
        let [a, b, c, d] = first.to_be_bytes();
        let [_, x, y, z] = (n_bytes as u32).to_be_bytes();
        [a, b, c, d, flags, x, y, z]
    }
}

/// The number at an index of a control frame's body.
pub fn number(body: &[u8], idx: usize) -> Result<u32, Error> {
    let bytes = body.get(idx * 4..idx * 4 + 4);
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or(Error::Protocol("a control frame is too short"))?;
    Ok(u32::from_be_bytes(bytes))
}

/// The stream at the beginning of a control frame's body.
pub fn stream(body: &[u8]) -> Result<StreamId, Error> {
    Ok(number(body, 0)? & STREAM_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_written() {
        for head in [
            Head::Data {
                stream: 7,
                is_last: true,
                n_bytes: 70_000,
            },
            Head::Control {
                kind: kind::PING,
                flags: 0,
                n_bytes: 4,
            },
        ] {
            assert_eq!(Head::read(head.write()).unwrap(), head);
        }
        assert!(Head::read([0x80, 2, 0, 1, 0, 0, 0, 0]).is_err(), "SPDY/2");
        assert!(
            Head::read([0x80, 3, 0, 1, 0, 0xFF, 0, 0]).is_err(),
            "too long"
        );
        assert!(number(&[0; 7], 1).is_err());
    }
}
