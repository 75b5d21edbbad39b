//! The REST face in a process of its own, in front of replicas elsewhere: stateless, any number of them.
//!
//! Every request goes to a replica as it came, with the identity that the client showed here, and is answered there by the
//! same code as without a gateway. Watches are the exception that pays: a replica begins each, which is where rights are
//! asked, and the events that follow come out of a ring of this process, filled once for each kind.
//!
//! ```text
//! client ─▶ health, metrics ─▶ here
//!        ─▶ watch ─▶ replica: who, may he, first objects ─▶ ring of the kind: all further events
//!        ─▶ all else, upgrades too ─▶ replica
//! ```
//! Deliberately absent: authentication and authorization (the replicas'), gRPC (`kontiki-rpc`), objects at rest.

mod definitions;
mod forward;
mod rings;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use kontiki_apiserver::relay::Replicas;
use kontiki_base::metrics::METRICS;
use kontiki_base::status::Status;

use crate::health::{self, Check};
use crate::respond::{self, Response};
use crate::route::{Parsed, Route};
use crate::{accept, layers};

use definitions::Definitions;
use rings::Rings;
use watches::TakeOver;

/// What every request shares.
struct Relay {
    replicas: Arc<dyn Replicas>,
    definitions: Arc<Definitions>,
    rings: Arc<Rings>,
    take_over: TakeOver,
    checks: Vec<Check>,
}

/// The router of a gateway in front of replicas.
pub fn router(replicas: Arc<dyn Replicas>) -> Router {
    let definitions = Definitions::follow(replicas.clone());
    let known = definitions.clone();
    let reached = move || match known.is_current() {
        true => Ok(()),
        false => Err("no replica is followed".to_owned()),
    };
    let relay = Arc::new(Relay {
        rings: Arc::new(Rings::new(replicas.clone())),
        replicas,
        definitions,
        take_over: TakeOver::default(),
        checks: vec![Check {
            name: "replicas",
            live: false,
            run: Arc::new(reached),
        }],
    });
    Router::new()
        .fallback(answer)
        .layer(from_fn(layers::survive_panics))
        .with_state(relay)
}

async fn answer(State(relay): State<Arc<Relay>>, request: Request) -> Response {
    METRICS.api_requests_total.inc();
    let form = accept::negotiate_failure(request.headers());
    let answered = serve(&relay, request).await;
    let response = answered.unwrap_or_else(|status| respond::status(&status));
    match response.status().as_u16() {
        429 => METRICS.api_throttled_total.inc(),
        500.. => METRICS.api_errors_total.inc(),
        _ => {}
    }
    respond::in_form_of(response, form)
}

async fn serve(relay: &Relay, request: Request) -> Result<Response, Status> {
    if is_grpc(&request) {
        return Ok(unimplemented());
    }
    let kinds = relay.definitions.kinds();
    let parsed = Parsed::of(&kinds, request.method(), request.uri());
    match &parsed.route {
        Route::Health(path) => Ok(health::answer(&relay.checks, path, &parsed.query)),
        Route::Metrics if request.method() == Method::GET => metrics(relay, request).await,
        _ => match watches::prepare(&parsed, request.method(), request.headers()) {
            Some(prepared) => watch(relay, prepared, request).await,
            None => forward::pass_on(&*relay.replicas, request, false).await,
        },
    }
}

/// A watch: begun by a replica, and gone on with here. A ring is made for those only whom a replica has let in.
async fn watch(
    relay: &Relay,
    prepared: watches::Prepared,
    request: Request,
) -> Result<Response, Status> {
    let (parts, _) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let request = Request::from_parts(parts, Body::empty());
    let mut answer = forward::pass_on(&*relay.replicas, request, true).await?;
    let Some(from) = watches::goes_on(&mut answer)? else {
        return Ok(answer);
    };
    match relay.rings.of(prepared.kind()).await {
        Some(ring) => prepared.go_on(&relay.take_over, ring, from, answer),
        // Without a ring the replica serves the watch as well.
        None => forward::pass_on(&*relay.replicas, again, false).await,
    }
}

/// This process's own, for those who may read a replica's.
async fn metrics(relay: &Relay, request: Request) -> Result<Response, Status> {
    let mut answer = forward::pass_on(&*relay.replicas, request, false).await?;
    if answer.status() == StatusCode::OK {
        answer = respond::plain(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            METRICS.render().into(),
        );
    }
    Ok(answer)
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

/// gRPC's way to say that this is not the place.
fn unimplemented() -> Response {
    let mut response = respond::plain(StatusCode::OK, "application/grpc", Body::empty());
    let headers = response.headers_mut();
    headers.insert("grpc-status", http::HeaderValue::from_static("12"));
    let why = "this is a REST gateway: gRPC is served by the replicas";
    headers.insert("grpc-message", http::HeaderValue::from_static(why));
    response
}
