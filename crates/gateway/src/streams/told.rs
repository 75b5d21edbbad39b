//! What a server tells and a client only reads, over WebSocket: the events of a watch, a container's log (upstream's
//! `wsstream` and `HandleWS`). Browsers have no other way to follow.

use std::time::Duration;

use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use http::Method;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::upgrade::{self, Asked, Refused};
use super::websocket::{Event, Reader, Writer, code};
use crate::respond::Response;

/// Messages as they are, and in base64 for who can read text only.
const PROTOCOLS: &[&str] = &["", "binary.k8s.io", BASE64];
const BASE64: &str = "base64.binary.k8s.io";
/// A client that takes nothing for so long has gone away.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A message to the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Of text.
    Text(Bytes),
    /// Of bytes.
    Binary(Bytes),
}

/// A client that wants to be told over WebSocket.
pub struct Listener {
    connection: OnUpgrade,
    asked: Asked,
    protocol: &'static str,
}

impl Listener {
    /// The listener of a request; none where the request asks for no WebSocket.
    pub fn of(request: &mut Request) -> Option<Result<Self, Refused>> {
        let (method, headers) = (request.method(), request.headers());
        if *method != Method::GET {
            return None;
        }
        match upgrade::asked(method, headers) {
            Ok(asked @ Asked::WebSocket(..)) => Some(Self::new(request, asked)),
            // Whatever else it asks for, an answer in HTTP will do.
            Ok(Asked::Spdy(_)) | Err(_) => None,
        }
    }

    fn new(request: &mut Request, asked: Asked) -> Result<Self, Refused> {
        Ok(Self {
            protocol: asked.protocol(PROTOCOLS, &[])?,
            connection: upgrade::connection(request)?,
            asked,
        })
    }

    /// Switches, and tells bytes as they come. `context` lives as long as the connection.
    pub fn tell_bytes(
        self,
        context: impl Send + 'static,
        chunks: BoxStream<'static, Bytes>,
    ) -> Response {
        let is_base64 = self.protocol == BASE64;
        let message = move |chunk: Bytes| match is_base64 {
            true => Message::Text(STANDARD.encode(chunk).into()),
            false => Message::Binary(chunk),
        };
        // Upstream begins with an empty message, so that a client sees at once that it is connected.
        let first = futures::stream::iter([message(Bytes::new())]);
        self.tell(context, first.chain(chunks.map(message)).boxed())
    }

    /// Switches, and tells messages. `context` lives as long as the connection.
    pub fn tell(
        self,
        context: impl Send + 'static,
        messages: BoxStream<'static, Message>,
    ) -> Response {
        let serve = move |_, io, early: Bytes| async move { run(io, &early, messages).await };
        upgrade::switch(self.connection, self.asked, self.protocol, context, serve)
    }
}

async fn run(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    mut messages: BoxStream<'static, Message>,
) {
    let (read, write) = tokio::io::split(io);
    let (mut reader, mut writer) = (Reader::new(read, early), Writer::new(write));
    loop {
        let written = tokio::select! {
            event = reader.next() => match event {
                Ok(Some(Event::Ping(data))) => within(writer.pong(&data)).await,
                // What a listener says is nobody's.
                Ok(Some(Event::Piece(_))) => true,
                Ok(Some(Event::Close) | None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a client's WebSocket broke off");
                    within(writer.close(code::PROTOCOL)).await;
                    writer.shutdown().await;
                    return;
                }
            },
            message = messages.next() => match message {
                Some(Message::Text(text)) => within(writer.text(&[&text])).await,
                Some(Message::Binary(bytes)) => within(writer.binary(&[&bytes])).await,
                None => break,
            },
        };
        if !written {
            return;
        }
    }
    within(writer.close(code::NORMAL)).await;
    writer.shutdown().await;
}

/// Whether the client took it in time.
async fn within(write: impl Future<Output = std::io::Result<()>>) -> bool {
    matches!(timeout(STALL_TIMEOUT, write).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn messages_are_frames_and_the_last_one_closes() {
        let (near, mut far) = tokio::io::duplex(4096);
        let messages = [
            Message::Text("a".into()),
            Message::Binary(Bytes::from_static(&[7])),
        ];
        run(near, b"", futures::stream::iter(messages).boxed()).await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        let frames: &[u8] = &[0x81, 1, b'a', 0x82, 1, 7, 0x88, 2, 0x03, 0xE8];
        assert_eq!(read, frames);
    }

    #[tokio::test]
    async fn a_client_that_closes_ends_a_stream_that_would_not() {
        let (near, mut far) = tokio::io::duplex(4096);
        // A ping with its mask, then a close.
        let sent = [0x89, 0x81, 0, 0, 0, 0, 9, 0x88, 0x80, 0, 0, 0, 0];
        far.write_all(&sent).await.unwrap();
        run(near, b"", futures::stream::pending().boxed()).await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [0x8A, 1, 9, 0x88, 2, 0x03, 0xE8]);
    }
}
