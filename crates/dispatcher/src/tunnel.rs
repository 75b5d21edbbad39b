//! Byte streams that an agent opens because a server asked for them: logs today.
//!
//! ```text
//! client ▸ apiserver ▸ logs(node) ▸ session: OpenTunnel(id) ▸ agent ▸ Tunnel(id) ▸ bytes back to the client
//! ```
//! A tunnel's id is random and used once, by the node that was asked. Whoever reads slowly slows the agent down
//! (HTTP/2 flow control); whoever goes away ends the agent's stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kontiki_apiserver::LogStream;
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use kontiki_proto::node::open_tunnel::Request as Open;
use kontiki_proto::node::session_response::Message as Response;
use kontiki_proto::node::tunnel_request::Message;
use kontiki_proto::node::{
    LogRequest, OpenTunnel, SessionResponse, TunnelEnd, TunnelHello, TunnelRequest, TunnelResponse,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::dispatcher::Inner;
use crate::write::new_uid;

/// How long an agent may take to open the tunnel that it was asked for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of an agent on a tunnel.
pub(crate) type Incoming = BoxStream<'static, Result<TunnelRequest, tonic::Status>>;
/// Messages to the agent on a tunnel: it ends when the reader goes away.
pub(crate) type Outgoing = mpsc::Receiver<Result<TunnelResponse, tonic::Status>>;

/// The agent's side of an open tunnel.
struct Opened {
    incoming: Incoming,
    open: mpsc::Sender<Result<TunnelResponse, tonic::Status>>,
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
        let (open, outgoing) = mpsc::channel(1);
        let opened = Opened { incoming, open };
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

/// Opens a log through the node's session on this replica. None: the session is not here.
pub(crate) async fn open_log(
    inner: &Inner,
    node: &str,
    request: LogRequest,
) -> Option<Result<LogStream, Status>> {
    let session = inner.sessions.outgoing(node)?;
    let tunnels = &inner.tunnels;
    let Some(place) = tunnels.place() else {
        let message = "this server has its limit of tunnels, please try again later";
        return Some(Err(
            Status::new(Reason::TooManyRequests, message).with_retry_after(1)
        ));
    };
    let tunnel_id = new_uid(&*inner.options.random);
    let (sender, opened) = oneshot::channel();
    let expected = Expected {
        node: Arc::from(node),
        opened: sender,
    };
    tunnels.expected.lock().insert(tunnel_id.clone(), expected);
    let _expecting = Expecting(tunnels, tunnel_id.clone());
    let message = Response::OpenTunnel(OpenTunnel {
        tunnel_id,
        request: Some(Open::Log(request)),
    });
    if session
        .try_send(Ok(SessionResponse {
            message: Some(message),
        }))
        .is_err()
    {
        return Some(Err(unreachable_node(node, "does not read its messages")));
    }
    Some(match timeout(OPEN_TIMEOUT, opened).await {
        Ok(Ok(opened)) => Ok(bytes_of(opened, place)),
        _ => Err(unreachable_node(node, "did not open the log in time")),
    })
}

fn unreachable_node(node: &str, why: &str) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("node \"{node}\" {why}"))
}

/// The tunnel's bytes up to its end. Dropping them ends the agent's stream too.
fn bytes_of(opened: Opened, place: Place) -> LogStream {
    let state = Some((opened.incoming, opened.open, place));
    let next = |state: Option<(Incoming, _, Place)>| async move {
        let (mut incoming, open, place) = state?;
        loop {
            let message = match incoming.next().await? {
                Ok(request) => request.message,
                Err(error) => {
                    let status = Status::new(Reason::ServiceUnavailable, error.message());
                    return Some((Err(status), None));
                }
            };
            match message {
                Some(Message::Data(data)) => {
                    return Some((Ok::<Bytes, _>(data), Some((incoming, open, place))));
                }
                Some(Message::End(end)) if end.error.is_empty() => return None,
                Some(Message::End(end)) => return Some((Err(status_of_end(&end)), None)),
                Some(Message::Hello(_)) | None => {}
            }
        }
    };
    stream::unfold(state, next).boxed()
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
