//! A remote command over the streams of SPDY: the client opens one for each channel and says in a header which it is.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kontiki_apiserver::{Frame, Tunnel, channel};
use kontiki_base::status::Status;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{Dialect, STREAM_CREATION, error_bytes, failure};
use crate::streams::LINGER;
use crate::streams::resizes::Resizes;
use crate::streams::spdy::{self, Event, Reader, Sender, StreamId, reset};

/// Streams by channel; 0 is no stream.
type Streams = [StreamId; 5];

/// Passes bytes both ways until the process has ended or the client has gone.
pub(super) async fn run(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    dialect: Dialect,
    tunnel: Tunnel,
) {
    let (read, write) = tokio::io::split(io);
    let (sender, queue) = spdy::channel();
    let (opened, streams) = watch::channel(Streams::default());
    let reader = Reader::new(read, early);
    let inwards = from_client(reader, dialect, tunnel.to_node, sender.clone(), opened);
    let outwards = to_client(sender, dialect, tunnel.from_node, streams);
    let session = async move {
        tokio::pin!(inwards);
        tokio::select! {
            () = &mut inwards => {}
            () = outwards => {
                // The client takes the rest and closes the connection.
                let _ = timeout(LINGER, inwards).await;
            }
        }
    };
    let writing = queue.write_to(write);
    tokio::pin!(writing);
    tokio::select! {
        _ = &mut writing => return,
        () = session => {}
    }
    // All senders are gone: it ends once the rest is written.
    let _ = timeout(LINGER, writing).await;
}

/// The channels that a client opens.
fn expected(dialect: Dialect) -> [bool; 5] {
    let resize = dialect.tty && dialect.has_resize;
    [dialect.stdin, dialect.stdout, dialect.stderr, true, resize]
}

fn is_complete(dialect: Dialect, streams: &Streams) -> bool {
    let mut all = expected(dialect).into_iter().zip(streams);
    all.all(|(is_expected, stream)| *stream != 0 || !is_expected)
}

fn channel_of(headers: &[(String, String)]) -> Option<u8> {
    let named = headers.iter().find(|(name, _)| name == "streamtype");
    match named?.1.as_str() {
        "stdin" => Some(channel::STDIN),
        "stdout" => Some(channel::STDOUT),
        "stderr" => Some(channel::STDERR),
        "error" => Some(channel::ERROR),
        "resize" => Some(channel::RESIZE),
        _ => None,
    }
}

async fn from_client<R: AsyncRead + Unpin>(
    mut reader: Reader<R>,
    dialect: Dialect,
    to_node: mpsc::Sender<Frame>,
    sender: Sender,
    opened: watch::Sender<Streams>,
) {
    let mut resizes = Resizes::default();
    let is_stream = |number: u8, stream: StreamId| opened.borrow()[usize::from(number)] == stream;
    loop {
        let event = match reader.next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a client's SPDY connection broke off");
                return;
            }
        };
        match event {
            Event::Open {
                stream, headers, ..
            } => {
                let number = channel_of(&headers).map(usize::from);
                let number = number
                    .filter(|number| expected(dialect)[*number] && opened.borrow()[*number] == 0);
                let said = match number {
                    Some(_) => sender.reply(stream).await,
                    None => sender.reset(stream, reset::REFUSED_STREAM).await,
                };
                if said.is_err() {
                    return;
                }
                if let Some(number) = number {
                    opened.send_modify(|streams| streams[number] = stream);
                }
            }
            Event::Data {
                stream,
                data,
                is_last,
            } if is_stream(channel::STDIN, stream) => {
                // A process that has ended needs no more input; the client learns of it on the way out.
                if !data.is_empty() {
                    let _ = to_node.send(Frame::data(channel::STDIN, data)).await;
                }
                if is_last {
                    let _ = to_node.send(Frame::end(channel::STDIN)).await;
                }
            }
            Event::Data { stream, data, .. } if is_stream(channel::RESIZE, stream) => {
                if let Some(size) = resizes.take(&data) {
                    let _ = to_node.send(Frame::data(channel::RESIZE, size)).await;
                }
            }
            Event::Reset(stream) if is_stream(channel::STDIN, stream) => {
                let _ = to_node.send(Frame::end(channel::STDIN)).await;
            }
            Event::Ping(id) => sender.pong(id),
            Event::Data { .. } | Event::Reset(_) | Event::GoAway => {}
        }
    }
}

async fn to_client(
    sender: Sender,
    dialect: Dialect,
    mut from_node: BoxStream<'static, Result<Frame, Status>>,
    mut opened: watch::Receiver<Streams>,
) {
    let complete = opened.wait_for(|streams| is_complete(dialect, streams));
    let streams = match timeout(STREAM_CREATION, complete).await {
        Ok(Ok(streams)) => *streams,
        _ => {
            tracing::debug!("a client did not open its streams in time");
            return;
        }
    };
    while let Some(said) = from_node.next().await {
        let (number, data) = match said {
            Ok(frame) => (frame.channel, frame.data),
            Err(status) => (channel::ERROR, failure(&status)),
        };
        let data = match number {
            channel::ERROR => error_bytes(dialect, data),
            channel::STDOUT | channel::STDERR => Some(data),
            _ => None,
        };
        let stream = streams.get(usize::from(number)).copied().unwrap_or(0);
        if let Some(data) = data.filter(|data| !data.is_empty() && stream != 0)
            && sender.data(stream, data).await.is_err()
        {
            return;
        }
    }
    for stream in streams.into_iter().filter(|stream| *stream != 0) {
        if sender.finish(stream).await.is_err() {
            return;
        }
    }
    let newest = streams.into_iter().max().unwrap_or(0);
    let _ = sender.go_away(newest).await;
}
