//! A connection (TLS included) that does not wait for ever: for the first request, and for a peer that stopped reading.
//!
//! hyper bounds the reading of HTTP/1 headers and pings idle HTTP/2 connections, but neither the wait for a
//! connection's first bytes nor a write that makes no progress. Between requests a peer may be as quiet as it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kontiki_base::limits::HANDSHAKE_TIMEOUT;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection has shown that it means to speak once it sent an HTTP/2 preface's worth of bytes; from there on
/// hyper's own timers watch it.
const OPENING_BYTES: usize = 24;
/// How long a write may make no progress.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The guarded connection.
pub struct GuardedIo<IO> {
    io: IO,
    n_read: usize,
    opening: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<IO> GuardedIo<IO> {
    /// Guards a fresh connection.
    pub fn new(io: IO) -> Self {
        Self {
            io,
            n_read: 0,
            opening: Some(Box::pin(sleep(HANDSHAKE_TIMEOUT))),
            stall: None,
        }
    }

    /// The connection without its guard.
    pub fn into_inner(self) -> IO {
        self.io
    }

    /// Gives a write's outcome on, unless it waits for too long already.
    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep(STALL_TIMEOUT)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(timed_out("the peer stopped reading")))
    }
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<IO: AsyncRead + Unpin> AsyncRead for GuardedIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some(opening) = &mut self.opening else {
            return outcome;
        };
        if outcome.is_pending() {
            ready!(opening.as_mut().poll(cx));
            return Poll::Ready(Err(timed_out("no request came")));
        }
        self.n_read += buf.filled().len() - before;
        if self.n_read >= OPENING_BYTES {
            self.opening = None;
        }
        outcome
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for GuardedIo<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.watch_write(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
