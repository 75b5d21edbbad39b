//! Port-forward over the channels of a WebSocket: the n-th port has channel 2n for data and 2n+1 for errors, each of
//! which begins with the port's number.

use bytes::Bytes;
use futures::StreamExt as _;
use kontiki_apiserver::{Frame, Tunnel};
use kontiki_base::limits::TUNNEL_CHUNKS;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Dial;
use crate::streams::LINGER;
use crate::streams::websocket::channels::{self, Channels, Said};
use crate::streams::websocket::{Answer, Event, Reader, Writer, code};

type Saying = (u8, Bytes);

/// Serves a client until it closes, or all ports have.
pub(super) async fn run<D: Dial>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    is_base64: bool,
    ports: &[u16],
    pod: D,
) {
    let (read, write) = tokio::io::split(io);
    let (answers, asked) = mpsc::channel(1);
    let (said, sayings) = mpsc::channel(TUNNEL_CHUNKS);
    let mut queues = Vec::new();
    let mut connections = Vec::new();
    for (idx, port) in ports.iter().enumerate() {
        let (queue, from_client) = mpsc::channel(TUNNEL_CHUNKS);
        queues.push(queue);
        // There are fewer ports than half the channels.
        let data = 2 * idx as u8;
        connections.push(connection(
            pod.clone(),
            *port,
            data,
            said.clone(),
            from_client,
        ));
    }
    drop(said);
    let inwards = from_client(Reader::new(read, early), is_base64, queues, answers);
    let outwards = to_client(Writer::new(write), is_base64, sayings, asked);
    let passing = async {
        tokio::pin!(inwards, outwards);
        let _ = tokio::select! {
            () = &mut inwards => timeout(LINGER, outwards).await,
            () = &mut outwards => timeout(LINGER, inwards).await,
        };
    };
    tokio::join!(passing, futures::future::join_all(connections));
}

async fn from_client<R: AsyncRead + Unpin>(
    mut reader: Reader<R>,
    is_base64: bool,
    queues: Vec<mpsc::Sender<Frame>>,
    answers: mpsc::Sender<Answer>,
) {
    let mut channels = Channels::new(is_base64);
    let close = loop {
        let piece = match reader.next().await {
            Ok(Some(Event::Piece(piece))) => piece,
            Ok(Some(Event::Ping(data))) => {
                let _ = answers.try_send(Answer::Pong(data));
                continue;
            }
            Ok(Some(Event::Close) | None) => break code::NORMAL,
            Err(error) => {
                tracing::debug!(%error, "a client's WebSocket broke off");
                break code::PROTOCOL;
            }
        };
        match channels.take(piece) {
            Ok(Some(Said::Data(channel, data))) if channel % 2 == 0 => {
                if let Some(queue) = queues.get(usize::from(channel / 2)) {
                    // A port that has closed takes no more.
                    let _ = queue.send(Frame::data(0, data)).await;
                }
            }
            Ok(_) => {}
            Err(_) => break code::PROTOCOL,
        }
    };
    drop(queues);
    let _ = answers.send(Answer::Close(close)).await;
}

async fn to_client<W: AsyncWrite + Unpin>(
    mut writer: Writer<W>,
    is_base64: bool,
    mut sayings: mpsc::Receiver<Saying>,
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
            saying = sayings.recv() => match saying {
                Some((channel, data)) => {
                    channels::write(&mut writer, is_base64, channel, &data).await
                }
                None => {
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

/// One port: ends when the pod closes, or the client does.
async fn connection(
    pod: impl Dial,
    port: u16,
    data: u8,
    said: mpsc::Sender<Saying>,
    mut from_client: mpsc::Receiver<Frame>,
) {
    let error = data + 1;
    for channel in [data, error] {
        let number = Bytes::copy_from_slice(&port.to_le_bytes());
        if said.send((channel, number)).await.is_err() {
            return;
        }
    }
    let Tunnel {
        to_node,
        mut from_node,
    } = match pod.dial(port).await {
        Ok(tunnel) => tunnel,
        Err(status) => {
            let _ = said.send((error, status.message.into())).await;
            return;
        }
    };
    let inwards = async {
        while let Some(frame) = from_client.recv().await {
            let _ = to_node.send(frame).await;
        }
    };
    let outwards = async {
        while let Some(frame) = from_node.next().await {
            let saying = match frame {
                Ok(frame) if frame.data.is_empty() => continue,
                Ok(frame) => (data, frame.data),
                Err(status) => (error, status.message.into()),
            };
            if said.send(saying).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = inwards => {}
        () = outwards => {}
    }
}
