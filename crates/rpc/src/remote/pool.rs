//! Connections to one replica. HTTP/2 carries a bounded number of streams on each: further ones are opened as needed, up
//! to a limit.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kontiki_base::limits::{GATEWAY_CONNECTIONS, STREAMS_PER_CONNECTION};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

/// A name that each replica's certificate has, however it is reached.
const SERVER_NAME: &str = "kubernetes";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A quiet connection is pinged this often, and given up when no answer comes: its streams go elsewhere.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How the gateway shows itself, and whom it believes, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The cluster's authority.
    pub ca_pem: String,
    /// The gateway's certificate.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: String,
}

/// One replica.
pub(super) struct Replica {
    /// `host:port`.
    pub(super) endpoint: String,
    identity: Arc<ArcSwap<Identity>>,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Clone)]
struct Connection {
    channel: Channel,
    places: Arc<Semaphore>,
}

/// A place on a connection.
pub(super) struct Lease {
    pub(super) channel: Channel,
    _place: OwnedSemaphorePermit,
}

/// What is using one.
pub(super) struct Leased<T> {
    pub(super) inner: T,
    pub(super) lease: Lease,
}

impl Replica {
    pub(super) fn new(endpoint: String, identity: Arc<ArcSwap<Identity>>) -> Self {
        Self {
            endpoint,
            identity,
            connections: Mutex::default(),
        }
    }

    /// A place on a connection that is open, or on a new one; none when all are full.
    pub(super) async fn lease(&self) -> Result<Option<Lease>, String> {
        let open = self.connections.lock().clone();
        if let Some(lease) = open.iter().find_map(Connection::lease) {
            return Ok(Some(lease));
        }
        if open.len() >= GATEWAY_CONNECTIONS {
            return Ok(None);
        }
        let connection = self.connect().await?;
        let lease = connection.lease();
        let mut connections = self.connections.lock();
        // Others may have connected meanwhile: theirs are kept, ours ends with its lease.
        if connections.len() < GATEWAY_CONNECTIONS {
            connections.push(connection);
        }
        Ok(lease)
    }

    /// Forgets all connections: what still runs on them goes on as long as it can.
    pub(super) fn hang_up(&self) {
        self.connections.lock().clear();
    }

    async fn connect(&self) -> Result<Connection, String> {
        let identity = self.identity.load();
        let pair = tonic::transport::Identity::from_pem(&identity.cert_pem, &identity.key_pem);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&identity.ca_pem))
            .identity(pair)
            .domain_name(SERVER_NAME);
        let endpoint = Endpoint::from_shared(format!("https://{}", self.endpoint))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| describe(&error))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| describe(&error))?;
        Ok(Connection {
            channel,
            places: Arc::new(Semaphore::new(STREAMS_PER_CONNECTION as usize)),
        })
    }
}

impl Connection {
    fn lease(&self) -> Option<Lease> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        Some(Lease {
            channel: self.channel.clone(),
            _place: place,
        })
    }
}

/// An error with what caused it: tonic's own words are "transport error".
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
