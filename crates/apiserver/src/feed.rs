//! All events of a kind, for a gateway that serves watchers of its own from them: once a gateway, however many watch there.
//!
//! Nothing is selected here and nobody's rights are asked: whoever calls has made sure that a gateway asks. Objects come
//! in the version of the kind, so that a conversion happens once for all watchers.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use kontiki_api::Kind;
use kontiki_base::limits::{FEED_BYTES, WATCH_BATCH};
use kontiki_base::status::Status;
use kontiki_state::{Event, Interest, Object, Revision, TooOld};
use tokio::sync::Notify;

use crate::errors::too_old_revision;
use crate::options::Context;
use crate::server::ApiServer;
use crate::verbs::watch::Place;

/// How often a quiet feed tells the revision up to which there was nothing.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where a feed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As far back as history goes.
    Oldest,
    /// After a revision.
    After(Revision),
    /// With the objects that there are.
    Present,
}

/// A piece of a feed.
#[derive(Debug, Clone, Default)]
pub struct Fed {
    /// Objects that are there; before any event.
    pub objects: Vec<Arc<Object>>,
    /// Events, oldest first.
    pub events: Vec<Event>,
    /// All that happened up to here has been told.
    pub revision: Revision,
}

/// A feed that has begun.
pub struct Feed {
    /// The revision after which its events begin.
    pub floor: Revision,
    /// Its pieces; ends after a failure.
    pub pieces: BoxStream<'static, Result<Fed, Status>>,
}

impl ApiServer {
    /// Begins a feed of a kind.
    pub async fn feed(&self, kind: &Kind, start: Start) -> Result<Feed, Status> {
        let place = Place::claim(&self.0.watches, None)?;
        let resource = Arc::clone(kind.resource());
        let woken = Arc::new(Notify::new());
        let waker = Arc::clone(&woken);
        let interest = Interest::resource(Arc::clone(&resource));
        let wake = Arc::new(move || waker.notify_one());
        let subscription = self.store().subscribe(&interest, wake);
        let since = |after| self.store().events_since(&resource, after, 1);
        let mut present = None;
        let floor = match start {
            Start::Oldest => since(0).map_or_else(|TooOld { oldest }| oldest, |_| 0),
            Start::After(revision) => {
                self.wait_revision(revision).await?;
                since(revision).map_err(|error| too_old_revision(revision, error.oldest))?;
                revision
            }
            Start::Present => {
                self.read_barrier(&Context::default()).await?;
                let snapshot = self.store().snapshot();
                present = Some(snapshot.list(&resource, None, None).collect::<Vec<_>>());
                snapshot.revision()
            }
        };
        let (server, kind) = (self.clone(), kind.clone());
        let pieces = async_stream::try_stream! {
            let _held = (place, subscription);
            let mut cursor = floor;
            for piece in pieces_of(present.unwrap_or_default(), |object| object.bytes.len()) {
                yield Fed { objects: server.fed_objects(&kind, piece).await?, ..Fed::default() };
            }
            yield Fed { revision: cursor, ..Fed::default() };
            let mut told = cursor;
            loop {
                let now = server.store().revision();
                let events = server.store().events_since(&resource, cursor, WATCH_BATCH);
                let events = events.map_err(|error| too_old_revision(cursor, error.oldest))?;
                let is_whole = events.len() < WATCH_BATCH;
                for piece in pieces_of(events, |event| event_bytes(event)) {
                    cursor = piece.last().map_or(cursor, |last| last.revision);
                    let events = server.fed_events(&kind, piece).await?;
                    told = cursor;
                    yield Fed { events, revision: cursor, ..Fed::default() };
                }
                if !is_whole {
                    continue;
                }
                cursor = cursor.max(now);
                if tokio::time::timeout(TELL_EVERY, woken.notified()).await.is_err() {
                    // A feed of a kind that is served no more ends, also when nothing happens.
                    server.current_kind(&kind)?;
                    if cursor > told {
                        told = cursor;
                        yield Fed { revision: cursor, ..Fed::default() };
                    }
                }
            }
        };
        Ok(Feed {
            floor,
            pieces: Box::pin(pieces),
        })
    }

    async fn fed_objects(
        &self,
        kind: &Kind,
        objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        if kind.is_stored() && kind.definition().is_none() {
            return Ok(objects);
        }
        let kind = self.current_kind(kind)?;
        self.shown_all(&kind, objects).await
    }

    async fn fed_events(&self, kind: &Kind, events: Vec<Arc<Event>>) -> Result<Vec<Event>, Status> {
        let mut fed = Vec::with_capacity(events.len());
        for event in events {
            let mut event = (*event).clone();
            let objects = std::iter::once(event.object.clone()).chain(event.previous.clone());
            let mut shown = self.fed_objects(kind, objects.collect()).await?.into_iter();
            event.object = shown.next().unwrap_or(event.object);
            event.previous = shown.next();
            fed.push(event);
        }
        Ok(fed)
    }
}

fn event_bytes(event: &Event) -> usize {
    let previous = event.previous.as_ref();
    event.object.bytes.len() + previous.map_or(0, |object| object.bytes.len())
}

/// In pieces of about `FEED_BYTES`: each ends with the item that reaches it.
fn pieces_of<T>(items: Vec<T>, size_bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut pieces, mut n_bytes) = (Vec::new(), FEED_BYTES);
    for item in items {
        if n_bytes >= FEED_BYTES {
            pieces.push(Vec::new());
            n_bytes = 0;
        }
        n_bytes += size_bytes(&item);
        if let Some(piece) = pieces.last_mut() {
            piece.push(item);
        }
    }
    pieces
}
