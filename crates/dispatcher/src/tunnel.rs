//! Streams that an agent opens because a server asked for them: logs, commands, ports, HTTP.
//!
//! ```text
//! client ▸ apiserver ▸ open(node) ▸ session, here or on another replica: OpenTunnel(id, where) ▸ agent
//!                          ▲                                                                       │
//!                          └─────────────────── Tunnel(id) on a connection of its own ◀────────────┘
//! ```
//! The agent connects with the replica that asked, whichever has its session: bytes pass no third machine. A tunnel's id
//! is random and used once, by the node that was asked. Whoever reads slowly slows the agent down (HTTP/2 flow control,
//! on a connection that carries nothing else); whoever goes away ends the agent's stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kontiki_apiserver::{Frame, Tunnel};
use kontiki_base::limits::TUNNEL_CHUNKS;
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use kontiki_proto::node::open_tunnel::Request as Open;
use kontiki_proto::node::session_response::Message as ToAgent;
use kontiki_proto::node::tunnel_request::Message;
use kontiki_proto::node::tunnel_response::Message as Response;
use kontiki_proto::node::{
    ChannelData, OpenTunnel, SessionResponse, TunnelEnd, TunnelHello, TunnelRequest, TunnelResponse,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::dispatcher::Inner;
use crate::tunnel_calls;
use crate::write::new_uid;

/// How long an agent may take to open the tunnel that it was asked for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take from there until it has what was asked for: an engine under load starts commands slowly.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages of an agent on a tunnel.
pub(crate) type Incoming = BoxStream<'static, Result<TunnelRequest, tonic::Status>>;
/// What is to be sent to the agent on a tunnel: it ends when the client goes away.
pub(crate) type Outgoing = mpsc::Receiver<Frame>;

/// The agent's side of an open tunnel.
struct Opened {
    incoming: Incoming,
    to_agent: mpsc::Sender<Frame>,
}

struct Expected {
    node: Arc<str>,
    opened: oneshot::Sender<Opened>,
}

/// Tunnels of this replica.
pub(crate) struct Tunnels {
    expected: Mutex<HashMap<String, Expected>>,
    n_open: Arc<AtomicUsize>,
    limit: usize,
}

/// Counts a tunnel for as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a tunnel's place is given back once");
        METRICS.tunnels.set(before as u64 - 1);
    }
}

impl Tunnels {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            expected: Mutex::default(),
            n_open: Arc::default(),
            limit,
        }
    }

    fn place(&self) -> Option<Place> {
        let take = |n: usize| (n < self.limit).then_some(n + 1);
        let before = self
            .n_open
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .ok()?;
        METRICS.tunnels.set(before as u64 + 1);
        Some(Place(Arc::clone(&self.n_open)))
    }

    /// Takes an agent's tunnel to the one who asked for it.
    pub(crate) fn accept(
        &self,
        certified: &str,
        hello: &TunnelHello,
        incoming: Incoming,
    ) -> Result<Outgoing, tonic::Status> {
        let mut expected = self.expected.lock();
        let known = expected
            .get(&hello.tunnel_id)
            .is_some_and(|e| *e.node == *certified);
        let found = known.then(|| expected.remove(&hello.tunnel_id)).flatten();
        drop(expected);
        let nobody = || tonic::Status::not_found("nobody waits for this tunnel");
        let (to_agent, outgoing) = mpsc::channel(TUNNEL_CHUNKS);
        let opened = Opened { incoming, to_agent };
        found
            .ok_or_else(nobody)?
            .opened
            .send(opened)
            .map_err(|_| nobody())?;
        Ok(outgoing)
    }
}

/// Forgets an expected tunnel when its asker gives up.
struct Expecting<'a>(&'a Tunnels, String);

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        self.0.expected.lock().remove(&self.1);
    }
}

/// Opens a tunnel of a node, whichever replica has its session.
pub(crate) async fn open(inner: &Inner, node: &str, request: Open) -> Result<Tunnel, Status> {
    let tunnels = &inner.tunnels;
    let Some(place) = tunnels.place() else {
        let message = "this server has its limit of tunnels, please try again later";
        return Err(Status::new(Reason::TooManyRequests, message).with_retry_after(1));
    };
    let tunnel_id = new_uid(&*inner.options.random);
    let (sender, opened) = oneshot::channel();
    let expected = Expected {
        node: Arc::from(node),
        opened: sender,
    };
    tunnels.expected.lock().insert(tunnel_id.clone(), expected);
    let _expecting = Expecting(tunnels, tunnel_id.clone());
    let own = inner.backend.id();
    let members = inner.backend.members().into_iter();
    let server_endpoint = members
        .filter(|member| member.id == own)
        .map(|member| member.api_endpoint)
        .next()
        .unwrap_or_default();
    let waits_until_ready = !matches!(request, Open::Log(_));
    let message = OpenTunnel {
        tunnel_id,
        server_endpoint,
        request: Some(request),
    };
    match ask(inner, node, message.clone()) {
        Some(asked) => asked?,
        None => tunnel_calls::ask_others(inner, node, &message).await?,
    }
    let Ok(Ok(mut opened)) = timeout(OPEN_TIMEOUT, opened).await else {
        return Err(unreachable_node(node, "did not open the tunnel in time"));
    };
    if waits_until_ready {
        wait_until_ready(node, &mut opened).await?;
    }
    Ok(tunnel_of(opened, place))
}

