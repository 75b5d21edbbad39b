//! Connections that Docker turns into streams of a process: a request, `101 Switching Protocols`, then bytes.
//!
//! Not by bollard: it cuts a terminal's output by its first byte (which may be that of a frame's header) and keeps whole
//! frames. Here a frame's bytes go on as they come, and no more than one read is held.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kontiki_base::limits::TUNNEL_CHUNK_BYTES;
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixStream;

use crate::{Error, Output, Result, Streams};

/// Longest wait for the engine to switch.
const SWITCH: Duration = Duration::from_secs(60);
/// Bytes of an error's text.
const MESSAGE_BYTES: usize = 64 * 1024;
/// A frame's header: the stream, three unused bytes, the length.
const HEADER_BYTES: usize = 8;
const STDERR: u8 = 2;

/// Opens the streams behind a path. `is_raw`: a terminal's output, which has no frames.
pub(super) async fn open(socket: &str, path: &str, body: String, is_raw: bool) -> Result<Streams> {
    let switched = tokio::time::timeout(SWITCH, switch(socket, path, body)).await;
    let (stream, early) = switched
        .unwrap_or_else(|_| Err(Error::Unreachable("the engine does not answer".into())))?;
    let (read, write) = stream.into_split();
    let reader = Reader {
        read,
        buffer: BytesMut::from(&*early),
        ready: VecDeque::new(),
        demux: (!is_raw).then(Demux::default),
    };
    Ok(Streams {
        input: Box::new(write),
        output: reader.into_stream(),
    })
}

async fn switch(socket: &str, path: &str, body: String) -> Result<(UnixStream, Bytes)> {
    let away = |error: &dyn std::fmt::Display| Error::Unreachable(error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|e| away(&e))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| away(&e))?;
    // It ends by itself with the switch, or with the answer that refuses it.
    drop(spawn(TaskKind::Request, connection.with_upgrades()));
    let request = Request::post(path)
        .header(HOST, "docker")
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "tcp")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Error::Refused(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|e| away(&e))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| away(&e))?;
    let parts = upgraded
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| Error::Unreachable("the engine's connection is of another kind".into()))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

async fn refusal(response: Response<Incoming>) -> Error {
    let status = response.status();
    let body = Limited::new(response.into_body(), MESSAGE_BYTES).collect();
    let body = body.await.map(|body| body.to_bytes()).unwrap_or_default();
    let told: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let message = told
        .as_ref()
        .and_then(|told| told["message"].as_str())
        .map_or_else(|| format!("the engine answered {status}"), str::to_owned);
    match status {
        StatusCode::NOT_FOUND => Error::NotFound(message),
        StatusCode::CONFLICT => Error::Conflict(message),
        _ => Error::Refused(message),
    }
}

struct Reader<R> {
    read: R,
    buffer: BytesMut,
    ready: VecDeque<Output>,
    demux: Option<Demux>,
}

impl<R: AsyncRead + Send + Unpin + 'static> Reader<R> {
    fn into_stream(self) -> BoxStream<'static, Result<Output>> {
        stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(output)) => Some((Ok(output), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Output>> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                return Ok(Some(output));
            }
            match &mut self.demux {
                Some(demux) => demux.take(&mut self.buffer, &mut self.ready),
                None if !self.buffer.is_empty() => {
                    self.ready
                        .push_back(Output::Stdout(self.buffer.split().freeze()));
                }
                None => {}
            }
            if self.ready.is_empty() {
                self.buffer.reserve(TUNNEL_CHUNK_BYTES);
                let read = self.read.read_buf(&mut self.buffer).await;
                if read.map_err(|error| Error::Unreachable(error.to_string()))? == 0 {
                    return Ok(None);
                }
            }
        }
    }
}

/// Takes frames apart.
#[derive(Default)]
struct Demux {
    stream: u8,
    /// Bytes of the present frame that are still to come.
    n_left: usize,
}

impl Demux {
    /// Moves what the buffer has of frames to `ready`; what stays is a part of a header.
    fn take(&mut self, buffer: &mut BytesMut, ready: &mut VecDeque<Output>) {
        while !buffer.is_empty() {
            if self.n_left == 0 {
                if buffer.len() < HEADER_BYTES {
                    return;
                }
                self.stream = buffer[0];
                buffer.advance(4);
                self.n_left = buffer.get_u32() as usize;
                continue;
            }
            let content = buffer.split_to(self.n_left.min(buffer.len())).freeze();
            self.n_left -= content.len();
            ready.push_back(match self.stream {
                STDERR => Output::Stderr(content),
                _ => Output::Stdout(content),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, content: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend_from_slice(&(content.len() as u32).to_be_bytes());
        frame.extend_from_slice(content.as_bytes());
        frame
    }

    fn reader(bytes: Vec<u8>, is_raw: bool) -> Reader<std::io::Cursor<Vec<u8>>> {
        Reader {
            read: std::io::Cursor::new(bytes),
            buffer: BytesMut::new(),
            ready: VecDeque::new(),
            demux: (!is_raw).then(Demux::default),
        }
    }

    #[test]
    fn frames_are_taken_apart_wherever_reads_cut_them() {
        let all = [
            frame(1, "out"),
            frame(1, ""),
            frame(2, "error"),
            frame(1, "!"),
        ]
        .concat();
        for step in 1..all.len() {
            let (mut demux, mut buffer) = (Demux::default(), BytesMut::new());
            let mut ready = VecDeque::new();
            for part in all.chunks(step) {
                buffer.extend_from_slice(part);
                demux.take(&mut buffer, &mut ready);
            }
            let (mut out, mut err) = (Vec::new(), Vec::new());
            for output in ready {
                match output {
                    Output::Stdout(bytes) => out.extend_from_slice(&bytes),
                    Output::Stderr(bytes) => err.extend_from_slice(&bytes),
                }
            }
            assert_eq!(
                (&out[..], &err[..]),
                (&b"out!"[..], &b"error"[..]),
                "{step}"
            );
        }
    }

    #[tokio::test]
    async fn a_terminals_bytes_are_never_read_as_headers() {
        let text = vec![1, 0, 0, 0, 0, 0, 0, 9, b'$', b' '];
        let mut output = reader(text.clone(), true).into_stream();
        let first = output.next().await.unwrap().unwrap();
        assert_eq!(first, Output::Stdout(text.into()));
        assert!(output.next().await.is_none());
    }
}
