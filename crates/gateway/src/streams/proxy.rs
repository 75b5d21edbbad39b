//! The proxies: a request is passed on to a pod, to an endpoint of a service or to a node's agent, and what comes back is
//! made to work behind the URL that it is behind: redirects and links in pages lead through the proxy again.
//!
//! Upgrades pass as they are. A redirect of an agent is not passed on: a node must not send an administrator elsewhere
//! with his credentials.

mod html;
mod links;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, LOCATION, UPGRADE,
};
use http::{Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kontiki_apiserver::{Context, NodeRequest, ProxyTo, ProxyWay, Target};
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};

use super::{closing, upgrade};
use crate::respond::{self, Response};
use crate::route::Parsed;
use crate::router::Gateway;
use links::Links;

/// What a page may permit to other origins, which upstream takes away: the origin is the API's.
const CROSS_ORIGIN: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const NOT_PERMITTED: &str =
    "the backend attempted to redirect this request, which is not permitted";

/// Serves a request.
pub async fn serve(
    gateway: &Arc<Gateway>,
    target: &Target,
    parsed: &Parsed,
    context: Context,
    request: Request,
) -> Result<Response, Status> {
    let verb = parsed.verb(request.method());
    let links = Links::of(target, request.uri(), request.headers());
    let api = &gateway.api;
    let to = api.proxy_to(&context, target, verb, links.rest()).await?;
    if request.headers().contains_key(UPGRADE) {
        return upgraded(gateway, &to, &links, context, request).await;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if links.rest().is_empty() && is_read {
        return Ok(with_slash(request.uri()));
    }
    let is_agent = is_agent(&to);
    let outgoing = outgoing(request, &links)?;
    let answer = exchange(gateway, &to, outgoing).await?;
    let is_redirect = answer.status().is_redirection() && answer.headers().contains_key(LOCATION);
    if is_agent && is_redirect {
        return Ok(respond::text(StatusCode::BAD_GATEWAY, NOT_PERMITTED));
    }
    Ok(incoming(answer, &links))
}

fn is_agent(to: &ProxyTo) -> bool {
    matches!(&to.way, ProxyWay::Node(to) if to.request == NodeRequest::Http)
}

/// Where relative links are to work, the path has to end in a slash.
fn with_slash(uri: &Uri) -> Response {
    let query = uri.query().map(|query| format!("?{query}"));
    let location = format!("{}/{}", uri.path(), query.unwrap_or_default());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The request as it is passed on.
fn outgoing(request: Request, links: &Links) -> Result<http::Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<std::net::SocketAddr>>();
    let peer = peer.map(|peer| peer.0.ip().to_string());
    crate::upgrade::strip(&mut parts.headers);
    let mine = |name: &&HeaderName| name.as_str().starts_with("impersonate-");
    let mine: Vec<HeaderName> = parts.headers.keys().filter(mine).cloned().collect();
    for name in mine {
        parts.headers.remove(name);
    }
    parts.headers.remove(AUTHORIZATION);
    if !parts.headers.contains_key(HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    if let Some(peer) = peer {
        let before = parts.headers.get_all(&FORWARDED_FOR).iter();
        let mut all: Vec<&str> = before.filter_map(|value| value.to_str().ok()).collect();
        all.push(&peer);
        if let Ok(value) = HeaderValue::try_from(all.join(", ")) {
            parts.headers.insert(FORWARDED_FOR, value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(parts.uri.path()) {
        parts.headers.insert(FORWARDED_URI, value);
    }
    let query = parts.uri.query().map(|query| format!("?{query}"));
    let path = match links.rest() {
        "" => "/",
        rest => rest,
    };
    let uri = format!("{path}{}", query.unwrap_or_default());
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.headers_mut() = parts.headers;
    *outgoing.uri_mut() = uri
        .parse()
        .map_err(|why| Status::bad_request(format!("the path cannot be passed on: {why}")))?;
    Ok(outgoing)
}

fn strip(headers: &mut HeaderMap, names: &[&str]) {
    for name in names {
        headers.remove(*name);
    }
}

async fn exchange(
    gateway: &Gateway,
    to: &ProxyTo,
    request: http::Request<Body>,
) -> Result<http::Response<Incoming>, Status> {
    let failed = |why: hyper::Error| {
        let message = format!("error trying to reach service: {why}");
        Status::new(Reason::ServiceUnavailable, message)
    };
    let stream = gateway.api.dial_proxy(to).await?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(failed)?;
    spawn(TaskKind::Connection, async move {
        // Whoever waits for the answer is told by its own error.
        let _ = connection.with_upgrades().await;
    });
    sender.send_request(request).await.map_err(failed)
}

/// The answer as the client gets it.
fn incoming(answer: http::Response<Incoming>, links: &Links) -> Response {
    let (mut parts, body) = answer.into_parts();
    crate::upgrade::strip(&mut parts.headers);
    strip(&mut parts.headers, CROSS_ORIGIN);
    if let Some(location) = parts.headers.get(LOCATION).and_then(|it| it.to_str().ok()) {
        if let Ok(location) = HeaderValue::try_from(links.rewrite(location)) {
            parts.headers.insert(LOCATION, location);
        }
        return http::Response::from_parts(parts, Body::new(body));
    }
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok());
    let content_type = content_type
        .and_then(|it| it.split(';').next())
        .map(str::trim);
    if content_type != Some("text/html") {
        return http::Response::from_parts(parts, Body::new(body));
    }
    let encoding = parts
        .headers
        .get(CONTENT_ENCODING)
        .and_then(|it| it.to_str().ok());
    let Some(rewriter) = html::Rewriter::new(links.clone(), encoding.unwrap_or_default()) else {
        // As upstream: what cannot be read is passed on as it is.
        return http::Response::from_parts(parts, Body::new(body));
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(CONTENT_ENCODING);
    let pages = body.into_data_stream();
    http::Response::from_parts(parts, Body::from_stream(rewriter.over(pages)))
}

/// Passes an upgrade on: once both sides have switched, bytes.
async fn upgraded(
    gateway: &Gateway,
    to: &ProxyTo,
    links: &Links,
    context: Context,
    mut request: Request,
) -> Result<Response, Status> {
    let client = request.extensions_mut().remove::<OnUpgrade>();
    let protocol = request.headers().get(UPGRADE).cloned();
    let mut outgoing = outgoing(request, links)?;
    if let Some(protocol) = protocol {
        let headers = outgoing.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let mut answer = exchange(gateway, to, outgoing).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        if is_agent(to) && answer.status().is_redirection() {
            let refused = respond::text(StatusCode::BAD_GATEWAY, NOT_PERMITTED);
            return Ok(closing(refused));
        }
        return Ok(closing(incoming(answer, links)));
    }
    let Some(client) = client else {
        return Err(Status::bad_request("the connection cannot be upgraded"));
    };
    let server = hyper::upgrade::on(&mut answer);
    spawn(TaskKind::Request, async move {
        let _context = context;
        if let (Ok(client), Ok(server)) = (client.await, server.await) {
            let (mut client, early) = upgrade::Io::new(client);
            let mut server = TokioIo::new(server);
            use tokio::io::AsyncWriteExt as _;
            if server.write_all(&early).await.is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        }
    });
    Ok(answer.map(|_| Body::empty()))
}
