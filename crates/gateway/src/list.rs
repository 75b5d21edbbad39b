//! Lists: spliced from stored bytes and sent in chunks, so that a list of any length costs one chunk of memory.
//!
//! Here JSON, which YAML is made of; `protobuf` beside.

mod protobuf;

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::StatusCode;
use kontiki_apiserver::Page;
use kontiki_base::status::Status;
use kontiki_state::Object;
use serde_json::{Value, json};

use crate::accept::Format;
use crate::respond::{self, GZIP_BYTES, Response, Style};
use crate::shape::Shaper;

/// Bytes of one chunk of a streamed list.
const CHUNK_BYTES: usize = 64 * 1024;

/// A page as an answer.
pub async fn answer(page: Page, shaper: Shaper, style: Style) -> Result<Response, Status> {
    if style.format == Format::Protobuf {
        return protobuf::answer(page, shaper, style).await;
    }
    let size_bytes = json_bytes(&page, GZIP_BYTES);
    let chunks = Chunks::new(page, shaper);
    if !style.is_verbatim() {
        let whole: Vec<u8> = chunks.flatten().collect();
        return Ok(respond::json_bytes(StatusCode::OK, whole.into(), style));
    }
    if size_bytes <= CHUNK_BYTES {
        let whole: Vec<u8> = chunks.flatten().collect();
        let content_type = style.format.content_type();
        return Ok(respond::plain(
            StatusCode::OK,
            content_type,
            Body::from(whole),
        ));
    }
    Ok(streamed(chunks.map(Ok), size_bytes, style))
}

/// A page's JSON as a whole, unless it takes more than `max_bytes`.
pub fn within(page: &Page, shaper: Shaper, max_bytes: usize) -> Option<Vec<u8>> {
    if json_bytes(page, max_bytes) > max_bytes {
        return None;
    }
    let whole: Vec<u8> = Chunks::new(page.clone(), shaper).flatten().collect();
    (whole.len() <= max_bytes).then_some(whole)
}

/// Bytes of a page's objects as they are stored, or a number above `enough` once there are more: nobody waits for the
/// first byte of a long list until all of it has been looked at.
fn json_bytes(page: &Page, enough: usize) -> usize {
    let mut n_bytes = 0;
    for object in &page.items {
        n_bytes += object.bytes.len();
        if n_bytes > enough {
            break;
        }
    }
    n_bytes
}

/// `metadata` of a page.
fn metadata(page: &Page) -> Value {
    let mut metadata = match page.revision {
        // Of no store.
        0 => json!({}),
        revision => json!({"resourceVersion": revision.to_string()}),
    };
    if !page.continue_.is_empty() {
        metadata["continue"] = page.continue_.as_str().into();
    }
    if let Some(remaining) = page.remaining.filter(|remaining| *remaining > 0) {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// An answer of about `size_bytes`, sent as its chunks are made, compressed where that pays. A failure cuts the body.
fn streamed(
    chunks: impl Iterator<Item = Result<Vec<u8>, Status>> + Send + 'static,
    size_bytes: usize,
    style: Style,
) -> Response {
    let content_type = style.format.content_type();
    if style.gzip && size_bytes > GZIP_BYTES {
        let packed = Packed {
            chunks,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let mut response = respond::plain(StatusCode::OK, content_type, body(packed));
        respond::mark_gzip(&mut response);
        return response;
    }
    respond::plain(StatusCode::OK, content_type, body(chunks))
}

fn body(chunks: impl Iterator<Item = Result<Vec<u8>, Status>> + Send + 'static) -> Body {
    let chunks = chunks.filter(|chunk| !matches!(chunk, Ok(chunk) if chunk.is_empty()));
    Body::from_stream(stream::iter(chunks.map(|chunk| {
        chunk.map(Bytes::from).map_err(|status| {
            tracing::error!(%status, "a list broke off");
            std::io::Error::other(status)
        })
    })))
}

/// The parts of a list's JSON, in order.
struct Chunks {
    head: Option<Vec<u8>>,
    items: std::vec::IntoIter<Arc<Object>>,
    shaper: Shaper,
    is_first: bool,
    is_done: bool,
}

impl Chunks {
    fn new(page: Page, shaper: Shaper) -> Self {
        let mut head = Vec::new();
        shaper.write_list_head(&metadata(&page), &mut head);
        let items = page.items.into_iter();
        Self {
            head: Some(head),
            items,
            shaper,
            is_first: true,
            is_done: false,
        }
    }
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.is_done {
            return None;
        }
        let mut chunk = self.head.take().unwrap_or_default();
        while chunk.len() < CHUNK_BYTES {
            let Some(object) = self.items.next() else {
                chunk.extend_from_slice(b"]}");
                self.is_done = true;
                break;
            };
            if !std::mem::take(&mut self.is_first) {
                chunk.push(b',');
            }
            self.shaper.write_item(&object, &mut chunk);
        }
        Some(chunk)
    }
}

/// The same, compressed.
struct Packed<C> {
    chunks: C,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<C: Iterator<Item = Result<Vec<u8>, Status>>> Iterator for Packed<C> {
    type Item = Result<Vec<u8>, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let encoder = self.encoder.as_mut()?;
        // Writing to memory does not fail; if it did, the client would see a cut body.
        let failed = |error: std::io::Error| Status::internal(format!("compressing: {error}"));
        Some(match self.chunks.next() {
            Some(Ok(chunk)) => match encoder.write_all(&chunk) {
                Ok(()) => Ok(std::mem::take(encoder.get_mut())),
                Err(error) => Err(failed(error)),
            },
            Some(Err(status)) => Err(status),
            None => self.encoder.take()?.finish().map_err(failed),
        })
    }
}
