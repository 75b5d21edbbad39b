//! The audit log's view of a REST request: when its record begins, and when it is complete.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use kontiki_apiserver::audit::{About, Auditor, Received, Trail, source_ips};
use kontiki_apiserver::{Context, User};
use kontiki_base::status::Status;

use crate::layers::parsed;
use crate::respond::{self, Response};
use crate::router::Gateway;

/// The id of a request: its sender's, or one of ours.
#[derive(Clone)]
pub struct AuditId(pub HeaderValue);

/// The layer that records requests of known users.
pub async fn record(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(auditor) = &gateway.api.options().auditor else {
        return next.run(request).await;
    };
    let user = request.extensions().get::<Context>();
    let user = user.map(|context| context.user.clone());
    let about = about(&request);
    let trail = auditor.begin(received(&request, user), &about);
    if let Some(context) = request.extensions_mut().get_mut::<Context>() {
        context.audit = trail.clone();
    }
    let is_long = parsed(&request).is_some_and(|parsed| parsed.is_long_running);
    let response = next.run(request).await;
    finish(trail, response, is_long)
}

/// Records a request of nobody that we know.
pub fn refused(auditor: &Auditor, request: &Request, status: &Status) {
    let bearer = request.headers().contains_key(AUTHORIZATION);
    let attempted = if bearer { "bearer" } else { "" };
    let why = match attempted {
        "" => "Authentication failed, no credentials provided".to_owned(),
        attempted => format!("Authentication failed, attempted: {attempted}"),
    };
    let trail = auditor.begin_unknown(received(request, None));
    trail.refused(|| about(request), status, &why);
}

fn finish(trail: Trail, response: Response, is_long: bool) -> Response {
    let code = response.status().as_u16();
    let failure = respond::failure(&response);
    if !is_long || failure.is_some() {
        trail.complete(code, failure);
        return response;
    }
    trail.started(code);
    // The record is complete once the body is let go.
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |chunk| {
            let _held = &trail;
            chunk
        }))
    })
}

fn about(request: &Request) -> About {
    let parsed = parsed(request);
    About {
        verb: parsed.map_or_else(String::new, |it| it.verb(request.method()).to_owned()),
        target: parsed.and_then(|parsed| parsed.target().cloned()),
    }
}

fn received(request: &Request, user: Option<User>) -> Received {
    let text = |name| {
        let value = request.headers().get(name);
        value.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let id = request.extensions().get::<AuditId>();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let uri = request.uri().path_and_query();
    Received {
        audit_id: id.map_or_else(String::new, |id| {
            String::from_utf8_lossy(id.0.as_bytes()).into_owned()
        }),
        uri: uri.map_or_else(String::new, ToString::to_string),
        user,
        source_ips: source_ips(
            text(http::HeaderName::from_static("x-forwarded-for")),
            text(http::HeaderName::from_static("x-real-ip")),
            peer.map(|peer| peer.0.ip()),
        ),
        user_agent: text(USER_AGENT).unwrap_or_default().to_owned(),
    }
}
