//! Reads request bodies within the limits of size and time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use kontiki_base::limits::REQUEST_BYTES;
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};

/// A client that sends nothing for this long does not mean it.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// So much of a body that is too large is read and dropped before the answer: a client that is still writing when the
/// connection closes never sees why (RFC 9112, 9.6).
const DISCARD_BYTES: usize = REQUEST_BYTES;
/// And at most for this long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a whole body. What is too large is never kept: refused where announced, and
/// where not, as soon as it shows.
pub async fn read(headers: &HeaderMap, mut body: Body) -> Result<Bytes, Status> {
    // As upstream, which never inflates: a small body must not become a large one.
    if let Some(encoding) = headers
        .get(CONTENT_ENCODING)
        .filter(|encoding| *encoding != "identity")
    {
        return Err(Status::new(
            Reason::UnsupportedMediaType,
            format!("content encoding {encoding:?} of a request body is not supported"),
        ));
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let announced: usize = announced.unwrap_or(0);
    if announced > REQUEST_BYTES {
        discard(body, DISCARD_BYTES).await;
        return Err(too_large());
    }
    let mut bytes = BytesMut::with_capacity(announced.min(64 * 1024));
    loop {
        let frame = tokio::time::timeout(FRAME_TIMEOUT, body.frame())
            .await
            .map_err(|_| Status::bad_request("the request body did not arrive in time"))?;
        let Some(frame) = frame else {
            return Ok(bytes.freeze());
        };
        let frame = frame
            .map_err(|error| Status::bad_request(format!("reading the request body: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > REQUEST_BYTES {
            discard(body, DISCARD_BYTES).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

/// So much of a body that nobody asked for is read before the connection closes, as Go's server does.
const LEFT_OVER_BYTES: usize = 256 * 1024;

/// A request's body, whose rest is read and dropped after an answer that did not wait for it: a client of HTTP/1 that is
/// still writing when the connection closes takes that for a failure of the network. HTTP/2 resets the one stream.
pub struct Polite(Option<Body>);

impl Polite {
    /// Wraps the body of a request; those of HTTP/2 stay as they are.
    pub fn of(request: Request) -> Request {
        if request.version() >= Version::HTTP_2 {
            return request;
        }
        request.map(|body| Body::new(Self(Some(body))))
    }
}

impl http_body::Body for Polite {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Polite {
    fn drop(&mut self) {
        if let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) {
            spawn(TaskKind::Request, discard(body, LEFT_OVER_BYTES));
        }
    }
}

async fn discard(mut body: Body, n_bytes: usize) {
    let drop_some = async {
        let mut n_dropped = 0;
        while n_dropped <= n_bytes
            && let Some(Ok(frame)) = body.frame().await
        {
            n_dropped += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, drop_some).await;
}

fn too_large() -> Status {
    let message = format!("Request entity too large: limit is {REQUEST_BYTES}");
    Status::new(Reason::RequestEntityTooLarge, message)
}
