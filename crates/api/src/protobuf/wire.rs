//! Protobuf's wire format: keys, varints, length-delimited parts. Knows no messages.
//!
//! Errors are worded as Go's generated decoders word them. Groups, which Kubernetes never writes, are refused.

use super::Error;

/// Largest field number of the format.
const MAX_NUMBER: u64 = (1 << 29) - 1;
/// Bytes of the longest varint.
const MAX_VARINT: usize = 10;

/// One field as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Raw<'a> {
    /// The wire type's number.
    fn wire_type(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32(_) => 5,
        }
    }

    fn wrong(self, field: &str) -> Error {
        Error::new(format!(
            "proto: wrong wireType = {} for field {field}",
            self.wire_type()
        ))
    }

    /// A length-delimited part.
    pub fn bytes(self, field: &str) -> Result<&'a [u8], Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.wrong(field)),
        }
    }

    /// Text. What is no UTF-8 reads as upstream's JSON shows it.
    pub fn text(self, field: &str) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.bytes(field)?).into_owned())
    }

    /// An integer or a truth value.
    pub fn varint(self, field: &str) -> Result<u64, Error> {
        match self {
            Self::Varint(value) => Ok(value),
            other => Err(other.wrong(field)),
        }
    }

    /// A floating-point number.
    pub fn double(self, field: &str) -> Result<f64, Error> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            other => Err(other.wrong(field)),
        }
    }
}

/// Reads the fields of one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and content.
    pub fn next(&mut self) -> Result<Option<(u32, Raw<'a>)>, Error> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let (number, wire_type) = (key >> 3, key & 7);
        if number == 0 || number > MAX_NUMBER {
            return Err(Error::new(format!(
                "proto: illegal tag {number} (wire type {key})"
            )));
        }
        let raw = match wire_type {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => Raw::Bytes(self.part()?),
            5 => Raw::Fixed32(u32::from_le_bytes(self.fixed()?)),
            other => return Err(Error::new(format!("proto: illegal wireType {other}"))),
        };
        // It fits: checked above.
        Ok(Some((number as u32, raw)))
    }

    /// A varint that stands alone, as in packed lists.
    pub fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for idx in 0..MAX_VARINT {
            let Some((byte, rest)) = self.rest.split_first() else {
                return Err(unexpected_end());
            };
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * idx);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::new("proto: integer overflow"))
    }

    /// Eight or four bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (fixed, rest) = self.rest.split_first_chunk().ok_or_else(unexpected_end)?;
        self.rest = rest;
        Ok(*fixed)
    }

    fn part(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.varint()?).map_err(|_| unexpected_end())?;
        let (part, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(unexpected_end)?;
        self.rest = rest;
        Ok(part)
    }
}

fn unexpected_end() -> Error {
    Error::new("unexpected EOF")
}

/// Appends fields to a message.
pub(super) trait Writer {
    /// An integer or a truth value.
    fn varint(&mut self, number: u32, value: u64);
    /// A floating-point number.
    fn double(&mut self, number: u32, value: f64);
    /// A length-delimited part.
    fn bytes(&mut self, number: u32, bytes: &[u8]);
    /// The start of a length-delimited part whose length is known.
    fn delimiter(&mut self, number: u32, length: usize);
    /// A length-delimited part that `write` appends; nothing stays of one that fails.
    fn try_delimited<E>(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E>;

    /// As `try_delimited`, where nothing fails.
    fn delimited(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        let Ok(()) = self.try_delimited(number, |out| {
            write(out);
            Ok::<_, std::convert::Infallible>(())
        });
    }
}

impl Writer for Vec<u8> {
    fn varint(&mut self, number: u32, value: u64) {
        push_varint(self, u64::from(number) << 3);
        push_varint(self, value);
    }

    fn double(&mut self, number: u32, value: f64) {
        push_varint(self, u64::from(number) << 3 | 1);
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.delimiter(number, bytes.len());
        self.extend_from_slice(bytes);
    }

    fn delimiter(&mut self, number: u32, length: usize) {
        push_varint(self, u64::from(number) << 3 | 2);
        push_varint(self, length as u64);
    }

    fn try_delimited<E>(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.len();
        push_varint(self, u64::from(number) << 3 | 2);
        // Most parts are short: one byte is kept for the length, and a longer one moves the part.
        let start = self.len();
        self.push(0);
        if let Err(error) = write(self) {
            self.truncate(before);
            return Err(error);
        }
        let length = self.len() - start - 1;
        if length < 0x80 {
            self[start] = length as u8;
        } else {
            let mut varint = Vec::with_capacity(MAX_VARINT);
            push_varint(&mut varint, length as u64);
            self.splice(start..=start, varint);
        }
        Ok(())
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
