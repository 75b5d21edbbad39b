//! Which protocol a request asks to switch to, and the switch.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kontiki_base::status::Status;
use kontiki_base::task::{TaskKind, spawn};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::closing;
use crate::guarded_io::GuardedIo;
use crate::respond::{self, Response};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName =
    HeaderName::from_static("x-accepted-stream-protocol-versions");
/// RFC 6455, 1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request asks for.
#[derive(Debug)]
pub enum Asked {
    /// WebSocket: the answer to its key, and the protocols that it offers.
    WebSocket(String, Vec<String>),
    /// SPDY/3.1: the protocols that it offers.
    Spdy(Vec<String>),
}

impl Asked {
    /// The first protocol of the client's that is served.
    pub fn protocol(
        &self,
        websocket: &[&'static str],
        spdy: &[&'static str],
    ) -> Result<&'static str, Refused> {
        match self {
            Self::WebSocket(_, offered) => websocket_protocol(offered, websocket),
            Self::Spdy(offered) => spdy_protocol(offered, spdy),
        }
    }
}

/// Answers with the switch, and runs `serve` over the connection once it has come about. `context` lives as long: its
/// record in the audit log is complete when the connection has ended.
pub fn switch<F: Future<Output = ()> + Send>(
    connection: OnUpgrade,
    asked: Asked,
    protocol: &'static str,
    context: impl Send + 'static,
    serve: impl FnOnce(Asked, Io, bytes::Bytes) -> F + Send + 'static,
) -> Response {
    let response = match &asked {
        Asked::WebSocket(accept, _) => to_websocket(accept, protocol),
        Asked::Spdy(_) => to_spdy(protocol),
    };
    spawn(TaskKind::Request, async move {
        let _context = context;
        if let Ok(upgraded) = connection.await {
            let (io, early) = Io::new(upgraded);
            serve(asked, io, early).await;
        }
    });
    response
}

/// Reads what a request asks to switch to; refused as upstream refuses it.
pub fn asked(method: &Method, headers: &HeaderMap) -> Result<Asked, Refused> {
    let connection = words(headers, &CONNECTION);
    if !connection
        .iter()
        .any(|word| word.eq_ignore_ascii_case("upgrade"))
    {
        return Err(required());
    }
    let upgrade = words(headers, &UPGRADE);
    let is = |name: &str| upgrade.iter().any(|word| word.eq_ignore_ascii_case(name));
    if is("websocket") && *method == Method::GET {
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let version = headers.get(SEC_WEBSOCKET_VERSION);
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
        let (Some(key), true) = (key, version.is_some_and(|version| version == "13")) else {
            return Err(Refused::bad_websocket());
        };
        let offered = words(headers, &SEC_WEBSOCKET_PROTOCOL);
        return Ok(Asked::WebSocket(accept(key), offered));
    }
    if is("SPDY/3.1") {
        return Ok(Asked::Spdy(words(headers, &STREAM_PROTOCOL)));
    }
    Err(required())
}

/// Upstream's answer to a request that does not ask for it.
pub fn required() -> Refused {
    Status::bad_request("Upgrade request required").into()
}

/// The words of a header that lists them by commas, also over several lines.
fn words(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

fn accept(key: &[u8]) -> String {
    let text = [key, WEBSOCKET_GUID.as_bytes()].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// A refusal of the switch itself.
#[derive(Debug)]
pub struct Refused(Box<Response>);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(Box::new(super::refuse(&status)))
    }
}

impl Refused {
    /// The answer.
    pub fn into_response(self) -> Response {
        *self.0
    }

    /// A plain text, as upstream's kubelet answers.
    pub fn text(code: StatusCode, text: &str) -> Self {
        let response = respond::text(code, format!("{text}\n"));
        Self(Box::new(closing(response)))
    }

