//! Reading a client's frames, piece by piece.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{BINARY, CLOSE, CONTINUATION, Error, PING, PONG, TEXT};

/// Largest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES: u64 = 125;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
const MASK_BYTES: usize = 4;

/// What comes from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of a message.
    Piece(Piece),
    /// To be answered with the same bytes.
    Ping(Bytes),
    /// The client closes.
    Close,
}

/// A piece of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes, perhaps none.
    pub data: Bytes,
    /// The message begins with it.
    pub is_first: bool,
    /// The message ends with it.
    pub is_last: bool,
}

/// The reading half.
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
    /// The data frame whose payload is being read.
    frame: Option<Frame>,
    /// A message is under way: its last frame is still to come.
    in_message: bool,
    /// The next piece is the first of its message.
    at_start: bool,
}

struct Frame {
    n_left: u64,
    mask: [u8; MASK_BYTES],
    is_final: bool,
}

struct Header {
    opcode: u8,
    frame: Frame,
    n_bytes: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`, after what was read of it already.
    pub fn new(io: R, early: &[u8]) -> Self {
        Self {
            io,
            buffer: BytesMut::from(early),
            frame: None,
            in_message: false,
            at_start: true,
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

    /// What the buffer has; none when it takes more bytes.
    fn take(&mut self) -> Result<Option<Event>, Error> {
        if self.frame.is_some() {
            return Ok(self.piece());
        }
        let Some(header) = header(&self.buffer)? else {
            return Ok(None);
        };
        if header.opcode >= CLOSE {
            return self.control(header);
        }
        let continues = header.opcode == CONTINUATION;
        if continues != self.in_message {
            return Err(Error::Protocol("frames of two messages are mixed"));
        }
        self.buffer.advance(header.n_bytes);
        self.at_start |= !continues;
        self.in_message = !header.frame.is_final;
        self.frame = Some(header.frame);
        Ok(self.piece())
    }

    fn piece(&mut self) -> Option<Event> {
        let frame = self.frame.as_mut()?;
        if self.buffer.is_empty() && frame.n_left > 0 {
            return None;
        }
        let n_here = usize::try_from(frame.n_left).unwrap_or(usize::MAX);
        let mut data = self.buffer.split_to(n_here.min(self.buffer.len()));
        unmask(&mut data, &mut frame.mask);
        frame.n_left -= data.len() as u64;
        let is_over = frame.n_left == 0;
        let piece = Piece {
            data: data.freeze(),
            is_first: std::mem::replace(&mut self.at_start, false),
            is_last: is_over && frame.is_final,
        };
        if is_over {
            self.frame = None;
        }
        Some(Event::Piece(piece))
    }

    fn control(&mut self, header: Header) -> Result<Option<Event>, Error> {
        let Header {
            opcode,
            mut frame,
            n_bytes,
        } = header;
        if !frame.is_final || frame.n_left > CONTROL_BYTES {
            return Err(Error::Protocol("a control frame is too long"));
        }
        let n_payload = frame.n_left as usize;
        if self.buffer.len() < n_bytes + n_payload {
            return Ok(None);
        }
        self.buffer.advance(n_bytes);
        let mut payload = self.buffer.split_to(n_payload);
        unmask(&mut payload, &mut frame.mask);
        match opcode {
            PING => Ok(Some(Event::Ping(payload.freeze()))),
            CLOSE => Ok(Some(Event::Close)),
            // A pong that nobody asked for is no error.
            _ => self.take(),
        }
    }
}

fn header(buffer: &[u8]) -> Result<Option<Header>, Error> {
    let [first, second, rest @ ..] = buffer else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Error::Protocol("an extension that was not agreed on"));
    }
    let opcode = first & 0x0F;
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(Error::Protocol("an unknown kind of frame"));
    }
    if second & 0x80 == 0 {
        return Err(Error::Protocol("a client's frame is not masked"));
    }
    let n_length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if rest.len() < n_length + MASK_BYTES {
        return Ok(None);
    }
    let (length, rest) = rest.split_at(n_length);
    let n_left = if n_length == 0 {
        u64::from(second & 0x7F)
    } else {
        length
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    if n_left > i64::MAX as u64 {
        return Err(Error::Protocol("a frame is longer than can be"));
    }
    let mut mask = [0; MASK_BYTES];
    mask.copy_from_slice(&rest[..MASK_BYTES]);
    Ok(Some(Header {
        opcode,
        frame: Frame {
            n_left,
            mask,
            is_final: first & 0x80 != 0,
        },
        n_bytes: 2 + n_length + MASK_BYTES,
    }))
}

/// Takes the mask off, and turns it to where the next byte needs it.
fn unmask(data: &mut [u8], mask: &mut [u8; MASK_BYTES]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut chunks = data.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let plain = u64::from_ne_bytes(word) ^ wide;
        chunk.copy_from_slice(&plain.to_ne_bytes());
    }
    for (idx, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= mask[idx % MASK_BYTES];
    }
    mask.rotate_left(data.len() % MASK_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            long => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(long as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(
            payload
                .iter()
                .enumerate()
                .map(|(idx, byte)| byte ^ mask[idx % 4]),
        );
        frame
    }

    /// Whole messages and control frames of a connection that comes in pieces of `step` bytes.
    async fn read(bytes: &[u8], step: usize) -> Result<Vec<String>, Error> {
        let (mut client, server) = tokio::io::duplex(step);
        let bytes = bytes.to_vec();
        let writing =
            kontiki_base::task::spawn(kontiki_base::task::TaskKind::Command, async move {
                use tokio::io::AsyncWriteExt as _;
                let _ = client.write_all(&bytes).await;
            });
        let mut reader = Reader::new(server, b"");
        let (mut found, mut message) = (Vec::new(), Vec::new());
        while let Some(event) = reader.next().await? {
            match event {
                Event::Piece(piece) => {
                    assert_eq!(piece.is_first, message.is_empty());
                    message.extend_from_slice(&piece.data);
                    message.push(b'|');
                    if piece.is_last {
                        let text = String::from_utf8_lossy(&message).replace('|', "");
                        found.push(text);
                        message.clear();
                    }
                }
                Event::Ping(data) => found.push(format!("ping {}", data.len())),
                Event::Close => found.push("close".into()),
            }
        }
        drop(writing.await);
        Ok(found)
    }

    #[tokio::test]
    async fn messages_come_whole_however_the_connection_cuts_them() {
        let long = "x".repeat(1000);
        let all = [
            frame(0x82, b"one"),
            frame(0x02, b"t"),
            frame(0x89, b"pi"),
            frame(0x00, b"w"),
            frame(0x80, b"o"),
            frame(0x8A, b"pong"),
            frame(0x81, long.as_bytes()),
            frame(0x82, b""),
            frame(0x88, &[3, 0xE8]),
        ]
        .concat();
        for step in [1, 2, 3, 5, 7, 64, 4096] {
            let found = read(&all, step).await.unwrap();
            let expected = ["one", "ping 2", "two", &long, "", "close"];
            assert_eq!(found, expected, "{step}");
        }
    }

    #[tokio::test]
    async fn hostile_frames_end_the_connection() {
        let unmasked = vec![0x82, 1, b'x'];
        let endless = [vec![0x82, 0xFF], vec![0xFF; 8], vec![0; 4]].concat();
        for (why, bytes) in [
            ("unmasked", unmasked),
            ("reserved bits", frame(0xC2, b"x")),
            ("reserved opcode", frame(0x83, b"x")),
            ("nothing to continue", frame(0x80, b"x")),
            (
                "two at once",
                [frame(0x02, b"x"), frame(0x82, b"y")].concat(),
            ),
            ("long ping", frame(0x89, &[0; 126])),
            ("ping in parts", frame(0x09, b"x")),
            ("endless", endless),
        ] {
            assert!(
                matches!(read(&bytes, 4096).await, Err(Error::Protocol(_))),
                "{why}"
            );
        }
    }

    #[tokio::test]
    async fn a_message_of_any_size_costs_one_buffer() {
        let mut head = vec![0x82, 0xFF];
        head.extend_from_slice(&(1_u64 << 40).to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&vec![7; 8 * READ_BYTES]);
        let mut reader = Reader::new(&head[..], b"");
        let mut n_bytes = 0;
        while let Some(Event::Piece(piece)) = reader.next().await.unwrap() {
            assert!(piece.data.len() <= 2 * READ_BYTES && !piece.is_last);
            n_bytes += piece.data.len();
        }
        assert_eq!(n_bytes, 8 * READ_BYTES);
    }
}
