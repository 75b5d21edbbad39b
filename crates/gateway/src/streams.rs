//! What connects a client with a node: exec, attach and port-forward over WebSocket and SPDY/3.1, and the proxies.
//!
//! ```text
//! request ─ may the user? which node? ─▶ can it be upgraded? ─▶ the agent has it ─▶ 101 ─▶ bytes both ways
//! ```
//! Everything is decided before the answer: a request that is refused is answered as any other and its connection closed,
//! so that nothing a client sends after it reaches an agent.
//!
//! Deliberately absent: who may and which container is meant (`kontiki-apiserver`), what a process is (the agent).

mod port_forward;
mod proxy;
mod remote_command;
mod resizes;
mod spdy;
pub mod told;
mod upgrade;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use http::header::{CONNECTION, HeaderValue};
use kontiki_api::Subresource;
use kontiki_apiserver::Context;
use kontiki_base::status::Status;

use crate::path::{self, Resource};
use crate::respond::{self, Response};
use crate::route::Parsed;
use crate::router::Gateway;

pub use upgrade::Io;

/// Once all is said, a client has so long to take it and to close its side.
const LINGER: Duration = Duration::from_secs(5);

/// Serves a request for a subresource that connects.
pub async fn serve(
    gateway: &Arc<Gateway>,
    resource: &Resource,
    parsed: &Parsed,
    context: Context,
    request: Request,
) -> Response {
    let answered = match resource.target.subresource {
        Some(Subresource::Exec | Subresource::Attach) => {
            remote_command::serve(gateway, &resource.target, parsed, context, request).await
        }
        Some(Subresource::PortForward) => {
            port_forward::serve(gateway, &resource.target, parsed, context, request).await
        }
        Some(Subresource::Proxy) => {
            proxy::serve(gateway, &resource.target, parsed, context, request).await
        }
        _ => Err(path::no_such_resource()),
    };
    answered.unwrap_or_else(|status| refuse(&status))
}

/// A refusal closes the connection: what follows on it was meant for the protocol that did not come about.
pub fn refuse(status: &Status) -> Response {
    closing(respond::status(status))
}

fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
