//! Watch: a cursor on the store's ring and a filter.
//!
//! The store wakes a watch only for events that touch its interest. Nothing is queued for a watcher: it reads the
//! ring at its own pace, and when the ring has passed its cursor the stream ends with 410, as for any slow client.
//!
//! ```text
//! start ─▶ initial ADDED (no or "0" revision, or sendInitialEvents) ─▶ [bookmark: initial end] ─▶ follow ─▶ end
//!                                                          follow: events | bookmark each minute | 410 | timeout
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Event, EventKind, Interest, Object, Revision, Snapshot, Store, Subscription};
use tokio::sync::Notify;

use crate::authz::authorize;
use crate::errors::{too_large_revision, too_old_revision};
use crate::options::{Context, Target, WatchEvent, WatchOptions};
use crate::revision::Wanted;
use crate::selection::{Selection, forbidden_option};
use crate::server::{ApiServer, Inner};

/// Events of a watch; ends after a failure or at the timeout.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

/// Between bookmarks, about; upstream's is a minute.
const BOOKMARK_EVERY: Duration = Duration::from_secs(55);
/// How often an idle watch moves its cursor, so that the ring does not pass it.
const ADVANCE_EVERY: Duration = Duration::from_secs(5);
/// Shortest life of a watch that names no timeout; upstream's `--min-request-timeout`.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);

impl ApiServer {
    /// Follows a collection, or one object when the target has a name.
    pub async fn watch(
        &self,
        context: &Context,
        target: &Target,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        authorize(context, "watch", target)?;
        check(options)?;
        let selection = Selection::parse(
            target,
            options.label_selector.as_deref(),
            options.field_selector.as_deref(),
        )?;
        let place = Place::claim(&self.0)?;
        let wanted = Wanted::parse(options.resource_version.as_deref())?;
        let sends_initial = match (options.send_initial_events, wanted) {
            (Some(sends), _) => sends,
            (None, wanted) => !matches!(wanted, Wanted::AtLeast(_)),
        };
        match wanted {
            Wanted::Newest => self.read_barrier(context).await?,
            Wanted::Any => {}
            Wanted::AtLeast(revision) => self.wait_revision(revision).await?,
        }
        let follow = Follow::new(self.store().clone(), target, selection);
        let snapshot = self.store().snapshot();
        let cursor = match wanted {
            Wanted::AtLeast(revision) if !sends_initial => {
                follow.check_history(revision)?;
                revision
            }
            _ => snapshot.revision(),
        };
        let timeout = options
            .timeout
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or_else(|| {
                let spread_ms = self.options().random.below(MIN_TIMEOUT.as_millis() as u64);
                MIN_TIMEOUT + Duration::from_millis(spread_ms)
            });
        let plan = Plan {
            initial: sends_initial.then_some(snapshot),
            marks_initial_end: options.send_initial_events == Some(true),
            bookmarks: options.bookmarks,
            timeout,
        };
        Ok(Box::pin(stream(place, follow, cursor, plan)))
    }
}

