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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kontiki_api::Kind;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_base::random::{Random, SystemRandom};
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Relay, Revision, Snapshot};

use crate::follow::Follow;
use crate::options::{Context, Target, WatchEvent, WatchOptions};
use crate::revision::Wanted;
use crate::selection::{Selection, forbidden_option};
use crate::server::ApiServer;

/// Events of a watch; ends after a failure or at the timeout.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

/// Between bookmarks, about; upstream's is a minute.
const BOOKMARK_EVERY: Duration = Duration::from_secs(55);
/// How often an idle watch moves its cursor, so that the ring does not pass it.
const ADVANCE_EVERY: Duration = Duration::from_secs(5);
/// Shortest life of a watch that names no timeout; upstream's `--min-request-timeout`.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);

/// A watch that has been decided on, before its first event.
struct Begun {
    place: Place,
    follow: Follow,
    cursor: Revision,
    plan: Plan,
}

impl ApiServer {
    /// Follows a collection, or one object when the target has a name.
    pub async fn watch(
        &self,
        context: &Context,
        target: &Target,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let begun = self.begin(context, target, options).await?;
        Ok(self.shown_events(&target.kind, begun))
    }

    /// Begins a watch that someone else goes on with: answers with the revision after which, and the events before.
    pub async fn begin_watch(
        &self,
        context: &Context,
        target: &Target,
        options: &WatchOptions,
    ) -> Result<(Revision, WatchStream), Status> {
        let mut begun = self.begin(context, target, options).await?;
        begun.plan.follows = false;
        Ok((begun.cursor, self.shown_events(&target.kind, begun)))
    }

    async fn begin(
        &self,
        context: &Context,
        target: &Target,
        options: &WatchOptions,
    ) -> Result<Begun, Status> {
        self.authorize_selection(context, "watch", target, options.field_selector.as_deref())?;
        check(options)?;
        let selection = Selection::parse(
            target,
            options.label_selector.as_deref(),
            options.field_selector.as_deref(),
        )?;
        let place = Place::claim(&self.0.n_watches)?;
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
        let follow = Follow::new(Arc::new(self.store().clone()), target, selection);
        let snapshot = self.store().snapshot();
        let cursor = match wanted {
            Wanted::AtLeast(revision) if !sends_initial => {
                follow.check_history(revision)?;
                revision
            }
            _ => snapshot.revision(),
        };
        let plan = Plan {
            initial: sends_initial.then_some(snapshot),
            marks_initial_end: options.send_initial_events == Some(true),
            ..Plan::following(options, &*self.options().random)
        };
        Ok(Begun {
            place,
            follow,
            cursor,
            plan,
        })
    }

    /// The events of a watch, in the version of its kind.
    fn shown_events(&self, kind: &Kind, begun: Begun) -> WatchStream {
        let events = stream(begun);
        if kind.is_stored() && kind.definition().is_none() {
            return Box::pin(events);
        }
        let (server, kind) = (self.clone(), kind.clone());
        let shown = events.then(move |event| {
            let (server, kind) = (server.clone(), kind.clone());
            async move {
                let kind = server.current_kind(&kind)?;
                server.shown_event(&kind, event?).await
            }
        });
        // A failure is the last that is sent.
        let shown = shown.scan(false, |has_failed, event| {
            let is_over = std::mem::replace(has_failed, event.is_err());
            std::future::ready((!is_over).then_some(event))
        });
        Box::pin(shown)
    }
}

/// Goes on with a watch that a replica began: the events after `from`, out of a gateway's ring, whose objects are in
/// the version of the target's kind already. Counts among `n_watches`.
pub(crate) fn follow_relay(
    relay: Relay,
    n_watches: &Arc<AtomicUsize>,
    target: &Target,
    options: &WatchOptions,
    from: Revision,
) -> Result<WatchStream, Status> {
    let selection = Selection::parse(
        target,
        options.label_selector.as_deref(),
        options.field_selector.as_deref(),
    )?;
    let events = stream(Begun {
        place: Place::claim(n_watches)?,
        follow: Follow::new(Arc::new(relay), target, selection),
        cursor: from,
        plan: Plan::following(options, &SystemRandom),
    });
    Ok(Box::pin(events))
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
    /// Goes on after the initial events.
    follows: bool,
}

impl Plan {
    /// Of a watch without initial events.
    fn following(options: &WatchOptions, random: &dyn Random) -> Self {
        let asked = options.timeout.filter(|timeout| !timeout.is_zero());
        let timeout = asked.unwrap_or_else(|| {
            MIN_TIMEOUT + Duration::from_millis(random.below(MIN_TIMEOUT.as_millis() as u64))
        });
        Self {
            initial: None,
            marks_initial_end: false,
            bookmarks: options.bookmarks,
            timeout,
            follows: true,
        }
    }
}

fn stream(
    begun: Begun,
) -> impl futures::Stream<Item = Result<WatchEvent, Status>> + Send + 'static {
    let Begun {
        place,
        mut follow,
        mut cursor,
        plan,
    } = begun;
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
        if !plan.follows {
            return;
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

/// One of the watches that this process may have open.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(crate) fn claim(n_watches: &Arc<AtomicUsize>) -> Result<Self, Status> {
        let place = Self(Arc::clone(n_watches));
        let n_before = n_watches.fetch_add(1, Ordering::Relaxed);
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
        self.0.fetch_sub(1, Ordering::Relaxed);
        METRICS.watches.sub(1);
    }
}
