//! A tunnel of one channel as a connection, for protocols that want to read and write bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures::Stream as _;
use futures::stream::BoxStream;
use kontiki_base::limits::TUNNEL_CHUNK_BYTES;
use kontiki_base::status::Status;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::PollSender;

use super::{Frame, Tunnel};

/// The connection.
pub struct TunnelIo {
    to_node: PollSender<Frame>,
    /// The end was sent. The sender stays: without it the agent would stop sending, too.
    is_shut: bool,
    from_node: BoxStream<'static, Result<Frame, Status>>,
    /// What was received and not read yet.
    rest: Bytes,
    is_ended: bool,
}

impl From<Tunnel> for TunnelIo {
    fn from(tunnel: Tunnel) -> Self {
        Self {
            to_node: PollSender::new(tunnel.to_node),
            is_shut: false,
            from_node: tunnel.from_node,
            rest: Bytes::new(),
            is_ended: false,
        }
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.is_ended {
            match ready!(Pin::new(&mut self.from_node).poll_next(cx)) {
                Some(Ok(frame)) => {
                    self.rest = frame.data;
                    self.is_ended = frame.is_end;
                }
                Some(Err(status)) => {
                    self.is_ended = true;
                    return Poll::Ready(Err(io::Error::other(status)));
                }
                None => self.is_ended = true,
            }
        }
        let n_bytes = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..n_bytes]);
        self.rest.advance(n_bytes);
        Poll::Ready(Ok(()))
    }
}

impl TunnelIo {
    fn poll_send(&mut self, cx: &mut Context<'_>, frame: Frame) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx))?;
        let sent = self.to_node.send_item(frame);
        Poll::Ready(sent.map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = ready!(self.to_node.poll_reserve(cx));
        Poll::Ready(match room {
            Ok(()) if !self.is_shut => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(TUNNEL_CHUNK_BYTES)];
        // Before the bytes are copied: a full queue is the common case of a large transfer.
        ready!(self.poll_room(cx))?;
        let frame = Frame::data(0, Bytes::copy_from_slice(bytes));
        ready!(self.poll_send(cx, frame))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            // An agent that has gone away needs no end.
            let _ = ready!(self.poll_send(cx, Frame::end(0)));
            self.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_side_ends_by_itself() {
        let (to_node, mut at_node) = mpsc::channel(1);
        let frames = [
            Ok(Frame::data(0, "hello ")),
            Ok(Frame::data(0, "world")),
            Ok(Frame::end(0)),
        ];
        let mut io = TunnelIo::from(Tunnel {
            to_node,
            from_node: futures::stream::iter(frames).boxed(),
        });
        let mut read = String::new();
        io.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "hello world");
        io.write_all(b"answer").await.unwrap();
        assert_eq!(at_node.recv().await, Some(Frame::data(0, "answer")));
        io.shutdown().await.unwrap();
        assert_eq!(at_node.recv().await, Some(Frame::end(0)));
        assert!(at_node.try_recv().is_err() && !at_node.is_closed());
        assert!(io.write_all(b"more").await.is_err());
    }

    #[tokio::test]
    async fn a_failure_of_the_agent_is_a_failure_to_read() {
        let (to_node, _at_node) = mpsc::channel(1);
        let failed = Err(Status::internal("the pod is gone"));
        let mut io = TunnelIo::from(Tunnel {
            to_node,
            from_node: futures::stream::iter([failed]).boxed(),
        });
        let error = io.read_u8().await.unwrap_err();
        assert!(error.to_string().contains("the pod is gone"), "{error}");
    }
}