fn check(options: &WatchOptions) -> Result<(), Status> {
    let matching = options
        .resource_version_match
        .as_deref()
        .filter(|text| !text.is_empty());
    let refuse = |detail: &str| Err(forbidden_option("resourceVersionMatch", detail));
    match (options.send_initial_events, matching) {
        (Some(_), Some("NotOlderThan")) | (None, None) => Ok(()),
        (Some(_), _) => {
            refuse("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        }
        (None, Some(_)) => refuse(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
    }
}

struct Plan {
    initial: Option<Snapshot>,
    marks_initial_end: bool,
    bookmarks: bool,
    timeout: Duration,
}

fn stream(
    place: Place,
    mut follow: Follow,
    mut cursor: Revision,
    plan: Plan,
) -> impl futures::Stream<Item = Result<WatchEvent, Status>> + Send + 'static {
    async_stream::stream! {
        let _place = place;
        let end = tokio::time::sleep(plan.timeout);
        tokio::pin!(end);
        if let Some(snapshot) = plan.initial {
            for object in follow.initial(&snapshot) {
                METRICS.watch_events_total.inc();
                yield Ok(WatchEvent::Added(object));
            }
        }
        if plan.marks_initial_end {
            yield Ok(WatchEvent::Bookmark { revision: cursor, initial_end: true });
        }
        let mut bookmark = tokio::time::interval_at(tokio::time::Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
        let mut advance = tokio::time::interval_at(tokio::time::Instant::now() + ADVANCE_EVERY, ADVANCE_EVERY);
        let mut marked = cursor;
        loop {
            let batch = match follow.next_batch(&mut cursor) {
                Ok(batch) => batch,
                Err(status) => {
                    yield Err(status);
                    return;
                }
            };
            let idle = batch.is_none();
            for event in batch.into_iter().flatten() {
                METRICS.watch_events_total.inc();
                yield Ok(event);
            }
            if !idle {
                continue;
            }
            tokio::select! {
                () = &mut end => break,
                () = follow.woken() => {}
                _ = advance.tick() => follow.advance(&mut cursor),
                _ = bookmark.tick(), if plan.bookmarks => {
                    follow.advance(&mut cursor);
                    if cursor > marked {
                        marked = cursor;
                        yield Ok(WatchEvent::Bookmark { revision: cursor, initial_end: false });
                    }
                }
            }
        }
        if plan.bookmarks {
            yield Ok(WatchEvent::Bookmark { revision: cursor, initial_end: false });
        }
    }
}

/// The watch's end of the ring.
struct Follow {
    store: Store,
    resource: Arc<str>,
    namespace: Option<String>,
    selection: Selection,
    single: Option<(String, String)>,
    wake: Arc<Wake>,
    /// The store's revision at the last `advance`.
    seen: Revision,
    _subscription: Subscription,
}

#[derive(Default)]
struct Wake {
    is_set: AtomicBool,
    notify: Notify,
}

impl Follow {
    fn new(store: Store, target: &Target, selection: Selection) -> Self {
        let resource = Arc::clone(target.kind.resource());
        let single = selection.single(target);
        let namespace = (!target.namespace.is_empty()).then(|| target.namespace.clone());
        let interest = Interest {
            resource: Some(Arc::clone(&resource)),
            namespace: single
                .as_ref()
                .map(|(ns, _)| ns.as_str())
                .or(namespace.as_deref())
                .map(Arc::from),
            name: single.as_ref().map(|(_, name)| Arc::from(name.as_str())),
            field: selection.indexed_field(),
        };
        // Set from the start: what was applied before the subscription is read without a call.
        let wake = Arc::new(Wake {
            is_set: AtomicBool::new(true),
            notify: Notify::new(),
        });
        let waker = Arc::clone(&wake);
        let subscription = store.subscribe(
            &interest,
            Arc::new(move || {
                waker.is_set.store(true, Ordering::Release);
                waker.notify.notify_one();
            }),
        );
        let seen = store.revision();
        Self {
            store,
            resource,
            namespace,
            selection,
            single,
            wake,
            seen,
            _subscription: subscription,
        }
    }

    fn check_history(&self, revision: Revision) -> Result<(), Status> {
        let found = self.store.events_since(&self.resource, revision, 1);
        found
            .map(|_| ())
            .map_err(|error| too_old_revision(revision, error.oldest))?;
        let current = self.store.revision();
        if revision > current {
            Err(too_large_revision(revision, current))
        } else {
            Ok(())
        }
    }

    fn initial<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> Box<dyn Iterator<Item = Arc<Object>> + Send + 'a> {
        match &self.single {
            Some((namespace, name)) => {
                let found = snapshot.find(&self.resource, namespace, name);
                Box::new(
                    found
                        .into_iter()
                        .filter(|object| self.selection.matches(object)),
                )
            }
            None => Box::new(
                snapshot
                    .list(&self.resource, self.namespace.as_deref(), None)
                    .filter(|object| self.selection.matches(object)),
            ),
        }
    }

    async fn woken(&self) {
        self.wake.notify.notified().await;
    }

    /// What there is to send, or none when there is nothing to read.
    fn next_batch(&mut self, cursor: &mut Revision) -> Result<Option<Vec<WatchEvent>>, Status> {
        if !self.wake.is_set.swap(false, Ordering::AcqRel) {
            return Ok(None);
        }
        let now = self.store.revision();
        let events = self
            .store
            .events_since(&self.resource, *cursor, limits::WATCH_BATCH);
        let events = events.map_err(|error| too_old_revision(*cursor, error.oldest))?;
        if let Some(last) = events.last() {
            *cursor = (*cursor).max(last.revision);
        }
        if events.len() < limits::WATCH_BATCH {
            *cursor = (*cursor).max(now);
        } else {
            self.wake.is_set.store(true, Ordering::Release);
        }
        Ok(Some(
            events
                .iter()
                .filter_map(|event| self.translate(event))
                .collect(),
        ))
    }

    /// Moves the cursor of a watch that nothing concerned. When the store has gone beyond the revision seen last
    /// time, the apply that made that one has finished its wake-ups; without one, nothing up to it is ours.
    fn advance(&mut self, cursor: &mut Revision) {
        let now = self.store.revision();
        if now > self.seen {
            if !self.wake.is_set.load(Ordering::Acquire) {
                *cursor = (*cursor).max(self.seen);
            }
            self.seen = now;
        }
    }

    /// An event as this watch sees it: objects enter and leave its selection.
    fn translate(&self, event: &Event) -> Option<WatchEvent> {
        let object = &event.object;
        let is_here = match &self.single {
            Some((namespace, name)) => {
                *object.key.namespace == **namespace && *object.key.name == **name
            }
            None => self
                .namespace
                .as_deref()
                .is_none_or(|ns| *object.key.namespace == *ns),
        };
        if !is_here {
            return None;
        }
        let matched = event
            .previous
            .as_deref()
            .filter(|previous| self.selection.matches(previous));
        let matches = event.kind != EventKind::Deleted && self.selection.matches(object);
        match (matched, matches) {
            (None, false) => None,
            (None, true) => Some(WatchEvent::Added(Arc::clone(object))),
            (Some(_), true) => Some(WatchEvent::Modified(Arc::clone(object))),
            (Some(_), false) if event.kind == EventKind::Deleted => {
                Some(WatchEvent::Deleted(Arc::clone(object)))
            }
            (Some(previous), false) => {
                Some(WatchEvent::Deleted(at_revision(previous, event.revision)))
            }
        }
    }
}

/// The last content that was selected, under the revision at which it ceased to be.
fn at_revision(object: &Object, revision: Revision) -> Arc<Object> {
    let (key, header) = (object.key.clone(), object.header.clone());
    Arc::new(Object::new(
        key,
        revision,
        object.created,
        header,
        object.bytes.clone(),
    ))
}

/// One of the watches that this replica may have open.
struct Place(Arc<Inner>);

impl Place {
    fn claim(inner: &Arc<Inner>) -> Result<Self, Status> {
        let place = Self(Arc::clone(inner));
        let n_before = inner.n_watches.fetch_add(1, Ordering::Relaxed);
        METRICS.watches.inc();
        if n_before >= limits::WATCHES {
            let message = "too many watches are open on this replica, please try again later";
            return Err(Status::new(Reason::TooManyRequests, message).with_retry_after(5));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.n_watches.fetch_sub(1, Ordering::Relaxed);
        METRICS.watches.sub(1);
    }
}
