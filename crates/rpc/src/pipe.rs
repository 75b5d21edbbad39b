//! Bytes between a stream of this process and the messages of a call, in both directions; either may end before the other.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

/// Bytes of one message.
const CHUNK_BYTES: usize = 16 * 1024;
/// Messages that wait for the network.
pub const MESSAGES: usize = 4;
const _: () = assert!(CHUNK_BYTES * MESSAGES <= kontiki_base::limits::GATEWAY_STREAM_BYTES);

/// Carries bytes until both directions have ended. What breaks off is told as an end: HTTP knows a cut body.
pub async fn carry<E>(
    io: DuplexStream,
    incoming: impl Stream<Item = Result<Bytes, E>>,
    outgoing: mpsc::Sender<Bytes>,
) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let inward = async {
        let mut incoming = std::pin::pin!(incoming);
        while let Some(Ok(bytes)) = incoming.next().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    let outward = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK_BYTES);
            let read = reader.read_buf(&mut buffer).await;
            if !read.is_ok_and(|n_bytes| n_bytes > 0) {
                return;
            }
            if outgoing.send(buffer.split().freeze()).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(inward, outward);
}