/// Asks the agent through its session on this replica. None: the session is not here.
pub(crate) fn ask(inner: &Inner, node: &str, message: OpenTunnel) -> Option<Result<(), Status>> {
    let session = inner.sessions.outgoing(node)?;
    let message = SessionResponse {
        message: Some(ToAgent::OpenTunnel(message)),
    };
    let asked = session.try_send(Ok(message));
    Some(asked.map_err(|_| unreachable_node(node, "does not read its messages")))
}

fn unreachable_node(node: &str, why: &str) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("node \"{node}\" {why}"))
}

async fn wait_until_ready(node: &str, opened: &mut Opened) -> Result<(), Status> {
    let first = timeout(READY_TIMEOUT, opened.incoming.next()).await;
    let first = first.map_err(|_| unreachable_node(node, "did not answer in time"))?;
    match first.map(|first| first.map(|request| request.message)) {
        Some(Ok(Some(Message::Ready(_)))) => Ok(()),
        Some(Ok(Some(Message::End(end)))) => Err(status_of_end(&end)),
        Some(Err(error)) => Err(unreachable_node(node, error.message())),
        _ => Err(unreachable_node(node, "closed the tunnel")),
    }
}

/// The tunnel's frames up to its end. Dropping them ends the agent's stream too.
fn tunnel_of(opened: Opened, place: Place) -> Tunnel {
    let state = Some((opened.incoming, place));
    let next = |state: Option<(Incoming, Place)>| async move {
        let (mut incoming, place) = state?;
        loop {
            let message = match incoming.next().await? {
                Ok(request) => request.message,
                Err(error) => {
                    let status = Status::new(Reason::ServiceUnavailable, error.message());
                    return Some((Err(status), None));
                }
            };
            let frame = match message {
                Some(Message::Data(data)) => Frame::data(0, data),
                Some(Message::Channel(ChannelData { channel, data, end })) => Frame {
                    // A channel that nobody knows is nobody's.
                    channel: u8::try_from(channel).unwrap_or(u8::MAX),
                    data,
                    is_end: end,
                },
                Some(Message::End(end)) if end.error.is_empty() => return None,
                Some(Message::End(end)) => return Some((Err(status_of_end(&end)), None)),
                Some(Message::Hello(_) | Message::Ready(_)) | None => continue,
            };
            return Some((Ok(frame), Some((incoming, place))));
        }
    };
    Tunnel {
        to_node: opened.to_agent,
        from_node: stream::unfold(state, next).boxed(),
    }
}

/// A frame on its way to the agent.
pub(crate) fn response(frame: Frame) -> TunnelResponse {
    let message = match frame {
        Frame {
            channel: 0,
            data,
            is_end: false,
        } => Response::Data(data),
        Frame {
            channel,
            data,
            is_end,
        } => Response::Channel(ChannelData {
            channel: u32::from(channel),
            data,
            end: is_end,
        }),
    };
    TunnelResponse {
        message: Some(message),
    }
}

fn status_of_end(end: &TunnelEnd) -> Status {
    let reason = match end.code {
        400 => Reason::BadRequest,
        404 => Reason::NotFound,
        429 => Reason::TooManyRequests,
        503 => Reason::ServiceUnavailable,
        _ => Reason::InternalError,
    };
    Status::new(reason, end.error.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asked_node_opens_an_expected_tunnel_and_places_are_counted() {
        let tunnels = Tunnels::new(1);
        let place = tunnels.place().unwrap();
        assert!(tunnels.place().is_none());
        drop(place);
        assert!(tunnels.place().is_some());
        let (opened, mut receiver) = oneshot::channel();
        let expected = Expected {
            node: Arc::from("n1"),
            opened,
        };
        tunnels.expected.lock().insert("t".into(), expected);
        let hello = TunnelHello {
            tunnel_id: "t".into(),
            node_name: "n1".into(),
        };
        let incoming = || stream::empty().boxed();
        assert!(tunnels.accept("n2", &hello, incoming()).is_err());
        assert!(tunnels.accept("n1", &hello, incoming()).is_ok());
        assert!(receiver.try_recv().is_ok());
        assert!(
            tunnels.accept("n1", &hello, incoming()).is_err(),
            "an id is used once"
        );
    }
}
