//! Reads request bodies within the limits of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt as _;
use kontiki_base::limits::REQUEST_BYTES;
use kontiki_base::status::{Reason, Status};

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
        discard(body).await;
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
            discard(body).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
}

async fn discard(mut body: Body) {
    let drop_some = async {
        let mut n_dropped = 0;
        while n_dropped <= DISCARD_BYTES
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
