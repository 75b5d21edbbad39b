//! A remote command over the channels of a WebSocket.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kontiki_apiserver::{Frame, Tunnel, channel};
use kontiki_base::status::Status;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Dialect, error_bytes, failure};
use crate::streams::LINGER;
use crate::streams::resizes::Resizes;
use crate::streams::websocket::channels::{self, Channels, Said};
use crate::streams::websocket::{Answer, Event, Reader, Writer, code};

/// Passes bytes both ways until the process has ended or the client has gone.
pub(super) async fn run(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    dialect: Dialect,
    tunnel: Tunnel,
) {
    let (read, write) = tokio::io::split(io);
    let (answers, asked) = mpsc::channel(1);
    let inwards = from_client(Reader::new(read, early), dialect, tunnel.to_node, answers);
    let outwards = to_client(Writer::new(write), dialect, tunnel.from_node, asked);
    tokio::pin!(inwards, outwards);
    // Whichever ends first, the other side gets time for its last words.
    let _ = tokio::select! {
        () = &mut inwards => timeout(LINGER, outwards).await,
        () = &mut outwards => timeout(LINGER, inwards).await,
    };
}

async fn from_client<R: AsyncRead + Unpin>(
    mut reader: Reader<R>,
    dialect: Dialect,
    to_node: mpsc::Sender<Frame>,
    answers: mpsc::Sender<Answer>,
) {
    let mut channels = Channels::new(dialect.is_base64);
    let mut resizes = Resizes::default();
    let close = loop {
        let piece = match reader.next().await {
            Ok(Some(Event::Piece(piece))) => piece,
            Ok(Some(Event::Ping(data))) => {
                // One that finds another still waiting is left out: the client hears that we live.
                let _ = answers.try_send(Answer::Pong(data));
                continue;
            }
            Ok(Some(Event::Close) | None) => break code::NORMAL,
            Err(error) => {
                tracing::debug!(%error, "a client's WebSocket broke off");
                break code::PROTOCOL;
            }
        };
        let frame = match channels.take(piece) {
            Ok(Some(Said::Data(channel::STDIN, data))) if dialect.stdin => {
                Frame::data(channel::STDIN, data)
            }
            Ok(Some(Said::Data(channel::RESIZE, data))) if dialect.tty => {
                match resizes.take(&data) {
                    Some(size) => Frame::data(channel::RESIZE, size),
                    None => continue,
                }
            }
            Ok(Some(Said::Closed(channel::STDIN))) if dialect.has_close => {
                Frame::end(channel::STDIN)
            }
            // Channels that were not asked for are read and dropped, as upstream.
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "a client's message is malformed");
                break code::PROTOCOL;
            }
        };
        // A process that has ended needs no more input; the client learns of it on the way out.
        let _ = to_node.send(frame).await;
    };
    let _ = answers.send(Answer::Close(close)).await;
}

async fn to_client<W: AsyncWrite + Unpin>(
    mut writer: Writer<W>,
    dialect: Dialect,
    from_node: BoxStream<'static, Result<Frame, Status>>,
    asked: mpsc::Receiver<Answer>,
) {
    if let Err(error) = say_all(&mut writer, dialect, from_node, asked).await {
        tracing::debug!(%error, "a client's WebSocket broke off");
    }
    writer.shutdown().await;
}

async fn say_all<W: AsyncWrite + Unpin>(
    writer: &mut Writer<W>,
    dialect: Dialect,
    mut from_node: BoxStream<'static, Result<Frame, Status>>,
    mut asked: mpsc::Receiver<Answer>,
) -> std::io::Result<()> {
    // An empty message tells the client that its streams are there.
    let lowest = match dialect {
        Dialect { stdout: true, .. } => channel::STDOUT,
        Dialect { stderr: true, .. } => channel::STDERR,
        _ => channel::ERROR,
    };
    channels::write(writer, dialect.is_base64, lowest, &[]).await?;
    loop {
        let said = tokio::select! {
            biased;
            answer = asked.recv() => match answer {
                Some(Answer::Pong(data)) => {
                    writer.pong(&data).await?;
                    continue;
                }
                Some(Answer::Close(code)) => return writer.close(code).await,
                None => return Ok(()),
            },
            said = from_node.next() => said,
        };
        let (number, data) = match said {
            None => return writer.close(code::NORMAL).await,
            Some(Ok(frame)) => (frame.channel, frame.data),
            Some(Err(status)) => (channel::ERROR, failure(&status)),
        };
        let wanted = match number {
            channel::STDOUT => dialect.stdout.then_some(data),
            channel::STDERR => dialect.stderr.then_some(data),
            channel::ERROR => error_bytes(dialect, data),
            _ => None,
        };
        if let Some(data) = wanted.filter(|data| !data.is_empty()) {
            channels::write(writer, dialect.is_base64, number, &data).await?;
        }
    }
}