    fn bad_websocket() -> Self {
        let mut refused = Self::text(StatusCode::BAD_REQUEST, "bad WebSocket handshake");
        let headers = refused.0.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        refused
    }
}

/// The first of the client's WebSocket protocols that is served; an empty one when none was offered.
pub fn websocket_protocol(
    offered: &[String],
    served: &[&'static str],
) -> Result<&'static str, Refused> {
    if offered.is_empty() && served.contains(&"") {
        return Ok("");
    }
    let mut known = offered
        .iter()
        .filter_map(|name| served.iter().find(|known| **known == name));
    let chosen = known.next().copied();
    chosen.ok_or_else(|| Refused::text(StatusCode::FORBIDDEN, "no common WebSocket protocol"))
}

/// The first of the client's stream protocols that is served.
pub fn spdy_protocol(offered: &[String], served: &[&'static str]) -> Result<&'static str, Refused> {
    if offered.is_empty() {
        let message = "unable to upgrade: X-Stream-Protocol-Version is required";
        return Err(Refused::text(StatusCode::BAD_REQUEST, message));
    }
    let mut known = offered
        .iter()
        .filter_map(|name| served.iter().find(|known| **known == name));
    if let Some(chosen) = known.next() {
        return Ok(chosen);
    }
    let message = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        offered.join(" "),
        served.join(" ")
    );
    let mut refused = Refused::text(StatusCode::FORBIDDEN, &message);
    for name in served {
        let headers = refused.0.headers_mut();
        headers.append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(name));
    }
    Err(refused)
}

/// Takes the connection out of a request; it is there where the protocol can be switched.
pub fn connection(request: &mut Request) -> Result<OnUpgrade, Refused> {
    let connection = request.extensions_mut().remove::<OnUpgrade>();
    connection.ok_or_else(required)
}

/// The switch to WebSocket.
fn to_websocket(accept: &str, protocol: &'static str) -> Response {
    let mut response = switching("websocket");
    let headers = response.headers_mut();
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if !protocol.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

/// The switch to SPDY/3.1.
fn to_spdy(protocol: &'static str) -> Response {
    let mut response = switching("SPDY/3.1");
    let headers = response.headers_mut();
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    response
}

fn switching(to: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(to));
    response
}

/// Both directions of a connection whose protocol was switched.
pub enum Io {
    /// That of a client, without the guard on stalled writes: who stops a terminal's output may stop it for an hour.
    Tls(Box<TlsStream<TcpStream>>),
    /// Any other: tests.
    Other(TokioIo<Upgraded>),
}

impl Io {
    /// The connection, and what was read of it already.
    pub fn new(upgraded: Upgraded) -> (Self, bytes::Bytes) {
        type Served = TokioIo<GuardedIo<TlsStream<TcpStream>>>;
        match hyper_util::server::conn::auto::upgrade::downcast::<Served>(upgraded) {
            Ok(parts) => {
                let io = parts.io.into_inner().into_inner();
                (Self::Tls(Box::new(io)), parts.read_buf)
            }
            Err(upgraded) => (Self::Other(TokioIo::new(upgraded)), bytes::Bytes::new()),
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
            Self::Other(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Other(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
            Self::Other(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Self::Other(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_websocket_is_answered_with_the_accept_of_its_key() {
        // RFC 6455, 1.3.
        let sent = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            (
                "sec-websocket-protocol",
                "v5.channel.k8s.io, v4.channel.k8s.io",
            ),
        ]);
        let Ok(Asked::WebSocket(accept, offered)) = asked(&Method::GET, &sent) else {
            panic!("no WebSocket");
        };
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(offered, ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
        let chosen = websocket_protocol(&offered, &["", "v4.channel.k8s.io"]).unwrap();
        assert_eq!(chosen, "v4.channel.k8s.io");
        assert!(websocket_protocol(&offered, &["v9"]).is_err());
    }

    #[test]
    fn what_is_no_upgrade_is_refused_in_upstreams_words() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (method, sent, code) in [
            (Method::GET, headers(&[]), 400),
            (Method::GET, headers(&[("connection", "upgrade")]), 400),
            (
                Method::POST,
                headers(&[("connection", "upgrade"), ("upgrade", "websocket"), key]),
                400,
            ),
            (
                Method::GET,
                headers(&[("connection", "upgrade"), ("upgrade", "websocket"), key]),
                400,
            ),
            (
                Method::POST,
                headers(&[("connection", "upgrade"), ("upgrade", "h2c")]),
                400,
            ),
        ] {
            let refused = asked(&method, &sent).unwrap_err().into_response();
            assert_eq!(refused.status().as_u16(), code);
            assert_eq!(refused.headers()[CONNECTION], "close");
        }
        let spdy = headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]);
        let Ok(Asked::Spdy(offered)) = asked(&Method::POST, &spdy) else {
            panic!("no SPDY");
        };
        let refused = spdy_protocol(&offered, &["a"]).unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let refused = spdy_protocol(&["b".into()], &["a"]).unwrap_err();
        let refused = refused.into_response();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers()[ACCEPTED_PROTOCOLS], "a");
    }
}
