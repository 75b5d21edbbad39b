//! Watches: JSON frames, one a line; what is ready together leaves together.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::StatusCode;
use kontiki_apiserver::{WatchEvent, WatchStream};
use kontiki_base::limits::WATCH_BATCH;
use kontiki_base::status::{Reason, Status};
use serde_json::json;

use crate::accept::{Format, Shape};
use crate::respond::{self, Response};
use crate::shape::Shaper;

/// Bytes after which a batch leaves even when more is ready.
const FLUSH_BYTES: usize = 64 * 1024;

/// Answers with a watch, or with what kept it from starting.
pub fn answer(started: Result<WatchStream, Status>, shaper: Shaper) -> Result<Response, Status> {
    let events = match started {
        Ok(events) => events,
        // Clients look for a compacted revision in the stream, where upstream's watch cache puts it.
        Err(status) if matches!(status.reason, Reason::Expired | Reason::Gone) => {
            stream::iter([Err(status)]).boxed()
        }
        Err(status) => return Err(status),
    };
    let batches = events.ready_chunks(WATCH_BATCH).flat_map(move |batch| {
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        for event in batch {
            write_frame(&event, shaper, &mut chunk);
            if chunk.len() > FLUSH_BYTES {
                chunks.push(std::mem::take(&mut chunk));
            }
        }
        chunks.push(chunk);
        stream::iter(chunks.into_iter().filter(|chunk| !chunk.is_empty()))
    });
    let body = Body::from_stream(batches.map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk))));
    Ok(respond::plain(
        StatusCode::OK,
        Format::Json.content_type(),
        body,
    ))
}

fn write_frame(event: &Result<WatchEvent, Status>, shaper: Shaper, out: &mut Vec<u8>) {
    let (kind, object) = match event {
        Ok(WatchEvent::Added(object)) => ("ADDED", object),
        Ok(WatchEvent::Modified(object)) => ("MODIFIED", object),
        Ok(WatchEvent::Deleted(object)) => ("DELETED", object),
        Ok(WatchEvent::Bookmark {
            revision,
            initial_end,
        }) => {
            return write_bookmark(*revision, *initial_end, shaper, out);
        }
        Err(status) => {
            let frame = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", status.to_json());
            return out.extend_from_slice(frame.as_bytes());
        }
    };
    out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    shaper.write(object, out);
    out.extend_from_slice(b"}\n");
}

fn write_bookmark(revision: u64, initial_end: bool, shaper: Shaper, out: &mut Vec<u8>) {
    let revision = revision.to_string();
    let mut metadata = json!({"resourceVersion": revision, "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({
        "kind": shaper.kind.kind,
        "apiVersion": shaper.kind.api_version(),
        "metadata": metadata,
    });
    out.extend_from_slice(b"{\"type\":\"BOOKMARK\",\"object\":");
    if shaper.shape == Shape::Table {
        // A Table's own metadata has no annotations: the row's object carries the end of the initial events.
        let row = json!({"cells": [], "object": object});
        let rows = if initial_end { vec![row] } else { Vec::new() };
        let table = json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": revision}, "columnDefinitions": null, "rows": rows,
        });
        out.extend_from_slice(table.to_string().as_bytes());
    } else {
        shaper.write_json(object.to_string().as_bytes(), &revision, out);
    }
    out.extend_from_slice(b"}\n");
}
