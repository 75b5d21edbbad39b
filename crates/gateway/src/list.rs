//! Lists: spliced from stored bytes and sent in chunks, so that a list of any length costs one chunk of memory.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::StatusCode;
use kontiki_apiserver::Page;
use kontiki_state::Object;
use serde_json::json;

use crate::respond::{self, GZIP_BYTES, Response, Style};
use crate::shape::Shaper;

/// Bytes of one chunk of a streamed list.
const CHUNK_BYTES: usize = 64 * 1024;

/// A page as an answer.
pub fn answer(page: Page, shaper: Shaper, style: Style) -> Response {
    let size_bytes: usize = page.items.iter().map(|object| object.bytes.len()).sum();
    let chunks = Chunks::new(page, shaper);
    if !style.is_verbatim() {
        let whole: Vec<u8> = chunks.flatten().collect();
        return respond::json_bytes(StatusCode::OK, whole.into(), style);
    }
    let content_type = style.format.content_type();
    if size_bytes <= CHUNK_BYTES {
        let whole: Vec<u8> = chunks.flatten().collect();
        return respond::plain(StatusCode::OK, content_type, Body::from(whole));
    }
    if style.gzip && size_bytes > GZIP_BYTES {
        let packed = Packed {
            chunks,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let mut response = respond::plain(StatusCode::OK, content_type, streamed(packed));
        respond::mark_gzip(&mut response);
        return response;
    }
    respond::plain(StatusCode::OK, content_type, streamed(chunks))
}

fn streamed(chunks: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Body {
    let chunks = chunks.filter(|chunk| !chunk.is_empty()).map(Bytes::from);
    Body::from_stream(stream::iter(chunks.map(Ok::<_, std::convert::Infallible>)))
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
        let mut metadata = json!({"resourceVersion": page.revision.to_string()});
        if !page.continue_.is_empty() {
            metadata["continue"] = page.continue_.into();
        }
        if let Some(remaining) = page.remaining.filter(|remaining| *remaining > 0) {
            metadata["remainingItemCount"] = remaining.into();
        }
        let mut head = Vec::new();
        shaper.write_list_head(&metadata, &mut head);
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
struct Packed {
    chunks: Chunks,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Iterator for Packed {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let encoder = self.encoder.as_mut()?;
        match self.chunks.next() {
            // Writing to memory does not fail; if it did, the client would see a cut body.
            Some(chunk) => match encoder.write_all(&chunk) {
                Ok(()) => Some(std::mem::take(encoder.get_mut())),
                Err(_) => None,
            },
            None => self.encoder.take()?.finish().ok(),
        }
    }
}
