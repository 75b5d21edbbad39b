//! Streams that a server asks for: logs, commands, ports, HTTP. The agent opens them, so that it listens on no port.
//!
//! Each has a connection of its own with the server that asked: a client that stops reading then stops its own stream and
//! nothing else, heartbeats least of all.

mod containers;
mod http;
mod logs;
mod outbound;
mod ports;
mod remote_command;

use std::sync::Arc;

use futures::StreamExt as _;
use kontiki_base::limits::TUNNEL_CHUNKS;
use kontiki_base::status::Reason;
use kontiki_proto::node::node_service_client::NodeServiceClient;
use kontiki_proto::node::open_tunnel::Request as Open;
use kontiki_proto::node::{OpenTunnel, TunnelHello, TunnelRequest, TunnelResponse, tunnel_request};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use self::outbound::Outbound;
use crate::config::AgentConfig;
use crate::node::Node;
use crate::session::link;

/// Why a stream did not come about, or broke off.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: Reason,
    message: String,
}

impl Failure {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// What an engine says, as upstream's kubelet passes it on.
impl From<kontiki_runtime::Error> for Failure {
    fn from(error: kontiki_runtime::Error) -> Self {
        let reason = match error {
            kontiki_runtime::Error::NotFound(_) => Reason::NotFound,
            _ => Reason::InternalError,
        };
        Self::new(reason, error.to_string())
    }
}

/// The server's messages on a tunnel.
type Inbound = Streaming<TunnelResponse>;

/// Serves one tunnel to its end. `session` is the client of the session that asked.
pub async fn serve(
    config: AgentConfig,
    node: Arc<Node>,
    session: NodeServiceClient<Channel>,
    open: OpenTunnel,
) {
    let mut client = match link::tunnel_client(&config, &open.server_endpoint).await {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(server = open.server_endpoint, %error, "by the session's connection, then");
            session
        }
    };
    let (sender, receiver) = mpsc::channel(TUNNEL_CHUNKS);
    let hello = TunnelHello {
        tunnel_id: open.tunnel_id,
        node_name: node.name.clone(),
    };
    let first = tunnel_request::Message::Hello(hello);
    let first = TunnelRequest {
        message: Some(first),
    };
    if sender.send(first).await.is_err() {
        return;
    }
    let mut inbound = match client.tunnel(ReceiverStream::new(receiver)).await {
        Ok(response) => response.into_inner(),
        Err(error) => {
            tracing::debug!(%error, "a tunnel was refused");
            return;
        }
    };
    let outbound = Outbound::new(sender.clone());
    let serving = async {
        work(&node, open.request, &mut inbound, outbound).await;
        // Until the server has read all and closes: a stream that is dropped before takes its last messages with it.
        while let Some(Ok(_)) = inbound.next().await {}
    };
    // The server's side closes when the client went away: then nobody reads.
    tokio::select! {
        () = serving => {}
        () = sender.closed() => {}
    }
}

async fn work(node: &Arc<Node>, request: Option<Open>, inbound: &mut Inbound, outbound: Outbound) {
    let ended = match request {
        Some(Open::Log(request)) => logs::serve(node, &request, inbound, &outbound).await,
        Some(Open::Exec(request)) => remote_command::exec(node, request, inbound, &outbound).await,
        Some(Open::Attach(request)) => {
            remote_command::attach(node, &request, inbound, &outbound).await
        }
        Some(Open::PortForward(request)) => {
            ports::forward(node, &request, inbound, &outbound).await
        }
        Some(Open::PodDial(request)) => ports::dial(node, &request, inbound, &outbound).await,
        Some(Open::NodeHttp(_)) => http::serve(node, inbound, &outbound).await,
        None => Err(Failure::new(
            Reason::BadRequest,
            "this agent does not know the request",
        )),
    };
    outbound.end(ended).await;
}
