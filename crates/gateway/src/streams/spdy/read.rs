//! Reading a client's frames: data in pieces as they come, control frames whole, since they are small.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::frame::{self, FLAG_FIN, HEAD_BYTES, Head, kind};
use super::headers::{Decoder, Headers};
use super::{Error, StreamId};

/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes before the headers of a new stream: the stream, the one it belongs to, priority.
const SYN_STREAM_BYTES: usize = 10;

/// What comes from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It opens a stream.
    Open {
        /// Which.
        stream: StreamId,
        /// Its headers.
        headers: Headers,
        /// The client sends nothing on it.
        is_ended: bool,
    },
    /// Bytes of a stream.
    Data {
        /// Which.
        stream: StreamId,
        /// The bytes, perhaps none.
        data: Bytes,
        /// The client sends nothing more on it.
        is_last: bool,
    },
    /// The client gives a stream up.
    Reset(StreamId),
    /// To be answered with the same number.
    Ping(u32),
    /// The client opens no more streams.
    GoAway,
}

/// The reading half.
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
    decoder: Decoder,
    /// The data frame whose bytes are being read.
    data: Option<(StreamId, usize, bool)>,
    newest: StreamId,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`, after what was read of it already.
    pub fn new(io: R, early: &[u8]) -> Self {
        Self {
            io,
            buffer: BytesMut::from(early),
            decoder: Decoder::default(),
            data: None,
            newest: 0,
        }
    }

    /// The next event; none at the end of the connection.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            self.buffer.reserve(READ_BYTES);
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some((stream, n_left, is_last)) = self.data {
                if n_left > 0 && self.buffer.is_empty() {
                    return Ok(None);
                }
                let data = self.buffer.split_to(n_left.min(self.buffer.len())).freeze();
                let n_left = n_left - data.len();
                self.data = (n_left > 0).then_some((stream, n_left, is_last));
                return Ok(Some(Event::Data {
                    stream,
                    data,
                    is_last: is_last && n_left == 0,
                }));
            }
            let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else {
                return Ok(None);
            };
            match Head::read(*head)? {
                Head::Data {
                    stream,
                    is_last,
                    n_bytes,
                } => {
                    self.buffer.advance(HEAD_BYTES);
                    self.data = Some((stream, n_bytes, is_last));
                }
                Head::Control {
                    kind,
                    flags,
                    n_bytes,
                } => {
                    if self.buffer.len() < HEAD_BYTES + n_bytes {
                        return Ok(None);
                    }
                    self.buffer.advance(HEAD_BYTES);
                    let body = self.buffer.split_to(n_bytes);
                    if let Some(event) = self.control(kind, flags, &body)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> Result<Option<Event>, Error> {
        Ok(Some(match kind {
            kind::SYN_STREAM => {
                let stream = frame::stream(body)?;
                let block = body
                    .get(SYN_STREAM_BYTES..)
                    .ok_or(Error::Protocol("a control frame is too short"))?;
                let headers = self.decoder.decode(block)?;
                if stream % 2 == 0 || stream <= self.newest {
                    return Err(Error::Protocol("streams are not numbered in order"));
                }
                self.newest = stream;
                Event::Open {
                    stream,
                    headers,
                    is_ended: flags & FLAG_FIN != 0,
                }
            }
            // They have headers, without which the next ones cannot be read.
            kind::SYN_REPLY | kind::HEADERS => {
                let stream = frame::stream(body)?;
                self.decoder.decode(body.get(4..).unwrap_or_default())?;
                if flags & FLAG_FIN == 0 {
                    return Ok(None);
                }
                Event::Data {
                    stream,
                    data: Bytes::new(),
                    is_last: true,
                }
            }
            kind::RST_STREAM => Event::Reset(frame::stream(body)?),
            kind::PING => Event::Ping(frame::number(body, 0)?),
            kind::GOAWAY => Event::GoAway,
            // Settings and windows, and what a later version may add.
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::headers::Encoder;
    use super::*;

    fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
        let n_bytes = body.len();
        let head = Head::Control {
            kind,
            flags,
            n_bytes,
        };
        [&head.write(), body].concat()
    }

    fn open(encoder: &mut Encoder, stream: u32, streamtype: &str) -> Vec<u8> {
        let block = encoder.encode(&[("Streamtype", streamtype)]);
        let body = [&stream.to_be_bytes()[..], &[0; 6], &block].concat();
        control(kind::SYN_STREAM, 0, &body)
    }

    fn data(stream: u32, is_last: bool, data: &[u8]) -> Vec<u8> {
        let n_bytes = data.len();
        let head = Head::Data {
            stream,
            is_last,
            n_bytes,
        };
        [&head.write(), data].concat()
    }

    async fn read(bytes: &[u8], step: usize) -> Result<Vec<String>, Error> {
        let chunks: Vec<std::io::Result<Bytes>> = bytes
            .chunks(step)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let io = tokio_util::io::StreamReader::new(futures::stream::iter(chunks));
        let mut reader = Reader::new(io, b"");
        let mut found: Vec<String> = Vec::new();
        while let Some(event) = reader.next().await? {
            match event {
                Event::Data {
                    stream,
                    data,
                    is_last,
                } => {
                    let text = String::from_utf8_lossy(&data).into_owned();
                    let name = format!("{stream}:");
                    match found.last_mut().filter(|last| last.starts_with(&name)) {
                        Some(last) => last.push_str(&text),
                        None => found.push(format!("{name}{text}")),
                    }
                    if is_last {
                        found.push("fin".into());
                    }
                }
                Event::Open {
                    stream, headers, ..
                } => found.push(format!("open {stream} {}={}", headers[0].0, headers[0].1)),
                Event::Reset(stream) => found.push(format!("reset {stream}")),
                Event::Ping(id) => found.push(format!("ping {id}")),
                Event::GoAway => found.push("goaway".into()),
            }
        }
        Ok(found)
    }

    #[tokio::test]
    async fn frames_are_read_however_the_connection_cuts_them() {
        let mut encoder = Encoder::default();
        let window = control(9, 0, &[0, 0, 0, 1, 0, 0, 0, 9]);
        let settings = control(4, 0, &[0; 12]);
        let all = [
            settings,
            open(&mut encoder, 1, "error"),
            open(&mut encoder, 3, "stdin"),
            data(3, false, b"hello"),
            window,
            control(kind::PING, 0, &[0, 0, 0, 5]),
            data(3, true, b"!"),
            control(kind::RST_STREAM, 0, &[0, 0, 0, 1, 0, 0, 0, 5]),
            control(kind::GOAWAY, 0, &[0; 8]),
        ]
        .concat();
        for step in [1, 2, 3, 5, 7, 64, 4096] {
            let expected = [
                "open 1 streamtype=error",
                "open 3 streamtype=stdin",
                "3:hello",
                "ping 5",
                "3:!",
                "fin",
                "reset 1",
                "goaway",
            ];
            assert_eq!(read(&all, step).await.unwrap(), expected, "{step}");
        }
    }

    #[tokio::test]
    async fn hostile_frames_end_the_connection() {
        let again = |first: u32, second: u32| {
            let mut encoder = Encoder::default();
            [
                open(&mut encoder, first, "a"),
                open(&mut encoder, second, "b"),
            ]
            .concat()
        };
        for (why, bytes) in [
            ("an even stream", again(1, 2)),
            ("a stream twice", again(3, 3)),
            ("backwards", again(3, 1)),
            ("a short SYN_STREAM", control(kind::SYN_STREAM, 0, &[0; 9])),
            ("a short PING", control(kind::PING, 0, &[0; 3])),
            (
                "HTTP",
                b"GET / HTTP/1.1\r\n\xFF".map(|byte| byte | 0x80).to_vec(),
            ),
        ] {
            assert!(
                matches!(read(&bytes, 4096).await, Err(Error::Protocol(_))),
                "{why}"
            );
        }
    }

    #[tokio::test]
    async fn a_frame_of_any_size_costs_one_buffer() {
        let head = Head::Data {
            stream: 1,
            is_last: false,
            n_bytes: (1 << 24) - 1,
        };
        let bytes = [&head.write()[..], &vec![7; 8 * READ_BYTES]].concat();
        let mut reader = Reader::new(&bytes[..], b"");
        while let Some(Event::Data { data, is_last, .. }) = reader.next().await.unwrap() {
            assert!(data.len() <= 2 * READ_BYTES && !is_last);
        }
    }
}
