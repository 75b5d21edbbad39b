//! What the verbs need of nodes: logs of a container, the last heartbeat. The dispatcher implements both.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kontiki_base::status::{Reason, Status};

/// Options of a pod's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Container; none when the pod has one.
    pub container: Option<String>,
    /// Keep the stream open.
    pub follow: bool,
    /// The previous attempt's log.
    pub previous: bool,
    /// Only lines of the last seconds.
    pub since_seconds: Option<i64>,
    /// Only lines after this moment (RFC 3339).
    pub since_time: Option<String>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<i64>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<i64>,
}

/// A log as asked of a node: the pod and the container are resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod.
    pub pod_uid: String,
    /// The rest; `container` is set.
    pub options: LogOptions,
}

/// Bytes of a log.
pub type LogStream = BoxStream<'static, Result<Bytes, Status>>;

/// The way to a node's agent.
pub trait NodeTunnel: Send + Sync + 'static {
    /// Opens a container's log.
    fn logs(
        &self,
        node: &str,
        request: LogRequest,
    ) -> BoxFuture<'static, Result<LogStream, Status>>;
}

/// When nodes were last heard of.
pub trait NodeLiveness: Send + Sync + 'static {
    /// The last heartbeat, in milliseconds since the epoch.
    fn last_heartbeat_unix_ms(&self, node: &str) -> Option<u64>;
}

/// No node is reachable: for tests and for a replica without a dispatcher.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNodes;

impl NodeTunnel for NoNodes {
    fn logs(&self, node: &str, _: LogRequest) -> BoxFuture<'static, Result<LogStream, Status>> {
        let message = format!("node \"{node}\" has no session with this server");
        Box::pin(async move { Err(Status::new(Reason::ServiceUnavailable, message)) })
    }
}

impl NodeLiveness for NoNodes {
    fn last_heartbeat_unix_ms(&self, _: &str) -> Option<u64> {
        None
    }
}
