//! `Time` and `MicroTime`: seconds and nanoseconds since 1970, and RFC 3339 in JSON.

use k8s_openapi::jiff::{Timestamp, fmt::strtime};
use serde_json::Value;

use super::Error;
use super::table::Content;
use super::wire::{Reader, Writer as _};

/// Go's zero time, 0001-01-01T00:00:00Z, which its JSON shows as null.
const ZERO: i64 = -62_135_596_800;

/// How exactly JSON shows a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    Seconds,
    Micros,
}

/// A point in time.
pub(super) struct Stamp {
    seconds: i64,
    /// Of the second, never negative.
    nanos: i32,
}

/// Reads a time; null for Go's zero.
pub(super) fn decode(bytes: &[u8], precision: Precision) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.next()? {
        match number {
            1 => seconds = raw.varint("seconds")? as i64,
            2 => nanos = raw.varint("nanos")? as i32,
            _ => {}
        }
    }
    let (nanos, format) = match precision {
        // As upstream: JSON knows whole seconds only, so a fraction must not come in by the other way.
        Precision::Seconds => (0, "%Y-%m-%dT%H:%M:%SZ"),
        Precision::Micros => (nanos / 1000 * 1000, "%Y-%m-%dT%H:%M:%S%.6fZ"),
    };
    if seconds == ZERO && nanos == 0 {
        return Ok(Value::Null);
    }
    let out_of_range = || Error::new(format!("time {seconds} is outside of the years 1 to 9999"));
    if seconds < ZERO {
        return Err(out_of_range());
    }
    let time = Timestamp::new(seconds, nanos).map_err(|_| out_of_range())?;
    let text = strtime::format(format, time).map_err(|_| out_of_range())?;
    Ok(text.into())
}

/// Reads RFC 3339.
pub(super) fn parse(text: &str) -> Result<Stamp, Error> {
    const SECOND: i128 = 1_000_000_000;
    let time: Timestamp = text
        .parse()
        .map_err(|_| Error::new(format!("parsing time {text:?}")))?;
    let nanos = time.as_nanosecond();
    Ok(Stamp {
        // Both fit: a timestamp's seconds do.
        seconds: nanos.div_euclid(SECOND) as i64,
        nanos: nanos.rem_euclid(SECOND) as i32,
    })
}

impl Stamp {
    /// Appends both fields.
    pub fn write(&self, content: &Content, out: &mut Vec<u8>) {
        let nanos = match content {
            Content::MicroTime => self.nanos / 1000 * 1000,
            _ => 0,
        };
        out.varint(1, self.seconds as u64);
        // Never negative, see the field.
        out.varint(2, nanos as u64);
    }
}
