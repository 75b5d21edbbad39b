//! Logs of a node whose session is on another replica: asked from replica to replica.

use std::sync::{Arc, Weak};

use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use kontiki_api::time;
use kontiki_apiserver::{LogOptions, LogRequest, LogStream, NodeTunnel};
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::{CallError, CallHandler, CallStream, ReplicaId};
use kontiki_proto::node;
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::Dispatcher;
use crate::dispatcher::Inner;
use crate::tunnel::open_log;

const METHOD: &str = "tunnel";
/// First byte of a frame between replicas.
const DATA: u8 = 0;
const ERROR: u8 = 1;
/// A replica's answer when the session is not its own.
const ELSEWHERE: &str = "no session of this node";

/// An error on its way between replicas.
#[derive(Serialize, Deserialize)]
struct Failure {
    reason: Reason,
    message: String,
}

impl NodeTunnel for Dispatcher {
    fn logs(
        &self,
        node: &str,
        request: LogRequest,
    ) -> BoxFuture<'static, Result<LogStream, Status>> {
        let (inner, node) = (Arc::clone(&self.0), node.to_owned());
        Box::pin(async move {
            let request = to_wire(&request, inner.now_unix_ms())?;
            if let Some(answer) = open_log(&inner, &node, request.clone()).await {
                return answer;
            }
            ask_others(&inner, &node, &request).await
        })
    }
}

fn to_wire(request: &LogRequest, now_unix_ms: u64) -> Result<node::LogRequest, Status> {
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

async fn ask_others(
    inner: &Inner,
    node: &str,
    request: &node::LogRequest,
) -> Result<LogStream, Status> {
    let mut payload = BytesMut::from(node.as_bytes());
    payload.put_u8(0);
    payload.extend_from_slice(&request.encode_to_vec());
    let payload = payload.freeze();
    let others = inner
        .backend
        .members()
        .into_iter()
        .filter(|m| m.id != inner.backend.id());
    for member in others {
        match inner.backend.call(member.id, METHOD, payload.clone()).await {
            Ok(frames) => return Ok(frames.map(unframe).boxed()),
            Err(error) => tracing::debug!(node, replica = member.id, %error, "log not there"),
        }
    }
    let message = format!("node \"{node}\" has no session with any server that can be reached");
    Err(Status::new(Reason::ServiceUnavailable, message))
}

fn frame(part: Result<Bytes, Status>) -> Bytes {
    let (tag, content) = match part {
        Ok(data) => (DATA, data),
        Err(Status {
            reason, message, ..
        }) => (
            ERROR,
            serde_json::to_vec(&Failure { reason, message })
                .unwrap_or_default()
                .into(),
        ),
    };
    let mut frame = BytesMut::with_capacity(content.len() + 1);
    frame.put_u8(tag);
    frame.extend_from_slice(&content);
    frame.freeze()
}

fn unframe(frame: Result<Bytes, CallError>) -> Result<Bytes, Status> {
    let broken = |why: String| Status::new(Reason::ServiceUnavailable, why);
    let frame = frame.map_err(|error| broken(error.to_string()))?;
    match frame.first() {
        Some(&DATA) => Ok(frame.slice(1..)),
        Some(&ERROR) => {
            let failure: Failure = serde_json::from_slice(&frame[1..])
                .map_err(|error| broken(format!("another replica's answer: {error}")))?;
            Err(Status::new(failure.reason, failure.message))
        }
        _ => Err(broken("another replica's answer is malformed".to_owned())),
    }
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
            let request = node::LogRequest::decode(&payload[end + 1..])
                .map_err(|_| refused("malformed request"))?;
            let answer = open_log(&inner, &node, request).await;
            let frames = match answer.ok_or_else(|| refused(ELSEWHERE))? {
                Ok(log) => log.map(frame).map(Ok).boxed(),
                Err(status) => futures::stream::iter([Ok(frame(Err(status)))]).boxed(),
            };
            Ok(frames)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_errors_cross_replicas_unchanged() {
        let data = Bytes::from_static(b"line\n");
        assert_eq!(unframe(Ok(frame(Ok(data.clone())))), Ok(data));
        let status = Status::new(Reason::NotFound, "no container");
        assert_eq!(unframe(Ok(frame(Err(status.clone())))), Err(status));
        assert!(unframe(Ok(Bytes::new())).is_err());
    }

    #[test]
    fn since_is_a_moment_on_the_wire() {
        let options = |since_seconds, since_time: Option<&str>| {
            let since_time = since_time.map(str::to_owned);
            let options = LogOptions {
                since_seconds,
                since_time,
                ..LogOptions::default()
            };
            to_wire(
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
