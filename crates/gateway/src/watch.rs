//! Watches: frames of JSON, one a line, or of protobuf, each after its length; what is ready together leaves together.

mod encoded;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use http::{HeaderName, StatusCode};
use kontiki_api::protobuf;
use kontiki_apiserver::{WatchEvent, WatchStream};
use kontiki_base::limits::WATCH_BATCH;
use kontiki_base::status::{Reason, Status};
use serde_json::json;

use crate::accept::{Format, Shape};
use crate::respond::{self, Response};
use crate::shape::Shaper;
use crate::streams::told::Message;

pub use encoded::Encoded;

/// Bytes after which a batch leaves even when more is ready.
const FLUSH_BYTES: usize = 64 * 1024;

/// Answers with a watch, or with what kept it from starting.
pub fn answer(
    started: Result<WatchStream, Status>,
    shaper: Shaper,
    format: Format,
    encoded: Arc<Encoded>,
) -> Result<Response, Status> {
    let frames = frames(events(started)?, shaper, format, encoded);
    let body = Body::from_stream(frames.map(Ok::<_, Infallible>));
    let content_type = format.stream_type().unwrap_or(format.content_type());
    Ok(respond::plain(StatusCode::OK, content_type, body))
}

/// Events, of a watch that started or that begins with what kept it from starting.
fn events(started: Result<WatchStream, Status>) -> Result<WatchStream, Status> {
    match started {
        // Clients look for a compacted revision in the stream, where upstream's watch cache puts it.
        Err(status) if matches!(status.reason, Reason::Expired | Reason::Gone) => {
            Ok(stream::iter([Err(status)]).boxed())
        }
        started => started,
    }
}

/// A watch as messages of a WebSocket, one an event: JSON is text, protobuf bytes without a length before them.
pub fn messages(
    started: Result<WatchStream, Status>,
    shaper: Shaper,
    format: Format,
    encoded: Arc<Encoded>,
) -> Result<BoxStream<'static, Message>, Status> {
    let message = move |event: Event| {
        let mut frame = Vec::new();
        if format == Format::Protobuf {
            write_protobuf(&event, &shaper, &encoded, &mut frame);
            Message::Binary(Bytes::from(frame).split_off(LENGTH_BYTES))
        } else {
            write_json(&event, &shaper, &mut frame);
            Message::Text(frame.into())
        }
    };
    Ok(events(started)?.map(message).boxed())
}

/// Answers with the beginning of a watch that a gateway of its own process goes on with, and tells after which revision.
pub fn beginning(
    started: Result<(u64, WatchStream), Status>,
    shaper: Shaper,
    format: Format,
    encoded: Arc<Encoded>,
) -> Result<Response, Status> {
    let (from, started) = match started {
        Ok((from, events)) => (Some(from), Ok(events)),
        Err(status) => (None, Err(status)),
    };
    let mut response = answer(started, shaper, format, encoded)?;
    if let Some(from) = from {
        response.headers_mut().insert(GOES_ON, from.into());
    }
    Ok(response)
}

/// Header of a beginning: the revision after which the watch goes on. Never seen by clients.
pub const GOES_ON: HeaderName = HeaderName::from_static("kontiki-watch-goes-on");

/// The frames of events, in the form that was negotiated.
pub fn frames(
    events: WatchStream,
    shaper: Shaper,
    format: Format,
    encoded: Arc<Encoded>,
) -> impl Stream<Item = Bytes> + Send + 'static {
    events.ready_chunks(WATCH_BATCH).flat_map(move |batch| {
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        for event in batch {
            match format {
                Format::Protobuf => write_protobuf(&event, &shaper, &encoded, &mut chunk),
                _ => write_json(&event, &shaper, &mut chunk),
            }
            if chunk.len() > FLUSH_BYTES {
                chunks.push(std::mem::take(&mut chunk));
            }
        }
        chunks.push(chunk);
        let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty());
        stream::iter(chunks.map(Bytes::from))
    })
}

type Event = Result<WatchEvent, Status>;

fn write_json(event: &Event, shaper: &Shaper, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"type\":\"{}\",\"object\":", kind(event)).as_bytes());
    match event {
        Ok(
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object),
        ) => shaper.write(object, out),
        Ok(WatchEvent::Bookmark {
            revision,
            initial_end,
        }) => write_bookmark(*revision, *initial_end, shaper, out),
        Err(status) => out.extend_from_slice(status.to_json().to_string().as_bytes()),
    }
    out.extend_from_slice(b"}\n");
}

fn write_protobuf(event: &Event, shaper: &Shaper, encoded: &Encoded, out: &mut Vec<u8>) {
    let object = match event {
        Ok(
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object),
        ) => encoded.object(object, shaper),
        Ok(WatchEvent::Bookmark {
            revision,
            initial_end,
        }) => {
            let mut json = Vec::new();
            write_bookmark(*revision, *initial_end, shaper, &mut json);
            respond::to_protobuf(&json).map(Bytes::from)
        }
        Err(status) => return write_failure(status, out),
    };
    match object {
        Ok(object) => write_frame(kind(event), &object, out),
        // Left out silently, it would be a hole in what the client sees.
        Err(status) => {
            tracing::error!(%status, "an event has no protobuf form");
            write_failure(&status, out);
        }
    }
}

fn write_failure(status: &Status, out: &mut Vec<u8>) {
    if let Ok(status) = protobuf::encode(&status.to_json()) {
        write_frame(ERROR, &status, out);
    }
}

/// Bytes of the length before a frame of protobuf.
const LENGTH_BYTES: usize = 4;

/// Appends the frame of an event: its length in four bytes, then the event around its object.
fn write_frame(kind: &str, object: &[u8], out: &mut Vec<u8>) {
    let event = protobuf::event(kind, object);
    // It fits: an object is no larger than the store takes.
    out.extend_from_slice(&(event.len() as u32).to_be_bytes());
    out.extend_from_slice(&event);
}

const ERROR: &str = "ERROR";

const fn kind(event: &Event) -> &'static str {
    match event {
        Ok(WatchEvent::Added(_)) => "ADDED",
        Ok(WatchEvent::Modified(_)) => "MODIFIED",
        Ok(WatchEvent::Deleted(_)) => "DELETED",
        Ok(WatchEvent::Bookmark { .. }) => "BOOKMARK",
        Err(_) => ERROR,
    }
}

fn write_bookmark(revision: u64, initial_end: bool, shaper: &Shaper, out: &mut Vec<u8>) {
    let revision = revision.to_string();
    let mut metadata = json!({"resourceVersion": revision, "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({
        "kind": shaper.kind.kind(),
        "apiVersion": shaper.kind.api_version(),
        "metadata": metadata,
    });
    if shaper.shape == Shape::Table {
        // A Table's own metadata has no annotations: the row's object carries the end of the initial events.
        let row = json!({"cells": [], "object": object});
        let rows = if initial_end { vec![row] } else { Vec::new() };
        let table = json!({
            "kind": "Table", "apiVersion": shaper.meta,
            "metadata": {"resourceVersion": revision}, "columnDefinitions": null, "rows": rows,
        });
        out.extend_from_slice(table.to_string().as_bytes());
    } else {
        shaper.write_json(object.to_string().as_bytes(), &revision, out);
    }
}
