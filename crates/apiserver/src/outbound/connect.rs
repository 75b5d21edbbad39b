//! One request over a connection at rest or a new one.

use std::error::Error as _;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use kontiki_base::limits;
use kontiki_base::task::{TaskKind, spawn};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::{Body, Error, Peer, tls};
use crate::server::ApiServer;

impl ApiServer {
    /// Sends a request; the connection goes back to the pool once its reply has been read.
    pub(super) async fn send(
        &self,
        peer: &Peer,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let key = peer.key();
        let mut request = request;
        // The peer may have closed a connection at rest without our noticing; the request then comes back unsent.
        while let Some(mut sender) = self.0.outbound.take(&key, self.now()) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.lay_to_rest(key, sender, response)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(told(failed.error())),
                },
            }
        }
        let mut sender = self.connect(peer).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|why| told(&why))?;
        Ok(self.lay_to_rest(key, sender, response))
    }

    fn now(&self) -> std::time::Duration {
        self.options().clock.monotonic()
    }

    async fn connect(&self, peer: &Peer) -> Result<SendRequest<Body>, Error> {
        let address = self.resolve(&peer.destination).await?;
        let config = Arc::new(tls::config(peer)?);
        let name = ServerName::try_from(peer.destination.server_name())
            .map_err(|why| Error::Unreachable(format!("tls: {why}")))?;
        let dialing = self.options().outbound.dialer.dial(&address);
        let opening = async {
            let stream = dialing.await.map_err(|why| {
                let (ip, port) = (address.ip, address.port);
                Error::Unreachable(format!("dial tcp {ip}:{port}: connect: {why}"))
            })?;
            let stream = TlsConnector::from(config).connect(name, stream).await;
            let stream = stream.map_err(|why| Error::Unreachable(format!("tls: {why}")))?;
            let opened = http1::handshake(TokioIo::new(stream)).await;
            opened.map_err(|why| told(&why))
        };
        let opened = tokio::time::timeout(limits::OUTBOUND_CONNECT_TIMEOUT, opening).await;
        let (sender, connection) = opened.unwrap_or(Err(Error::Timeout))?;
        spawn(TaskKind::Connection, async move {
            // Whoever waits for a reply is told by its own error.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// The sender is ready again when the reply has been read to its end; one that is given up closes the connection.
    fn lay_to_rest(
        &self,
        key: String,
        mut sender: SendRequest<Body>,
        response: Response<Incoming>,
    ) -> Response<Incoming> {
        let now = self.now();
        if response.body().is_end_stream() && !sender.is_ready() {
            return response;
        }
        let server = self.clone();
        spawn(TaskKind::Request, async move {
            if sender.ready().await.is_ok() {
                server.0.outbound.put(key, now, sender);
            }
        });
        response
    }
}

/// What happened, with its cause.
fn told(why: &hyper::Error) -> Error {
    let cause = why.source().map(|source| format!(": {source}"));
    Error::Unreachable(format!("{why}{}", cause.unwrap_or_default()))
}
