//! What the verbs need of nodes: streams that an agent serves, the last heartbeat. The dispatcher implements both.
//!
//! Deliberately absent: the protocols of clients (gateway) and how bytes get to a node (dispatcher).

mod io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kontiki_base::status::{Reason, Status};
use tokio::sync::mpsc;

pub use io::TunnelIo;

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

/// What an agent is asked to connect with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRequest {
    /// A command in a container, or the first process of one.
    RemoteCommand(RemoteCommand),
    /// A port on the loopback interface of a pod.
    PortForward(PodPort),
    /// A port on the address of a pod.
    DialPod(PodPort),
    /// The agent itself, which speaks HTTP/1.1 with the paths of a kubelet.
    Http,
}

/// Streams of a process in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteCommand {
    /// Uid of the pod.
    pub pod_uid: String,
    /// The container.
    pub container: String,
    /// What to run; none to attach to what runs already.
    pub command: Option<Vec<String>>,
    /// Whether standard input is sent.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
    /// Whether a new process gets a terminal.
    pub tty: bool,
}

/// A port of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodPort {
    /// Uid of the pod.
    pub pod_uid: String,
    /// The port.
    pub port: u16,
}

/// Channels of a remote command, numbered as Kubernetes' protocols number them.
pub mod channel {
    /// Standard input, and the one channel of streams that have no others.
    pub const STDIN: u8 = 0;
    /// Standard output.
    pub const STDOUT: u8 = 1;
    /// Standard error.
    pub const STDERR: u8 = 2;
    /// How it ended, as a `v1.Status` in JSON.
    pub const ERROR: u8 = 3;
    /// Sizes of the terminal.
    pub const RESIZE: u8 = 4;
}

/// Some bytes of a channel; a byte stream has channel 0 only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Which channel.
    pub channel: u8,
    /// At most `limits::TUNNEL_CHUNK_BYTES`.
    pub data: Bytes,
    /// Nothing follows on this channel.
    pub is_end: bool,
}

impl Frame {
    /// Bytes of a channel.
    pub fn data(channel: u8, data: impl Into<Bytes>) -> Self {
        Self {
            channel,
            data: data.into(),
            is_end: false,
        }
    }

    /// The end of a channel.
    pub fn end(channel: u8) -> Self {
        Self {
            channel,
            data: Bytes::new(),
            is_end: true,
        }
    }
}

/// An open stream to an agent. Dropping both halves ends what the agent does for it.
pub struct Tunnel {
    /// Towards the agent; waits while the agent does not take more.
    pub to_node: mpsc::Sender<Frame>,
    /// From the agent: ends when it is done, with an error when it failed.
    pub from_node: BoxStream<'static, Result<Frame, Status>>,
}

/// The way to a node's agent.
pub trait NodeTunnel: Send + Sync + 'static {
    /// Opens a stream; answers once the agent has what was asked for.
    fn open(&self, node: &str, request: NodeRequest) -> BoxFuture<'static, Result<Tunnel, Status>>;

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
    fn open(&self, node: &str, _: NodeRequest) -> BoxFuture<'static, Result<Tunnel, Status>> {
        let message = format!("node \"{node}\" has no session with this server");
        Box::pin(async move { Err(Status::new(Reason::ServiceUnavailable, message)) })
    }

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
