//! Connections that say nothing, say it slowly, or speak HTTP/2 to do harm.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::bodies::CONFIG_MAPS;
use super::{MIB, Row};
use crate::wire::read_to_close;
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(19, "clients that say little or nothing", |w| {
        Box::pin(slow(w))
    }),
    Row::new(20, "floods of HTTP/2 frames", |w| Box::pin(frames(w))).with_memory(128 * MIB),
];

const N_SILENT: usize = 1000;

async fn slow(world: &World) -> Result<()> {
    let admin = world.admin();
    let endpoint = admin.endpoint().to_owned();
    let silent = try_join_all((0..N_SILENT).map(|_| TcpStream::connect(endpoint.clone()))).await?;
    // TLS that stops in the middle of its first message.
    let mut half = TcpStream::connect(&endpoint).await?;
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await?;
    let mut headers = admin.tls("http/1.1").await?;
    headers
        .write_all(b"GET /api HTTP/1.1\r\nhost: x\r\nx-slow: ")
        .await?;
    let mut preface = admin.tls("h2").await?;
    preface.write_all(b"PRI * HT").await?;
    let mut body = admin.tls("http/1.1").await?;
    let head =
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{\"a");
    body.write_all(head.as_bytes()).await?;
    // A good client is served meanwhile.
    world.lives().await?;
    let closing = join_all(
        silent
            .into_iter()
            .map(|mut stream| async move { read_to_close(&mut stream).await }),
    );
    let (silent, half, headers, preface, body) = tokio::join!(
        closing,
        read_to_close(&mut half),
        read_to_close(&mut headers),
        read_to_close(&mut preface),
        read_to_close(&mut body),
    );
    silent
        .into_iter()
        .collect::<Result<Vec<_>>>()
        .context("a silent connection")?;
    half.context("half a handshake")?;
    headers.context("slow headers")?;
    preface.context("half a preface")?;
    let body = body.context("a slow body")?;
    ensure!(body.starts_with("HTTP/1.1 4"), "a slow body: {body}");
    Ok(())
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block: indexed names, literal values.
fn block(method: u8, path: &str) -> Vec<u8> {
    // 2 and 3 are GET and POST in the static table, 7 is https, 4 is :path, 1 is :authority.
    let mut block = vec![0x80 | method, 0x87];
    for (name, value) in [(0x04, path), (0x01, "127.0.0.1")] {
        block.push(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// How a connection took a flood.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It was told to go away, or closed.
    Refused,
    /// It was answered to the end.
    Borne,
}

/// Sends `opening` and so many frames, and reads what comes back.
async fn flood(
    world: &World,
    opening: Vec<u8>,
    count: u32,
    make: impl Fn(u32) -> Vec<u8>,
) -> Result<End> {
    let (mut reader, mut writer) = tokio::io::split(world.admin().tls("h2").await?);
    let mut start = PREFACE.to_vec();
    start.extend(frame(SETTINGS, 0, 0, &[]));
    start.extend(opening);
    writer.write_all(&start).await?;
    let writing = async {
        for first in (0..count).step_by(100) {
            let chunk: Vec<u8> = (first..first + 100).flat_map(&make).collect();
            if writer.write_all(&chunk).await.is_err() {
                return End::Refused;
            }
        }
        // An answer to this shows that all before it was borne.
        let _ = writer.write_all(&frame(PING, 0, 0, b"the last")).await;
        std::future::pending().await
    };
    let reading = async {
        let mut header = [0; 9];
        while reader.read_exact(&mut header).await.is_ok() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let mut payload = vec![0; length];
            if header[3] == GOAWAY || reader.read_exact(&mut payload).await.is_err() {
                return End::Refused;
            }
            if header[3] == PING && payload == b"the last" {
                return End::Borne;
            }
        }
        End::Refused
    };
    let ending = async {
        tokio::select! {
            end = writing => end,
            end = reading => end,
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(120), ending).await;
    end.context("neither answered nor closed")
}

async fn frames(world: &World) -> Result<()> {
    let get = block(2, "/version");
    let reset = |idx: u32| {
        let stream = 2 * idx + 1;
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
        both.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
        both
    };
    let end = flood(world, Vec::new(), 100_000, reset).await?;
    ensure!(end == End::Refused, "rapid resets are borne");

    let unfinished = frame(HEADERS, 0, 1, &get);
    let header = b"\x00\x01a\x7f\x81\x00xxxxxxxx";
    let endless = |_| frame(CONTINUATION, 0, 1, &header[..3]);
    let end = flood(world, unfinished.clone(), 100_000, endless).await?;
    ensure!(end == End::Refused, "continuations without end are borne");
    let nothing = |_| frame(CONTINUATION, 0, 1, &[]);
    let end = flood(world, unfinished, 100_000, nothing).await?;
    ensure!(end == End::Refused, "empty continuations are borne");

    let post = frame(HEADERS, END_HEADERS, 1, &block(3, CONFIG_MAPS));
    let empty = |_| frame(DATA, 0, 1, &[]);
    let end = flood(world, post, 100_000, empty).await?;
    ensure!(end == End::Refused, "empty data is borne");

    // Each is answered by one of the same size at most, and only while the client reads: no amplification, no queue.
    for settings in [vec![], [0, 4, 0, 1, 0, 0].repeat(100)] {
        flood(world, Vec::new(), 20_000, |_| {
            frame(SETTINGS, 0, 0, &settings)
        })
        .await?;
    }
    flood(world, Vec::new(), 100_000, |_| {
        frame(PING, 0, 0, b"12345678")
    })
    .await?;

    // Frames that break the protocol.
    for broken in [
        frame(DATA, 0, 0, b"x"),
        frame(HEADERS, END_HEADERS, 2, &get),
        frame(200, 0xff, 7, &[0; 64]).repeat(3),
        frame(PING, 0, 0, b"short"),
        frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 64]),
        [0xff; 64].to_vec(),
    ] {
        flood(world, broken, 0, |_| Vec::new()).await?;
    }
    Ok(())
}
