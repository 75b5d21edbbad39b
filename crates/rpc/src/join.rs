//! `kontiki.cluster.v1.JoinService`: open to everybody, worth something to holders of a join token only. Tokens and
//! certificates are the binary's, behind [`JoinAuthority`].

mod failures;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use futures::future::BoxFuture;
use kontiki_apiserver::User;
use kontiki_apiserver::audit::{Auditor, Trail};
use kontiki_base::clock::SharedClock;
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::Member;
use kontiki_proto::cluster as proto;
use kontiki_proto::cluster::join_service_server::JoinService;
use tokio::sync::Semaphore;
use tonic::{Request, Response};

use self::failures::Failures;
use crate::audit;
use crate::cluster::member;
use crate::error::to_tonic;

/// What a token admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// An agent.
    Node,
    /// A replica of the control plane.
    Server,
    /// A REST gateway of its own process.
    Gateway,
}

impl Role {
    /// The word in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Server => "server",
            Self::Gateway => "gateway",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Node, Self::Server, Self::Gateway]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// What may be told of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Public part.
    pub id: String,
    /// What it admits.
    pub role: Role,
    /// When it ends, in seconds since the epoch; none for never.
    pub expires_unix_s: Option<i64>,
}

/// An agent that wants in.
#[derive(Debug, Clone)]
pub struct JoinNode {
    /// Its token.
    pub token: String,
    /// The name that it wants.
    pub node_name: String,
    /// A certificate request, in PEM; only its public key counts.
    pub csr_pem: String,
    /// Whence it asks: for rate limits and the audit log.
    pub peer: Option<SocketAddr>,
}

/// A gateway that wants in.
#[derive(Debug, Clone)]
pub struct JoinGateway {
    /// Its token.
    pub token: String,
    /// Its name.
    pub name: String,
    /// Names and addresses that its certificate is to be for.
    pub hosts: Vec<String>,
    /// A certificate request, in PEM; only its public key counts.
    pub csr_pem: String,
    /// Whence it asks.
    pub peer: Option<SocketAddr>,
}

/// What an admitted agent or gateway gets.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Its certificate.
    pub certificate_pem: String,
    /// The cluster's CA.
    pub ca_pem: String,
    /// All servers, as `host:port`.
    pub server_endpoints: Vec<String>,
}

/// A replica that wants in.
#[derive(Debug, Clone)]
pub struct JoinServer {
    /// Its token.
    pub token: String,
    /// Its name.
    pub name: String,
    /// `host:port` for peers.
    pub peer_endpoint: String,
    /// `host:port` for clients.
    pub api_endpoint: String,
    /// Whence it asks.
    pub peer: Option<SocketAddr>,
}

/// What an admitted replica gets.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// Its id.
    pub id: u64,
    /// The cluster.
    pub cluster_id: String,
    /// Contents of its key folder, by file name.
    pub pki_files: HashMap<String, String>,
    /// The present replicas.
    pub members: Vec<Member>,
}

/// Who decides on joining. Wrong tokens are `Unauthorized`, without a hint at what was wrong.
pub trait JoinAuthority: Send + Sync + 'static {
    /// The keys that all replicas share, by file name: part of each snapshot.
    fn keys(&self) -> BTreeMap<String, String>;
    /// Makes a token; answers it whole, once.
    fn create_token(
        &self,
        role: Role,
        ttl: Option<Duration>,
    ) -> BoxFuture<'_, Result<(String, TokenInfo), Status>>;
    /// All tokens, without their secrets.
    fn list_tokens(&self) -> BoxFuture<'_, Result<Vec<TokenInfo>, Status>>;
    /// Ends a token.
    fn delete_token(&self, id: &str) -> BoxFuture<'_, Result<(), Status>>;
    /// Admits an agent.
    fn join_node(&self, request: JoinNode) -> BoxFuture<'_, Result<ClientIdentity, Status>>;
    /// Admits a gateway.
    fn join_gateway(&self, request: JoinGateway) -> BoxFuture<'_, Result<ClientIdentity, Status>>;
    /// Signs a new key for a gateway that shows its present certificate, in DER: same name, same hosts.
    fn renew_gateway(
        &self,
        cert_der: Vec<u8>,
        csr_pem: String,
    ) -> BoxFuture<'_, Result<ClientIdentity, Status>>;
    /// Whether a client's certificate, in DER, is one that the port of the API takes.
    fn is_client(&self, cert_der: &[u8]) -> bool;
    /// Admits a replica.
    fn join_server(&self, request: JoinServer) -> BoxFuture<'_, Result<ServerIdentity, Status>>;
}

/// Joins at once: strangers may ask, and each costs a signature.
const JOINS_IN_FLIGHT: usize = 16;
/// Longest wait for a join.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Hosts of one gateway.
const HOSTS: usize = 64;
/// Texts longer than this are nobody's name, token or certificate request.
const TEXT_BYTES: usize = 16 * 1024;

/// The service.
pub struct Service {
    authority: Arc<dyn JoinAuthority>,
    in_flight: Semaphore,
    failures: Failures,
    auditor: Option<Auditor>,
}

impl Service {
    /// Over an authority; joins are recorded by an auditor, if there is one.
    pub fn new(
        authority: Arc<dyn JoinAuthority>,
        auditor: Option<Auditor>,
        clock: SharedClock,
    ) -> Self {
        Self {
            authority,
            in_flight: Semaphore::new(JOINS_IN_FLIGHT),
            failures: Failures::new(clock),
            auditor,
        }
    }

