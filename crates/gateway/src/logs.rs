//! A container's log as plain text, chunk by chunk as it comes.

use axum::body::Body;
use futures::StreamExt as _;
use http::StatusCode;
use kontiki_apiserver::LogStream;
use kontiki_base::status::Status;

use crate::respond::{self, Response};

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
