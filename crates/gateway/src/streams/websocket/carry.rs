//! Another protocol inside a WebSocket: the bytes of its connection are the contents of binary messages.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Answer, Event, Reader, Writer, code};
use crate::streams::LINGER;

/// Bytes between the WebSocket and what is inside, in each direction.
const BETWEEN_BYTES: usize = 64 * 1024;

/// Runs `inside` over the bytes that a WebSocket carries, until either has ended.
pub async fn carry<F: Future<Output = ()>>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    inside: impl FnOnce(DuplexStream) -> F,
) {
    let (read, write) = tokio::io::split(io);
    let (near, far) = tokio::io::duplex(BETWEEN_BYTES);
    let (far_read, far_write) = tokio::io::split(far);
    let (answers, asked) = mpsc::channel(1);
    let inwards = unpack(Reader::new(read, early), far_write, answers);
    let outwards = pack(Writer::new(write), far_read, asked);
    let carrying = async {
        tokio::pin!(inwards, outwards);
        let _ = tokio::select! {
            () = &mut inwards => timeout(LINGER, outwards).await,
            () = &mut outwards => timeout(LINGER, inwards).await,
        };
    };
    tokio::join!(carrying, inside(near));
}

async fn unpack<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut reader: Reader<R>,
    mut inner: W,
    answers: mpsc::Sender<Answer>,
) {
    let close = loop {
        match reader.next().await {
            Ok(Some(Event::Piece(piece))) => {
                // What is inside may have ended; then the WebSocket is read to its end.
                let _ = inner.write_all(&piece.data).await;
            }
            Ok(Some(Event::Ping(data))) => {
                let _ = answers.try_send(Answer::Pong(data));
            }
            Ok(Some(Event::Close) | None) => break code::NORMAL,
            Err(error) => {
                tracing::debug!(%error, "a client's WebSocket broke off");
                break code::PROTOCOL;
            }
        }
    };
    let _ = inner.shutdown().await;
    let _ = answers.send(Answer::Close(close)).await;
}

async fn pack<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut writer: Writer<W>,
    mut inner: R,
    mut asked: mpsc::Receiver<Answer>,
) {
    let mut buffer = vec![0; BETWEEN_BYTES];
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
            read = inner.read(&mut buffer) => match read {
                Ok(n_bytes) if n_bytes > 0 => writer.binary(&[&buffer[..n_bytes]]).await,
                _ => {
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
    use kontiki_base::task::{TaskKind, spawn};

    use super::*;

    #[tokio::test]
    async fn bytes_inside_are_those_of_the_messages_whatever_their_bounds() {
        let (mut client, server) = tokio::io::duplex(64);
        let running = spawn(TaskKind::Request, async move {
            carry(server, b"", |mut inner| async move {
                let mut asked = [0; 6];
                inner.read_exact(&mut asked).await.unwrap();
                inner.write_all(&asked).await.unwrap();
            })
            .await;
        });
        for part in ["he", "llo", "!"] {
            let mut frame = vec![0x82, 0x80 | part.len() as u8, 0, 0, 0, 0];
            frame.extend_from_slice(part.as_bytes());
            client.write_all(&frame).await.unwrap();
        }
        let mut received = Vec::new();
        let (mut read, write) = tokio::io::split(client);
        read.read_to_end(&mut received).await.unwrap();
        assert_eq!(received[..8], *b"\x82\x06hello!");
        assert_eq!(received[8..], [0x88, 2, 3, 0xE8]);
        drop((read, write));
        running.await.unwrap();
    }
}
