//! A log over a WebSocket: one way, each chunk a message, for browsers and for clients that know nothing else.

use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use http::HeaderMap;
use http::header::UPGRADE;
use kontiki_apiserver::{Context, LogStream};
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::LINGER;
use super::upgrade::{self, Asked, Refused};
use super::websocket::{Answer, Event, Reader, Writer, code};
use crate::respond::Response;

/// Protocols of a stream that only the server writes.
const PROTOCOLS: &[&str] = &["binary.k8s.io", "base64.binary.k8s.io", ""];

/// Whether a request wants its log over a WebSocket.
pub fn is_asked(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
}

/// Answers with the switch.
pub fn answer(log: LogStream, context: Context, mut request: Request) -> Response {
    switch(log, context, &mut request).unwrap_or_else(Refused::into_response)
}

fn switch(log: LogStream, context: Context, request: &mut Request) -> Result<Response, Refused> {
    let Asked::WebSocket(accept, offered) = upgrade::asked(request.method(), request.headers())?
    else {
        return Err(upgrade::required());
    };
    let protocol = upgrade::websocket_protocol(&offered, PROTOCOLS)?;
    let connection = upgrade::connection(request)?;
    spawn(TaskKind::Request, async move {
        // Its record in the audit log is complete when the log has ended.
        let _context = context;
        if let Ok(upgraded) = connection.await {
            let (io, early) = upgrade::Io::new(upgraded);
            run(io, &early, protocol.starts_with("base64."), log).await;
        }
    });
    Ok(upgrade::to_websocket(&accept, protocol))
}

async fn run(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    is_base64: bool,
    log: LogStream,
) {
    let (read, write) = tokio::io::split(io);
    let (answers, asked) = mpsc::channel(1);
    let inwards = from_client(Reader::new(read, early), answers);
    let outwards = to_client(Writer::new(write), is_base64, log, asked);
    tokio::pin!(inwards, outwards);
    let _ = tokio::select! {
        () = &mut inwards => timeout(LINGER, outwards).await,
        () = &mut outwards => timeout(LINGER, inwards).await,
    };
}

/// A client only answers and closes.
async fn from_client<R: AsyncRead + Unpin>(mut reader: Reader<R>, answers: mpsc::Sender<Answer>) {
    let close = loop {
        match reader.next().await {
            Ok(Some(Event::Piece(_))) => {}
            Ok(Some(Event::Ping(data))) => {
                let _ = answers.try_send(Answer::Pong(data));
            }
            Ok(Some(Event::Close) | None) => break code::NORMAL,
            Err(_) => break code::PROTOCOL,
        }
    };
    let _ = answers.send(Answer::Close(close)).await;
}

async fn to_client<W: AsyncWrite + Unpin>(
    mut writer: Writer<W>,
    is_base64: bool,
    mut log: LogStream,
    mut asked: mpsc::Receiver<Answer>,
) {
    loop {
        let written = tokio::select! {
            biased;
            answer = asked.recv() => match answer {
                Some(Answer::Pong(data)) => writer.pong(&data).await,
                Some(Answer::Close(code)) => {
                    let _ = writer.close(code).await;
                    break;
                }
                None => break,
            },
            chunk = log.next() => match chunk {
                Some(Ok(chunk)) if is_base64 => {
                    writer.text(&[STANDARD.encode(&chunk).as_bytes()]).await
                }
                Some(Ok(chunk)) => writer.binary(&[&chunk]).await,
                Some(Err(_)) | None => {
                    let _ = writer.close(code::NORMAL).await;
                    break;
                }
            },
        };
        if written.is_err() {
            break;
        }
    }
    writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn each_chunk_is_a_message() {
        for (is_base64, expected) in [
            (false, &b"\x82\x04one\n\x82\x03two\x88\x02\x03\xE8"[..]),
            (true, &b"\x81\x08b25lCg==\x81\x04dHdv\x88\x02\x03\xE8"[..]),
        ] {
            let chunks = [Bytes::from_static(b"one\n"), Bytes::from_static(b"two")];
            let log = futures::stream::iter(chunks.map(Ok)).boxed();
            let (client, server) = tokio::io::duplex(64);
            let running = spawn(TaskKind::Request, async move {
                run(server, b"", is_base64, log).await;
            });
            let (mut read, write) = tokio::io::split(client);
            let mut received = Vec::new();
            read.read_to_end(&mut received).await.unwrap();
            assert_eq!(received, expected);
            drop((read, write));
            running.await.unwrap();
        }
    }
}
