//! The wire of a session: connecting, the first message, sending and receiving.

use std::time::Duration;

use bytes::Bytes;
use kontiki_base::limits::RPC_MESSAGE_BYTES;
use kontiki_base::random::Random;
use kontiki_proto::node::node_service_client::NodeServiceClient;
use kontiki_proto::node::{
    AssignmentAck, Heartbeat, Hello, SessionRequest, SessionResponse, StatusBatch, Welcome,
    session_request, session_response,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::config::AgentConfig;
use crate::node::Node;
use crate::node_status::{self, Health};
use crate::{Error, machine};

const CONNECT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// Bytes that a tunnel may have under way towards the agent.
const TUNNEL_WINDOW_BYTES: u32 = 1024 * 1024;
/// Messages towards the server that wait for the wire.
const OUTGOING: usize = 32;

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The server or the network between.
    #[error("{0}")]
    Broken(String),
    /// The server is stopping.
    #[error("the server asks to go elsewhere: {0}")]
    Redirected(String),
    /// An assignment did not follow the last one.
    #[error("an assignment is missing; asking for all of it again")]
    OutOfSequence,
    /// No welcome.
    #[error("the server does not answer")]
    Silent,
    /// Trying again would not help.
    #[error("{0}")]
    Fatal(Error),
}

/// An open session.
pub struct Link {
    client: NodeServiceClient<Channel>,
    outgoing: mpsc::Sender<SessionRequest>,
    incoming: Streaming<SessionResponse>,
    n_heartbeats: u64,
}

impl Link {
    /// Connects and says hello.
    pub async fn open(
        config: &AgentConfig,
        server: &str,
        node: &Node,
        health: &Health,
        running_pod_uids: Vec<String>,
    ) -> Result<Self, End> {
        let channel = connect(config, server).await?;
        let mut client = NodeServiceClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES)
            .max_encoding_message_size(RPC_MESSAGE_BYTES);
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        let object = node_status::object(config, node, health, node.now_ms());
        let hello = Hello {
            node_name: node.name.clone(),
            boot_id: machine::boot_id(),
            node_json: Bytes::from(object.to_string()),
            running_pod_uids,
            agent_version: config.version.clone(),
        };
        let first = SessionRequest {
            message: Some(session_request::Message::Hello(hello)),
        };
        outgoing
            .send(first)
            .await
            .map_err(|error| End::Broken(error.to_string()))?;
        let opening = client.session(ReceiverStream::new(receiver));
        let response = tokio::time::timeout(super::WELCOME, opening).await;
        let incoming = response
            .map_err(|_| End::Silent)?
            .map_err(broken)?
            .into_inner();
        Ok(Self {
            client,
            outgoing,
            incoming,
            n_heartbeats: 0,
        })
    }

    /// The server's first message.
    pub async fn welcome(&mut self) -> Result<Welcome, End> {
        match self.next().await? {
            session_response::Message::Welcome(welcome) => Ok(welcome),
            session_response::Message::Redirect(redirect) => Err(End::Redirected(redirect.reason)),
            _ => Err(End::Broken(
                "the server does not begin with a welcome".into(),
            )),
        }
    }

    /// The server's next message.
    pub async fn next(&mut self) -> Result<session_response::Message, End> {
        loop {
            match self.incoming.message().await.map_err(broken)? {
                Some(SessionResponse {
                    message: Some(message),
                }) => return Ok(message),
                // A message of a newer server.
                Some(SessionResponse { message: None }) => {}
                None => return Err(End::Broken("the server closed the session".into())),
            }
        }
    }

    /// Proof of life.
    pub async fn heartbeat(&mut self) -> Result<(), End> {
        self.n_heartbeats += 1;
        let heartbeat = Heartbeat {
            sequence: self.n_heartbeats,
        };
        self.send(session_request::Message::Heartbeat(heartbeat))
            .await
    }

    /// An assignment was taken in.
    pub async fn acknowledge(&self, sequence: u64) -> Result<(), End> {
        self.send(session_request::Message::Ack(AssignmentAck { sequence }))
            .await
    }

    /// Statuses and events.
    pub async fn statuses(&self, batch: StatusBatch) -> Result<(), End> {
        self.send(session_request::Message::Statuses(batch)).await
    }

    async fn send(&self, message: session_request::Message) -> Result<(), End> {
        let request = SessionRequest {
            message: Some(message),
        };
        let sent = self.outgoing.send(request).await;
        sent.map_err(|_| End::Broken("the server stopped listening".into()))
    }

    /// A client on the same connection.
    pub fn client(&self) -> NodeServiceClient<Channel> {
        self.client.clone()
    }
}

/// A client on a connection of its own, for one tunnel.
pub async fn tunnel_client(
    config: &AgentConfig,
    server: &str,
) -> Result<NodeServiceClient<Channel>, End> {
    let endpoint = endpoint(config, server)?
        .initial_stream_window_size(TUNNEL_WINDOW_BYTES)
        .initial_connection_window_size(TUNNEL_WINDOW_BYTES);
    let client = NodeServiceClient::new(open(endpoint).await?);
    Ok(client
        .max_decoding_message_size(RPC_MESSAGE_BYTES)
        .max_encoding_message_size(RPC_MESSAGE_BYTES))
}

async fn connect(config: &AgentConfig, server: &str) -> Result<Channel, End> {
    open(endpoint(config, server)?).await
}

fn endpoint(config: &AgentConfig, server: &str) -> Result<Endpoint, End> {
    let tls = &config.tls;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&tls.ca_pem))
        .identity(Identity::from_pem(&tls.cert_pem, &tls.key_pem))
        .domain_name(&tls.server_name);
    let endpoint = Endpoint::from_shared(format!("https://{server}"))
        .map_err(|error| End::Broken(format!("{server}: {error}")))?
        .tls_config(tls)
        .map_err(|error| End::Fatal(Error::Tls(error.to_string())))?;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true))
}

async fn open(endpoint: Endpoint) -> Result<Channel, End> {
    endpoint.connect().await.map_err(|error| {
        // The useful part of a transport error is at its root.
        let mut root: &dyn std::error::Error = &error;
        while let Some(source) = root.source() {
            root = source;
        }
        End::Broken(format!("cannot connect: {root}"))
    })
}

fn broken(status: tonic::Status) -> End {
    End::Broken(format!("{:?}: {}", status.code(), status.message()))
}

/// The moment of the next heartbeat: a period with a tenth taken off or added.
pub fn jittered(period: Duration, random: &dyn Random) -> Instant {
    let spread_ms = (period.as_millis() as u64 / 10).max(1);
    let offset = Duration::from_millis(random.below(2 * spread_ms));
    Instant::now() + period.saturating_sub(Duration::from_millis(spread_ms)) + offset
}
