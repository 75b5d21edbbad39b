//! Port-forward over SPDY: for each connection the client opens two streams, one for errors and one for data, which say
//! by a header that they belong together.

use std::collections::HashMap;

use bytes::Bytes;
use futures::StreamExt as _;
use kontiki_apiserver::{Frame, Tunnel};
use kontiki_base::limits::TUNNEL_CHUNKS;
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Dial;
use crate::streams::LINGER;
use crate::streams::spdy::{self, Event, Reader, Sender, StreamId, reset};

/// Connections that a client may have open at once, and pairs that may wait for their second stream.
const CONNECTIONS: usize = 256;

/// Serves a client until it closes its connection.
pub(super) async fn run<D: Dial>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    early: &[u8],
    pod: D,
) {
    let (read, write) = tokio::io::split(io);
    let (sender, queue) = spdy::channel();
    let session = Session {
        pod,
        sender,
        pairs: HashMap::new(),
        open: HashMap::new(),
    };
    let session = session.run(Reader::new(read, early));
    let writing = queue.write_to(write);
    tokio::pin!(writing);
    tokio::select! {
        _ = &mut writing => return,
        () = session => {}
    }
    // The connections end by themselves now that nothing comes for them; the client has gone.
    let _ = timeout(LINGER, writing).await;
}

/// Two streams that belong together, as far as they have come.
#[derive(Default)]
struct Pair {
    error: Option<StreamId>,
    data: Option<(StreamId, u16)>,
}

struct Session<D> {
    pod: D,
    sender: Sender,
    pairs: HashMap<String, Pair>,
    /// Where bytes of a data stream go.
    open: HashMap<StreamId, mpsc::Sender<Frame>>,
}

/// Nobody reads what we say.
struct Gone;

impl From<spdy::Gone> for Gone {
    fn from(_: spdy::Gone) -> Self {
        Self
    }
}

impl<D: Dial> Session<D> {
    async fn run<R: AsyncRead + Unpin>(mut self, mut reader: Reader<R>) {
        loop {
            let event = match reader.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "a client's SPDY connection broke off");
                    return;
                }
            };
            if self.take(event).await.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Open {
                stream, headers, ..
            } => self.opened(stream, &headers).await?,
            Event::Data {
                stream,
                data,
                is_last,
            } => {
                let Some(queue) = self.open.get(&stream) else {
                    return Ok(());
                };
                let is_gone = !data.is_empty() && queue.send(Frame::data(0, data)).await.is_err();
                if is_last && !is_gone {
                    let _ = queue.send(Frame::end(0)).await;
                }
                if is_gone {
                    self.open.remove(&stream);
                }
            }
            Event::Reset(stream) => {
                self.open.remove(&stream);
                self.pairs.retain(|_, pair| {
                    pair.error != Some(stream) && pair.data.is_none_or(|(data, _)| data != stream)
                });
            }
            Event::Ping(id) => self.sender.pong(id),
            Event::GoAway => {}
        }
        Ok(())
    }

    async fn opened(&mut self, stream: StreamId, headers: &[(String, String)]) -> Result<(), Gone> {
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let kind = header("streamtype").filter(|kind| matches!(*kind, "error" | "data"));
        let port = header("port").and_then(|port| port.parse().ok());
        let port = port.filter(|port: &u16| *port > 0);
        self.open.retain(|_, queue| !queue.is_closed());
        let has_room = self.open.len() < CONNECTIONS && self.pairs.len() < CONNECTIONS;
        let (Some(kind), Some(port), true) = (kind, port, has_room) else {
            return Ok(self.sender.reset(stream, reset::REFUSED_STREAM).await?);
        };
        // Clients of old name no request: the error stream comes first, the data stream is the next.
        let request = match (header("requestid").filter(|id| !id.is_empty()), kind) {
            (Some(id), _) => id.to_owned(),
            (None, "error") => stream.to_string(),
            (None, _) => stream.wrapping_sub(2).to_string(),
        };
        let pair = self.pairs.entry(request.clone()).or_default();
        let is_taken = match kind {
            "error" => pair.error.replace(stream).is_some(),
            _ => pair.data.replace((stream, port)).is_some(),
        };
        if is_taken {
            self.pairs.remove(&request);
            return Ok(self.sender.reset(stream, reset::REFUSED_STREAM).await?);
        }
        self.sender.reply(stream).await?;
        if let Pair {
            error: Some(error),
            data: Some((data, port)),
        } = *pair
        {
            self.pairs.remove(&request);
            let (queue, from_client) = mpsc::channel(TUNNEL_CHUNKS);
            self.open.insert(data, queue);
            let connection = Connection {
                error,
                data,
                sender: self.sender.clone(),
            };
            let pod = self.pod.clone();
            spawn(TaskKind::Request, connection.run(pod, port, from_client));
        }
        Ok(())
    }
}

/// One connection to a port.
struct Connection {
    error: StreamId,
    data: StreamId,
    sender: Sender,
}

impl Connection {
    async fn run(self, pod: impl Dial, port: u16, from_client: mpsc::Receiver<Frame>) {
        let passed = match pod.dial(port).await {
            Ok(tunnel) => self.pass(tunnel, from_client).await,
            Err(status) => self.fail(status.message).await,
        };
        if passed.is_ok() && self.sender.finish(self.data).await.is_ok() {
            // A client that has gone away needs no end.
            let _ = self.sender.finish(self.error).await;
        }
    }

    async fn fail(&self, message: String) -> Result<(), Gone> {
        Ok(self.sender.data(self.error, Bytes::from(message)).await?)
    }

    /// Passes bytes both ways until the pod has closed its side, or the client is gone.
    async fn pass(
        &self,
        tunnel: Tunnel,
        mut from_client: mpsc::Receiver<Frame>,
    ) -> Result<(), Gone> {
        let Tunnel {
            to_node,
            mut from_node,
        } = tunnel;
        let inwards = async {
            while let Some(frame) = from_client.recv().await {
                // The pod's end is seen on the way out.
                let _ = to_node.send(frame).await;
            }
        };
        let outwards = async {
            while let Some(said) = from_node.next().await {
                match said {
                    Ok(frame) if frame.data.is_empty() => {}
                    Ok(frame) => self.sender.data(self.data, frame.data).await?,
                    Err(status) => return self.fail(status.message).await,
                }
            }
            Ok(())
        };
        tokio::select! {
            passed = outwards => passed,
            () = inwards => Err(Gone),
        }
    }
}
