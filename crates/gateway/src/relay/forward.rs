//! One request to a replica and its answer back, streams in both directions, whatever it is upgraded to.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::{Method, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kontiki_apiserver::authn::PeerCert;
use kontiki_apiserver::relay::{Client, Replicas};
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};

use crate::respond::Response;
use crate::upgrade;

/// How often a read is sent again when its replica went away before it answered.
const READ_ATTEMPTS: usize = 3;

/// Passes a request on.
pub async fn pass_on(
    replicas: &dyn Replicas,
    mut request: Request,
    takes_over: bool,
) -> Result<Response, Status> {
    METRICS.gateway_forwarded_total.inc();
    let extensions = request.extensions_mut();
    let client = Client {
        cert: extensions.remove::<PeerCert>(),
        peer: extensions
            .remove::<ConnectInfo<SocketAddr>>()
            .map(|it| it.0),
        takes_over,
    };
    let upgraded = extensions.remove::<hyper::upgrade::OnUpgrade>();
    let outgoing = outgoing(request);
    let mut answer = if is_read(&outgoing) {
        read(replicas, &client, outgoing).await?
    } else {
        let answered = exchange(replicas, &client, outgoing).await?;
        answered.map_err(|error| broken_off(&error))?
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        // The replica's connection serves one request and says that it closes; the client's is about to be upgraded.
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        upgrade::join(upgraded, hyper::upgrade::on(&mut answer));
    } else {
        upgrade::strip(answer.headers_mut());
    }
    Ok(answer.map(Body::new))
}

/// The request as the replica gets it.
fn outgoing(request: Request) -> http::Request<Body> {
    let (mut parts, body) = request.into_parts();
    upgrade::strip_but_upgrade(&mut parts.headers);
    // Answered by the listener here, once the body is read.
    parts.headers.remove(EXPECT);
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    let mut outgoing = http::Request::new(body);
    if let Some(path) = parts.uri.path_and_query() {
        *outgoing.uri_mut() = Uri::from(path.clone());
    }
    *outgoing.method_mut() = parts.method;
    *outgoing.headers_mut() = parts.headers;
    outgoing
}

/// Whether a request changes nothing and has nothing behind it, so that it may be sent again.
fn is_read(request: &http::Request<Body>) -> bool {
    use http_body::Body as _;
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.headers().contains_key(UPGRADE)
        && request.body().is_end_stream()
}

/// A read, at another replica when the first does not answer.
async fn read(
    replicas: &dyn Replicas,
    client: &Client,
    request: http::Request<Body>,
) -> Result<http::Response<Incoming>, Status> {
    let (parts, _) = request.into_parts();
    let mut attempt = 1;
    loop {
        let request = http::Request::from_parts(parts.clone(), Body::empty());
        match exchange(replicas, client, request).await? {
            Ok(answer) => return Ok(answer),
            Err(error) if attempt < READ_ATTEMPTS => {
                tracing::debug!(%error, attempt, "a read is sent again");
                attempt += 1;
            }
            Err(error) => return Err(broken_off(&error)),
        }
    }
}

/// Sends a request; the outer failure is that no replica took it, the inner that one did and did not answer.
async fn exchange(
    replicas: &dyn Replicas,
    client: &Client,
    request: http::Request<Body>,
) -> Result<Result<http::Response<Incoming>, hyper::Error>, Status> {
    let io = TokioIo::new(replicas.open(client.clone()).await?);
    let (mut sender, connection) = match http1::handshake(io).await {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    spawn(TaskKind::Request, async move {
        // The sender, or the reader of the body, sees how it ends.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender.send_request(request).await)
}

/// A replica went away with the request: it may have been served.
fn broken_off(error: &hyper::Error) -> Status {
    tracing::warn!(%error, "a replica went away before it answered");
    let message = "the replica that served the request went away before it answered; a write may still have happened";
    Status::new(Reason::Timeout, message)
}