    /// The record of a join: who it is nobody knows, and its token is no part of it.
    fn record<T>(&self, method: &str, request: &Request<T>) -> Trail {
        let anonymous = || User {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..User::default()
        };
        self.auditor
            .as_ref()
            .map_or_else(Trail::default, |auditor| {
                auditor.begin_unknown(audit::received(method, request, Some(anonymous())))
            })
    }

    async fn limited<T>(
        &self,
        (trail, peer): (&Trail, Option<SocketAddr>),
        texts: &[&str],
        join: BoxFuture<'_, Result<T, Status>>,
    ) -> Result<T, tonic::Status> {
        let joined = match self.failures.wait(peer) {
            Some(wait) => Err(must_wait(wait)),
            None => self.joined(texts, join).await,
        };
        if joined
            .as_ref()
            .is_err_and(|status| status.reason == Reason::Unauthorized)
        {
            self.failures.count(peer);
        }
        trail.complete_with(joined.as_ref().map(|_| 200));
        joined.map_err(|status| to_tonic(&status))
    }

    async fn joined<T>(
        &self,
        texts: &[&str],
        join: BoxFuture<'_, Result<T, Status>>,
    ) -> Result<T, Status> {
        if texts.iter().any(|text| text.len() > TEXT_BYTES) {
            return Err(Status::bad_request("a field of the request is too long"));
        }
        let Ok(_slot) = self.in_flight.try_acquire() else {
            let status = Status::new(Reason::TooManyRequests, "too many joins at once");
            return Err(status.with_retry_after(1));
        };
        let timed_out = || Status::new(Reason::Timeout, "joining took too long; try again");
        let joined = tokio::time::timeout(TIMEOUT, join).await;
        joined.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn must_wait(wait: Duration) -> Status {
    let message = "too many wrong join tokens came from this address; try again later";
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1);
    Status::new(Reason::TooManyRequests, message).with_retry_after(seconds)
}

fn peer<T>(request: &Request<T>) -> Option<SocketAddr> {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0)
}

#[tonic::async_trait]
impl JoinService for Service {
    async fn join_node(
        &self,
        request: Request<proto::JoinNodeRequest>,
    ) -> Result<Response<proto::JoinNodeResponse>, tonic::Status> {
        let trail = self.record("/kontiki.cluster.v1.JoinService/JoinNode", &request);
        let peer = peer(&request);
        let proto::JoinNodeRequest {
            token,
            node_name,
            csr_pem,
        } = request.into_inner();
        let texts = [token.clone(), node_name.clone(), csr_pem.clone()];
        let join = self.authority.join_node(JoinNode {
            token,
            node_name,
            csr_pem,
            peer,
        });
        let identity = self
            .limited((&trail, peer), &texts.each_ref().map(String::as_str), join)
            .await?;
        Ok(Response::new(proto::JoinNodeResponse {
            certificate_pem: identity.certificate_pem,
            ca_pem: identity.ca_pem,
            server_endpoints: identity.server_endpoints,
        }))
    }

    async fn join_gateway(
        &self,
        request: Request<proto::JoinGatewayRequest>,
    ) -> Result<Response<proto::JoinGatewayResponse>, tonic::Status> {
        let trail = self.record("/kontiki.cluster.v1.JoinService/JoinGateway", &request);
        let peer = peer(&request);
        let request = request.into_inner();
        let mut texts = vec![
            request.token.clone(),
            request.name.clone(),
            request.csr_pem.clone(),
        ];
        if request.hosts.len() > HOSTS {
            let status = Status::bad_request(format!("hosts: more than {HOSTS}"));
            trail.complete_with(Err(&status));
            return Err(to_tonic(&status));
        }
        texts.extend(request.hosts.iter().cloned());
        let join = self.authority.join_gateway(JoinGateway {
            token: request.token,
            name: request.name,
            hosts: request.hosts,
            csr_pem: request.csr_pem,
            peer,
        });
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let identity = self.limited((&trail, peer), &texts, join).await?;
        Ok(Response::new(proto::JoinGatewayResponse {
            certificate_pem: identity.certificate_pem,
            ca_pem: identity.ca_pem,
            server_endpoints: identity.server_endpoints,
        }))
    }

    async fn join_server(
        &self,
        request: Request<proto::JoinServerRequest>,
    ) -> Result<Response<proto::JoinServerResponse>, tonic::Status> {
        let trail = self.record("/kontiki.cluster.v1.JoinService/JoinServer", &request);
        let peer = peer(&request);
        let proto::JoinServerRequest {
            token,
            name,
            peer_endpoint,
            api_endpoint,
        } = request.into_inner();
        let texts = [
            token.clone(),
            name.clone(),
            peer_endpoint.clone(),
            api_endpoint.clone(),
        ];
        let join = self.authority.join_server(JoinServer {
            token,
            name,
            peer_endpoint,
            api_endpoint,
            peer,
        });
        let identity = self
            .limited((&trail, peer), &texts.each_ref().map(String::as_str), join)
            .await?;
        Ok(Response::new(proto::JoinServerResponse {
            id: identity.id,
            cluster_id: identity.cluster_id,
            pki_files: identity.pki_files,
            members: identity.members.into_iter().map(member).collect(),
        }))
    }
}
