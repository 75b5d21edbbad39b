//! What every REST request passes through, outermost first: one column, each layer with the reason for its place.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use futures::FutureExt as _;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue, USER_AGENT};
use kontiki_apiserver::authn::{Credentials, PeerCert};
use kontiki_apiserver::{Context, Impersonation};
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use tower::ServiceBuilder;

use crate::accept;
use crate::audit::{self, AuditId};
use crate::body::Polite;
use crate::respond::{self, Response};
use crate::route::Parsed;
use crate::router::Gateway;

/// Longest that a request may take, watches and logs aside (upstream's `--request-timeout`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const FLOW_SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const PRIORITY_LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Puts the column around the routes.
pub fn around(routes: Router, gateway: &Arc<Gateway>) -> Router {
    routes.layer(
        ServiceBuilder::new()
            // Outermost, so that refusals by the layers below are counted, carry an id and are written as asked as well.
            .layer(from_fn_with_state(gateway.clone(), observe))
            // Around all that could panic, and inside the counting, so that a panic is a counted 500.
            .layer(from_fn(survive_panics))
            // Before authentication, which leaves some routes open.
            .layer(from_fn_with_state(gateway.clone(), parse))
            // Before the limit: strangers must not take the places of users.
            .layer(from_fn_with_state(gateway.clone(), authenticate))
            // Around all that decides about a known user's request, so that refusals are recorded too.
            .layer(from_fn_with_state(gateway.clone(), audit::record))
            // Inside the record, which names both users.
            .layer(from_fn_with_state(gateway.clone(), impersonate))
            // After the layers that say who asks: seats are shared out by that.
            .layer(from_fn_with_state(gateway.clone(), take_seat))
            // Innermost: a request that runs out of time is dropped and so frees its place.
            .layer(from_fn(limit_time)),
    )
}

async fn observe(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    METRICS.api_requests_total.inc();
    let mut request = Polite::of(request);
    let sent = request
        .headers()
        .get(&AUDIT_ID)
        .filter(|id| id.len() <= 64)
        .cloned();
    let id = sent.or_else(|| HeaderValue::try_from(gateway.new_id()).ok());
    if let Some(id) = &id {
        request.extensions_mut().insert(AuditId(id.clone()));
    }
    let form = accept::negotiate_failure(request.headers());
    let mut response = respond::in_form_of(next.run(request).await, form);
    match response.status().as_u16() {
        429 => METRICS.api_throttled_total.inc(),
        500.. => METRICS.api_errors_total.inc(),
        _ => {}
    }
    let headers = response.headers_mut();
    if let Some(id) = id {
        headers.insert(AUDIT_ID, id);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

/// Where the profile unwinds; a release build aborts on a panic, because state may be broken beyond this request.
pub async fn survive_panics(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!(%method, path, "the handler panicked");
            respond::status(&Status::internal(
                "This request caused apiserver to panic. Look in the logs for details.",
            ))
        })
}

async fn parse(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let parsed = Parsed::of(&gateway.api.kinds(), request.method(), request.uri());
    request.extensions_mut().insert(Arc::new(parsed));
    next.run(request).await
}

async fn authenticate(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let cert = request.extensions().get::<PeerCert>();
    let bearer = text(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let credentials = Credentials {
        cert_der: cert.map(|cert| cert.0.as_ref()),
        bearer,
    };
    let user_agent = text(USER_AGENT).unwrap_or("").to_owned();
    let context = match gateway.api.authenticate_surely(credentials).await {
        Ok(user) => Context {
            user,
            user_agent,
            ..Context::default()
        },
        Err(_) if is_public(&request) => Context {
            user_agent,
            ..Context::default()
        },
        Err(status) => {
            if let Some(auditor) = &gateway.api.options().auditor {
                audit::refused(auditor, &request, &status);
            }
            return respond::status(&status);
        }
    };
    request.extensions_mut().insert(context);
    next.run(request).await
}

/// Puts the user that the request acts as in the place of the one that sent it, if the request says so and may.
async fn impersonate(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers().iter();
    let wanted =
        Impersonation::read(headers.map(|(name, value)| (name.as_str(), value.as_bytes())));
    let wanted = match wanted {
        Ok(None) => return next.run(request).await,
        Ok(Some(wanted)) => wanted,
        Err(status) => return respond::status(&status),
    };
    if let Some(context) = request.extensions_mut().get_mut::<Context>() {
        match gateway.api.impersonate(&context.user, wanted) {
            Ok(user) => {
                context.audit.impersonates(&user);
                context.user = user;
            }
            Err(status) => return respond::status(&status),
        }
    }
    next.run(request).await
}

fn is_public(request: &Request) -> bool {
    parsed(request).is_some_and(|parsed| parsed.is_health())
}

/// The request as the `parse` layer read it.
pub fn parsed(request: &Request) -> Option<&Arc<Parsed>> {
    request.extensions().get()
}

async fn take_seat(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let parsed = parsed(&request).cloned();
    // Health must answer when all else is full; logs have limits of their own.
    let Some(parsed) = parsed.filter(|parsed| parsed.needs_seat()) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let Some(context) = parts.extensions.get::<Context>() else {
        return respond::status(&Status::internal("a request without its layers"));
    };
    let verb = parsed.verb(&parts.method);
    let page_size = parsed
        .query
        .get("limit")
        .and_then(|limit| limit.parse().ok());
    let (path, target) = (parts.uri.path(), parsed.target());
    let seating = gateway
        .api
        .take_seat(context, verb, path, target, page_size);
    let (belonging, seat) = seating.await;
    let mut response = match seat {
        // The seat is free again with the first byte of the answer: a body that is sent slowly, and a watch that has
        // begun, hold a snapshot, not work.
        Ok(_seat) => next.run(Request::from_parts(parts, body)).await,
        Err(status) => respond::status(&status),
    };
    for (name, uid) in [
        (FLOW_SCHEMA, &belonging.schema_uid),
        (PRIORITY_LEVEL, &belonging.level_uid),
    ] {
        if let Ok(uid) = HeaderValue::from_str(uid)
            && !uid.is_empty()
        {
            response.headers_mut().insert(name, uid);
        }
    }
    response
}

async fn limit_time(request: Request, next: Next) -> Response {
    let Some(parsed) = parsed(&request).filter(|parsed| !parsed.is_long_running) else {
        return next.run(request).await;
    };
    let asked = parsed.timeout.filter(|timeout| !timeout.is_zero());
    let timeout = asked.unwrap_or(REQUEST_TIMEOUT).min(REQUEST_TIMEOUT);
    tokio::time::timeout(timeout, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let message = "Timeout: request did not complete within the allotted timeout";
            respond::status(&Status::new(Reason::Timeout, message))
        })
}
