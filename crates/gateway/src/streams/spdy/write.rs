//! Writing to a client: whoever has something to say queues it, one writer puts it on the connection.
//!
//! Answers to pings have a place of their own: they must not wait behind data that the client does not take.

use bytes::Bytes;
use kontiki_base::limits::TUNNEL_CHUNKS;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::StreamId;
use super::frame::{FLAG_FIN, Head, kind};
use super::headers::Encoder;

/// What is to be written.
#[derive(Debug)]
enum Say {
    Reply(StreamId),
    Data(StreamId, Bytes, bool),
    Reset(StreamId, u32),
    GoAway(StreamId),
}

/// Nobody writes any more: the connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The queue's near end. Sends wait while the client takes nothing.
#[derive(Clone)]
pub struct Sender {
    says: mpsc::Sender<Say>,
    pongs: mpsc::Sender<u32>,
}

/// The queue's far end.
pub struct Queue {
    says: mpsc::Receiver<Say>,
    pongs: mpsc::Receiver<u32>,
}

/// A queue towards a client.
pub fn channel() -> (Sender, Queue) {
    let (says, said) = mpsc::channel(TUNNEL_CHUNKS);
    let (pongs, ponged) = mpsc::channel(1);
    let queue = Queue {
        says: said,
        pongs: ponged,
    };
    (Sender { says, pongs }, queue)
}

impl Sender {
    async fn say(&self, say: Say) -> Result<(), Gone> {
        self.says.send(say).await.map_err(|_| Gone)
    }

    /// Accepts a stream.
    pub async fn reply(&self, stream: StreamId) -> Result<(), Gone> {
        self.say(Say::Reply(stream)).await
    }

    /// Bytes of a stream, at most `limits::TUNNEL_CHUNK_BYTES`.
    pub async fn data(&self, stream: StreamId, data: Bytes) -> Result<(), Gone> {
        self.say(Say::Data(stream, data, false)).await
    }

    /// Ends this direction of a stream.
    pub async fn finish(&self, stream: StreamId) -> Result<(), Gone> {
        self.say(Say::Data(stream, Bytes::new(), true)).await
    }

    /// Gives a stream up.
    pub async fn reset(&self, stream: StreamId, why: u32) -> Result<(), Gone> {
        self.say(Say::Reset(stream, why)).await
    }

    /// Takes no more streams; `newest` was the last.
    pub async fn go_away(&self, newest: StreamId) -> Result<(), Gone> {
        self.say(Say::GoAway(newest)).await
    }

    /// Answers a ping. One that finds another still waiting is left out: the client hears that we live.
    pub fn pong(&self, id: u32) {
        let _ = self.pongs.try_send(id);
    }
}

impl Queue {
    /// Writes until all senders are gone, then ends the connection.
    pub async fn write_to<W: AsyncWrite + Unpin>(mut self, mut io: W) -> std::io::Result<()> {
        let mut encoder = Encoder::default();
        let mut frame = Vec::new();
        loop {
            frame.clear();
            tokio::select! {
                biased;
                Some(id) = self.pongs.recv() => {
                    control(&mut frame, kind::PING, 0, &[&id.to_be_bytes()]);
                }
                say = self.says.recv() => match say {
                    Some(say) => put(&mut frame, &mut encoder, &say),
                    None => break,
                },
            }
            io.write_all(&frame).await?;
            io.flush().await?;
        }
        io.shutdown().await
    }
}

fn put(frame: &mut Vec<u8>, encoder: &mut Encoder, say: &Say) {
    match say {
        Say::Reply(stream) => {
            let block = encoder.encode(&[]);
            control(frame, kind::SYN_REPLY, 0, &[&stream.to_be_bytes(), &block]);
        }
        Say::Data(stream, data, is_last) => {
            let head = Head::Data {
                stream: *stream,
                is_last: *is_last,
                n_bytes: data.len(),
            };
            frame.extend_from_slice(&head.write());
            frame.extend_from_slice(data);
        }
        Say::Reset(stream, why) => {
            let body = [stream.to_be_bytes(), why.to_be_bytes()].concat();
            control(frame, kind::RST_STREAM, 0, &[&body]);
        }
        Say::GoAway(newest) => {
            let body = [newest.to_be_bytes(), [0; 4]].concat();
            control(frame, kind::GOAWAY, 0, &[&body]);
        }
    }
}

fn control(frame: &mut Vec<u8>, kind: u16, flags: u8, parts: &[&[u8]]) {
    debug_assert!(flags & !FLAG_FIN == 0);
    let n_bytes = parts.iter().map(|part| part.len()).sum();
    let head = Head::Control {
        kind,
        flags,
        n_bytes,
    };
    frame.extend_from_slice(&head.write());
    for part in parts {
        frame.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Reader};
    use super::*;

    #[tokio::test]
    async fn what_is_said_is_read_by_a_reader() {
        let (sender, queue) = channel();
        let mut written = Vec::new();
        sender.pong(9);
        sender.reply(1).await.unwrap();
        sender.data(1, Bytes::from_static(b"bytes")).await.unwrap();
        sender.finish(1).await.unwrap();
        sender.reset(3, 5).await.unwrap();
        sender.go_away(3).await.unwrap();
        drop(sender);
        queue.write_to(&mut written).await.unwrap();
        let mut reader = Reader::new(&written[..], b"");
        let mut events = Vec::new();
        while let Some(event) = reader.next().await.unwrap() {
            events.push(event);
        }
        let data = |data: &'static [u8], is_last| Event::Data {
            stream: 1,
            data: Bytes::from_static(data),
            is_last,
        };
        let expected = [
            Event::Ping(9),
            data(b"bytes", false),
            data(b"", true),
            Event::Reset(3),
            Event::GoAway,
        ];
        assert_eq!(events, expected);
    }
}
