//! A process that answers what it reads, over both protocols and in their dialects.

use futures::StreamExt as _;
use kontiki_apiserver::{Frame, Tunnel, channel};
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::*;
use crate::streams::spdy::{self, Event, testing};

const DIALECT: Dialect = Dialect {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
    is_base64: false,
    has_close: true,
    has_text_errors: false,
    has_resize: true,
};
const STATUS: &str = r#"{"metadata":{},"status":"Failure","message":"it failed"}"#;

/// A process that echoes until its input ends, then fails.
fn echo() -> Tunnel {
    let (to_node, mut at_node) = mpsc::channel::<Frame>(8);
    let (said, from_node) = mpsc::channel::<Result<Frame, Status>>(8);
    spawn(TaskKind::Command, async move {
        while let Some(frame) = at_node.recv().await {
            let is_over = frame.is_end;
            let answer = if is_over {
                Frame::data(channel::ERROR, STATUS)
            } else {
                Frame::data(channel::STDOUT, frame.data)
            };
            if said.send(Ok(answer)).await.is_err() || is_over {
                return;
            }
        }
    });
    Tunnel {
        to_node,
        from_node: tokio_stream::wrappers::ReceiverStream::new(from_node).boxed(),
    }
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

fn frame(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    [&[first, payload.len() as u8], &payload[..]].concat()
}

async fn websocket(dialect: Dialect, sent: &[u8]) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(64);
    let running = spawn(TaskKind::Request, async move {
        over_websocket::run(server, b"", dialect, echo()).await;
    });
    let (mut read, mut write) = tokio::io::split(client);
    write.write_all(sent).await.unwrap();
    let mut received = Vec::new();
    read.read_to_end(&mut received).await.unwrap();
    drop((read, write));
    running.await.unwrap();
    received
}

#[tokio::test]
async fn a_websocket_half_closes_and_hears_how_it_ended() {
    let sent = [
        masked(0x82, b"\x00hello"),
        masked(0x89, b"are you there"),
        masked(0x82, &[255, 0]),
    ];
    let received = websocket(DIALECT, &sent.concat()).await;
    let expected = [
        frame(0x82, &[&[1]]),
        frame(0x82, &[&[1], b"hello"]),
        frame(0x82, &[&[3], STATUS.as_bytes()]),
        frame(0x88, &[&1000_u16.to_be_bytes()]),
    ]
    .concat();
    // When the pong leaves is the scheduler's to say.
    let pong = frame(0x8A, &[b"are you there"]);
    let at = received.windows(pong.len()).position(|part| part == pong);
    let at = at.unwrap();
    let rest = [&received[..at], &received[at + pong.len()..]].concat();
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn a_websocket_of_text_has_digits_and_sentences() {
    let dialect = Dialect {
        is_base64: true,
        has_close: false,
        has_text_errors: true,
        ..DIALECT
    };
    let sent = [masked(0x81, b"0aGVsbG8="), masked(0x88, &[3, 0xE8])].concat();
    let received = websocket(dialect, &sent).await;
    assert_eq!(received[..3], [0x81, 1, b'1']);
    assert_eq!(error_bytes(dialect, STATUS.into()).unwrap(), "it failed");
    let success = Bytes::from_static(br#"{"status":"Success"}"#);
    assert_eq!(error_bytes(dialect, success), None);
}

#[tokio::test]
async fn a_malformed_websocket_is_closed_with_the_protocols_code() {
    let received = websocket(DIALECT, &[0x82, 1, b'x', 0, 0, 0, 0]).await;
    assert!(received.ends_with(&frame(0x88, &[&1002_u16.to_be_bytes()])));
}

#[tokio::test]
async fn spdy_streams_end_one_by_one_and_unknown_ones_are_refused() {
    let (client, server) = tokio::io::duplex(4096);
    let running = spawn(TaskKind::Request, async move {
        over_spdy::run(server, b"", DIALECT, echo()).await;
    });
    let mut encoder = testing::Encoder::default();
    let mut sent = Vec::new();
    let names = ["error", "stdin", "stdout", "nonsense", "stderr"];
    for (idx, name) in names.into_iter().enumerate() {
        sent.extend(encoder.open(2 * idx as u32 + 1, &[("streamtype", name)]));
    }
    sent.extend(testing::data(3, b"hello", false));
    sent.extend(testing::data(3, b"", true));
    let (read, mut write) = tokio::io::split(client);
    write.write_all(&sent).await.unwrap();
    let mut reader = spdy::Reader::new(read, b"");
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let (mut ended, mut refused) = (Vec::new(), Vec::new());
    while let Some(event) = reader.next().await.unwrap() {
        match event {
            Event::Data {
                stream,
                data,
                is_last,
            } => {
                match stream {
                    5 => out.extend_from_slice(&data),
                    1 => error.extend_from_slice(&data),
                    _ => {}
                }
                if is_last {
                    ended.push(stream);
                }
            }
            Event::Reset(stream) => refused.push(stream),
            Event::GoAway => write.shutdown().await.unwrap(),
            _ => {}
        }
    }
    running.await.unwrap();
    assert_eq!((&out[..], &error[..]), (&b"hello"[..], STATUS.as_bytes()));
    ended.sort_unstable();
    assert_eq!((ended, refused), (vec![1, 3, 5, 9], vec![7]));
}
