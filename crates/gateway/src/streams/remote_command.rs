//! exec and attach: the streams of a process, over WebSocket channels or SPDY streams.
//!
//! Errors reach the client on a channel of their own. Since v4 of the protocols that is a `v1.Status`, before it a
//! sentence; since v5, which only WebSocket has, a client can close its standard input.

mod over_spdy;
mod over_websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use kontiki_apiserver::{Context, NodeRequest, OnNode, RemoteOptions, Target};
use kontiki_base::status::Status;

use super::upgrade::{self, Asked, Refused};
use crate::query::Query;
use crate::respond::Response;
use crate::route::Parsed;
use crate::router::Gateway;

/// How long a client may take to open its streams (upstream's `DefaultStreamCreationTimeout`).
const STREAM_CREATION: Duration = Duration::from_secs(30);

/// WebSocket protocols, by the client's order.
const WEBSOCKET: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];
/// Stream protocols over SPDY.
const SPDY: &[&str] = &[
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];

/// Which streams were asked for, and in which dialect.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
    /// Contents are base64, in messages of text.
    is_base64: bool,
    /// The client can close a channel.
    has_close: bool,
    /// Errors are sentences.
    has_text_errors: bool,
    /// A terminal's size has a stream.
    has_resize: bool,
}

/// Serves a request.
pub async fn serve(
    gateway: &Arc<Gateway>,
    target: &Target,
    parsed: &Parsed,
    context: Context,
    request: Request,
) -> Result<Response, Status> {
    let verb = parsed.verb(request.method());
    let options = options(&parsed.query);
    let on_node = gateway
        .api
        .remote_command(&context, target, verb, options)
        .await?;
    let switched = switch(gateway, on_node, context, request).await;
    Ok(switched.unwrap_or_else(Refused::into_response))
}

fn options(query: &Query) -> RemoteOptions {
    RemoteOptions {
        container: query.text("container"),
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        tty: query.flag("tty"),
    }
}

async fn switch(
    gateway: &Gateway,
    on_node: OnNode,
    context: Context,
    mut request: Request,
) -> Result<Response, Refused> {
    let asked = upgrade::asked(request.method(), request.headers())?;
    let NodeRequest::RemoteCommand(command) = &on_node.request else {
        return Err(Status::internal("a request for something else").into());
    };
    if !(command.stdin || command.stdout || command.stderr) {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Refused::text(StatusCode::BAD_REQUEST, message));
    }
    let protocol = asked.protocol(WEBSOCKET, SPDY)?;
    let dialect = Dialect {
        stdin: command.stdin,
        stdout: command.stdout,
        // A terminal has one output; upstream's kubelet leaves the other out in silence.
        stderr: command.stderr && !command.tty,
        tty: command.tty,
        is_base64: protocol.contains("base64."),
        has_close: protocol.starts_with("v5."),
        has_text_errors: !(protocol.starts_with("v4.") || protocol.starts_with("v5.")),
        has_resize: !matches!(protocol, "v2.channel.k8s.io" | "channel.k8s.io"),
    };
    let connection = upgrade::connection(&mut request)?;
    let tunnel = gateway.api.connect_node(on_node).await?;
    let serve = move |asked, io, early: Bytes| async move {
        match asked {
            Asked::WebSocket(..) => over_websocket::run(io, &early, dialect, tunnel).await,
            Asked::Spdy(_) => over_spdy::run(io, &early, dialect, tunnel).await,
        }
    };
    Ok(upgrade::switch(connection, asked, protocol, context, serve))
}

/// What the agent says about the end, as the client's dialect has it; none where it has nothing.
fn error_bytes(dialect: Dialect, status: Bytes) -> Option<Bytes> {
    if !dialect.has_text_errors {
        return Some(status);
    }
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap_or_default();
    if status["status"] == "Success" {
        return None;
    }
    let message = status["message"].as_str().unwrap_or_default();
    Some(Bytes::from(message.to_owned()))
}

/// A tunnel's failure on the way, as the agent would have told it.
fn failure(status: &Status) -> Bytes {
    let mut tree = status.to_json();
    tree["message"] = format!("Internal error occurred: {}", status.message).into();
    Bytes::from(tree.to_string())
}

#[cfg(test)]
mod tests;
