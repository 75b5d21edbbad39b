//! The way from the verbs' requests to an agent: their form on the wire, and the question to other replicas when the
//! node's session is not here. Only the question passes between replicas; the agent then connects with the asker.

use std::sync::{Arc, Weak};

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use kontiki_api::time;
use kontiki_apiserver::{LogOptions, LogRequest, LogStream, NodeRequest, NodeTunnel, Tunnel};
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::{CallError, CallHandler, CallStream, ReplicaId};
use kontiki_proto::node;
use kontiki_proto::node::open_tunnel::Request as Open;
use prost::Message;

use crate::Dispatcher;
use crate::dispatcher::Inner;
use crate::tunnel;

const METHOD: &str = "open-tunnel";
/// A replica's answer when the session is not its own.
const ELSEWHERE: &str = "no session of this node";

impl NodeTunnel for Dispatcher {
    fn open(&self, node: &str, request: NodeRequest) -> BoxFuture<'static, Result<Tunnel, Status>> {
        let (inner, node) = (Arc::clone(&self.0), node.to_owned());
        Box::pin(async move { tunnel::open(&inner, &node, request_to_wire(request)).await })
    }

    fn logs(
        &self,
        node: &str,
        request: LogRequest,
    ) -> BoxFuture<'static, Result<LogStream, Status>> {
        let (inner, node) = (Arc::clone(&self.0), node.to_owned());
        Box::pin(async move {
            let request = Open::Log(log_to_wire(&request, inner.now_unix_ms())?);
            let tunnel = tunnel::open(&inner, &node, request).await?;
            // The way back stays open for as long as the log is read.
            let kept = tunnel.to_node;
            let bytes = tunnel.from_node.map(move |frame| {
                let _kept = &kept;
                frame.map(|frame| frame.data)
            });
            Ok(bytes.boxed())
        })
    }
}

fn request_to_wire(request: NodeRequest) -> Open {
    match request {
        NodeRequest::RemoteCommand(asked) => match asked.command {
            Some(command) => Open::Exec(node::ExecRequest {
                pod_uid: asked.pod_uid,
                container: asked.container,
                command,
                stdin: asked.stdin,
                stdout: asked.stdout,
                stderr: asked.stderr,
                tty: asked.tty,
            }),
            None => Open::Attach(node::AttachRequest {
                pod_uid: asked.pod_uid,
                container: asked.container,
                stdin: asked.stdin,
                stdout: asked.stdout,
                stderr: asked.stderr,
            }),
        },
        NodeRequest::PortForward(asked) => Open::PortForward(node::PortForwardRequest {
            pod_uid: asked.pod_uid,
            port: asked.port.into(),
        }),
        NodeRequest::DialPod(asked) => Open::PodDial(node::PodDialRequest {
            pod_uid: asked.pod_uid,
            port: asked.port.into(),
        }),
        NodeRequest::Http => Open::NodeHttp(node::NodeHttpRequest {}),
    }
}

fn log_to_wire(request: &LogRequest, now_unix_ms: u64) -> Result<node::LogRequest, Status> {
    let LogOptions {
        follow,
        previous,
        timestamps,
        tail_lines,
        limit_bytes,
        ..
    } = request.options;
    let since = match (&request.options.since_time, request.options.since_seconds) {
        (Some(text), _) => Some(time::parse(text).ok_or_else(|| {
            Status::bad_request(format!("sinceTime: {text:?} is no RFC 3339 time"))
        })?),
        (None, Some(seconds)) => {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            Some(now_unix_ms.saturating_sub(seconds.saturating_mul(1000)))
        }
        (None, None) => None,
    };
    Ok(node::LogRequest {
        pod_uid: request.pod_uid.clone(),
        container: request.options.container.clone().unwrap_or_default(),
        follow,
        previous,
        timestamps,
        tail_lines,
        limit_bytes,
        since_unix_ms: since.and_then(|since| i64::try_from(since).ok()),
    })
}

/// Has the replica with the node's session ask the agent.
pub(crate) async fn ask_others(
    inner: &Inner,
    node: &str,
    message: &node::OpenTunnel,
) -> Result<(), Status> {
    let mut payload = BytesMut::from(node.as_bytes());
    payload.put_u8(0);
    payload.extend_from_slice(&message.encode_to_vec());
    let payload = payload.freeze();
    let others = inner
        .backend
        .members()
        .into_iter()
        .filter(|m| m.id != inner.backend.id());
    for member in others {
        match inner.backend.call(member.id, METHOD, payload.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => tracing::debug!(node, replica = member.id, %error, "session not there"),
        }
    }
    let message = format!("node \"{node}\" has no session with any server that can be reached");
    Err(Status::new(Reason::ServiceUnavailable, message))
}

/// Answers other replicas.
pub(crate) fn serve(inner: &Arc<Inner>) {
    inner
        .backend
        .handle_calls(METHOD, Arc::new(Handler(Arc::downgrade(inner))));
}

struct Handler(Weak<Inner>);

impl CallHandler for Handler {
    fn call(
        &self,
        _: ReplicaId,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>> {
        let inner = self.0.upgrade();
        Box::pin(async move {
            let refused = |why: &str| CallError::Refused(why.to_owned());
            let inner = inner.ok_or_else(|| refused("stopping"))?;
            let end = payload.iter().position(|byte| *byte == 0);
            let end = end.ok_or_else(|| refused("malformed request"))?;
            let node = String::from_utf8_lossy(&payload[..end]).into_owned();
            let message = node::OpenTunnel::decode(&payload[end + 1..])
                .map_err(|_| refused("malformed request"))?;
            let asked = tunnel::ask(&inner, &node, message);
            let asked = asked.ok_or_else(|| refused(ELSEWHERE))?;
            asked.map_err(|status| refused(&status.message))?;
            Ok(futures::stream::empty().boxed())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_moment_on_the_wire() {
        let options = |since_seconds, since_time: Option<&str>| {
            let since_time = since_time.map(str::to_owned);
            let options = LogOptions {
                since_seconds,
                since_time,
                ..LogOptions::default()
            };
            log_to_wire(
                &LogRequest {
                    options,
                    ..LogRequest::default()
                },
                100_000,
            )
        };
        assert_eq!(options(Some(5), None).unwrap().since_unix_ms, Some(95_000));
        let time = options(None, Some("1970-01-01T00:00:07Z")).unwrap();
        assert_eq!(time.since_unix_ms, Some(7_000));
        assert!(options(None, Some("today")).is_err());
    }
}
