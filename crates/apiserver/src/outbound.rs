//! HTTPS from the control plane to extensions: webhooks and aggregated API servers, by URL or by Service.
//!
//! ```text
//! Peer (where, whom to trust) ─ resolve: a ready pod of the Service ─ dial ─ TLS ─ one request ─ reply, bounded
//! ```
//!
//! Redirects are not followed. Connections are kept and used again. What a peer may be is in `guard`; how it is reached is
//! a [`Dialer`], since a replica may have no route to pods.
//!
//! Deliberately absent: what is sent and what an answer means (`admission/`, the gateway's proxy).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use kontiki_base::limits;

use crate::server::ApiServer;

mod connect;
mod dial;
mod guard;
mod peer;
mod pool;
mod resolve;
mod self_signed;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub use dial::{Address, Dialer, Direct, Io};
pub use peer::{Destination, Peer, Trust};
pub use tls::Identity;

pub(crate) use guard::is_refused;
pub(crate) use pool::Pool;
pub(crate) use resolve::endpoints;
pub(crate) use tls::to_anyone as tls_to_anyone;

/// What a request carries.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// How replicas reach extensions.
#[derive(Clone)]
pub struct OutboundOptions {
    /// Opens connections.
    pub dialer: Arc<dyn Dialer>,
    /// Whether an extension may live on the replica's own machine. It does on a laptop; on a server nothing there is
    /// meant for those who may configure webhooks.
    pub allow_loopback: bool,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self {
            dialer: Arc::new(Direct),
            allow_loopback: false,
        }
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It can't be reached, or does not prove who it is.
    Unreachable(String),
    /// It took too long.
    Timeout,
    /// Its reply has more bytes than this.
    TooLarge(usize),
    /// It answered, with this code.
    Code(u16),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::Timeout => f.write_str("context deadline exceeded"),
            Self::TooLarge(limit) => write!(f, "the reply is longer than {limit} bytes"),
            Self::Code(404) => f.write_str("the server could not find the requested resource"),
            Self::Code(401) => {
                f.write_str("the server has asked for the client to provide credentials")
            }
            Self::Code(code @ 500..) => write!(
                f,
                "an error on the server (code {code}) has prevented the request from succeeding"
            ),
            Self::Code(code) => write!(
                f,
                "the server responded with the status code {code} but did not return more information"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl ApiServer {
    /// POSTs JSON and reads the reply of a success, both within `timeout`.
    pub async fn post_json(
        &self,
        peer: &Peer,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let url = peer.destination.path_with_timeout(timeout);
        let mut request = Request::new(
            Full::new(body)
                .map_err(|never| match never {})
                .boxed_unsync(),
        );
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url
            .parse::<Uri>()
            .map_err(|why| Error::Unreachable(why.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("kontiki-admission"));
        let exchange = async {
            let response = self.exchange(peer, request).await?;
            if !response.status().is_success() {
                return Err(Error::Code(response.status().as_u16()));
            }
            whole(response.into_body(), limits::WEBHOOK_REPLY_BYTES).await
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or(Err(Error::Timeout))
    }

    /// Sends a request and answers the head of its reply. The URI is a path; `Host` is set here.
    pub async fn exchange(
        &self,
        peer: &Peer,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        let host = HeaderValue::try_from(peer.destination.authority())
            .map_err(|why| Error::Unreachable(why.to_string()))?;
        request.headers_mut().insert(HOST, host);
        self.send(peer, request).await
    }
}

/// A body of at most `limit` bytes.
pub(crate) async fn whole(mut body: Incoming, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|why| Error::Unreachable(why.to_string()))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limit {
                return Err(Error::TooLarge(limit));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
