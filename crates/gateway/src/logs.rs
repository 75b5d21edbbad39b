//! A container's log as plain text, chunk by chunk as it comes.

use axum::body::Body;
use futures::StreamExt as _;
use http::StatusCode;
use kontiki_apiserver::{Context, LogStream};
use kontiki_base::status::Status;

use crate::respond::{self, Response};
use crate::streams;
use crate::streams::told::Listener;

/// Tells a log over WebSocket, or what kept it from starting. A failure further on ends the connection.
pub fn tell(listener: Listener, context: Context, started: Result<LogStream, Status>) -> Response {
    match started {
        Ok(stream) => {
            let chunks = stream.take_while(|chunk| std::future::ready(chunk.is_ok()));
            let chunks = chunks.filter_map(|chunk| std::future::ready(chunk.ok()));
            listener.tell_bytes(context, chunks.boxed())
        }
        Err(status) => streams::refuse(&status),
    }
}

/// Answers with a log, or with what kept it from starting. A failure further on cuts the body.
pub fn answer(started: Result<LogStream, Status>) -> Result<Response, Status> {
    let stream = started?.map(|chunk| {
        chunk.map_err(|status| {
            tracing::debug!(%status, "a log stream broke off");
            std::io::Error::other(status)
        })
    });
    Ok(respond::plain(
        StatusCode::OK,
        "text/plain",
        Body::from_stream(stream),
    ))
}
