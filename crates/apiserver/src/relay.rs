//! What a gateway of its own process needs of the replicas, and how it goes on with watches that they began.
//!
//! A client's request goes to a replica as it came, through a stream of bytes that names the client; the replica
//! authenticates, authorizes, admits, records and answers it. A watch begins there too, so that whoever watches was let in
//! by a replica; its further events come out of the gateway's own ring.
//! Deliberately absent: gRPC (`kontiki-rpc`), HTTP (`kontiki-gateway`).

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_api::Kind;
use kontiki_base::status::Status;
use kontiki_state::{Relay, Revision};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::authn::PeerCert;
use crate::feed::{Feed, Start};
use crate::options::{Target, WatchOptions};
use crate::verbs::watch::{self, WatchStream, follow_relay};

/// Group of gateways: a certificate of it, and nothing else, opens what is only for them.
pub use kontiki_api::kinds::certificate_signing_request::GATEWAYS;

/// What a gateway's name begins with.
pub const GATEWAY_PREFIX: &str = "system:kontiki:gateway:";

/// Extension of a request that a gateway passes on: it goes on with the watch itself, from its own ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakesOver;

/// Whose request is passed on.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The certificate with which the client showed itself to the gateway.
    pub cert: Option<PeerCert>,
    /// Whence it comes.
    pub peer: Option<SocketAddr>,
    /// The gateway takes a watch over once it has begun.
    pub takes_over: bool,
}

/// A stream of bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The replicas, as a gateway reaches them: one that fails is left for the next.
pub trait Replicas: Send + Sync + 'static {
    /// Opens a stream on which a replica serves one request of a client, as HTTP/1.1. Fails only when none can be
    /// reached, and before anything of the request was sent.
    fn open(&self, client: Client) -> BoxFuture<'_, Result<Box<dyn Io>, Status>>;
    /// Begins a feed of a kind.
    fn feed(&self, kind: Kind, start: Start) -> BoxFuture<'_, Result<Feed, Status>>;
}

/// The watches of a gateway.
#[derive(Debug, Clone, Default)]
pub struct Watches(Arc<Mutex<watch::Watches>>);

impl Watches {
    /// Goes on with a watch that a replica began, after `from`.
    pub fn follow(
        &self,
        relay: Relay,
        target: &Target,
        options: &WatchOptions,
        from: Revision,
    ) -> Result<WatchStream, Status> {
        follow_relay(relay, &self.0, target, options, from)
    }
}
