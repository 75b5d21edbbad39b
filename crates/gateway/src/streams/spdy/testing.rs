//! A client's frames, for tests.

use super::frame::{Head, kind};
use super::headers;

/// Opens streams.
#[derive(Default)]
pub struct Encoder(headers::Encoder);

impl Encoder {
    /// The frame that opens a stream.
    pub fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let block = self.0.encode(headers);
        let body = [&stream.to_be_bytes()[..], &[0; 6], &block].concat();
        let head = Head::Control {
            kind: kind::SYN_STREAM,
            flags: 0,
            n_bytes: body.len(),
        };
        [&head.write()[..], &body].concat()
    }
}

/// A frame of data.
pub fn data(stream: u32, data: &[u8], is_last: bool) -> Vec<u8> {
    let n_bytes = data.len();
    let head = Head::Data {
        stream,
        is_last,
        n_bytes,
    };
    [&head.write()[..], data].concat()
}
