//! Watch: a cursor on the store's ring and a filter.
//!
//! The store wakes a watch only for events that touch its interest. Nothing is queued for a watcher: it reads the
//! ring at its own pace, and when the ring has passed its cursor the stream ends with 410, as for any slow client.
//!
//! ```text
//! start ─▶ initial ADDED (no or "0" revision, or sendInitialEvents) ─▶ [bookmark: initial end] ─▶ follow ─▶ end
//!                                                          follow: events | bookmark each minute | 410 | timeout
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kontiki_api::Kind;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_base::random::{Random, SystemRandom};
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Relay, Revision, Snapshot};
use parking_lot::Mutex;

use crate::errors::not_supported;
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
        self.authorize_selection(context, "watch", target, options.field_selector.as_deref())
            .await?;
        if target.kind.is_observed() || target.kind.review().is_some() {
            return Err(not_supported(&target.kind, "watch"));
        }
        check(options)?;
        let selection = Selection::parse(
            target,
            options.label_selector.as_deref(),
            options.field_selector.as_deref(),
        )?;
        let place = Place::claim(&self.0.watches, Some(&context.user.name))?;
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
/// the version of the target's kind already. Counts among `watches`.
pub(crate) fn follow_relay(
    relay: Relay,
    watches: &Arc<Mutex<Watches>>,
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
        place: Place::claim(watches, None)?,
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

/// One of the watches that this process, and its user, may have open.
pub(crate) struct Place {
    watches: Arc<Mutex<Watches>>,
    user: Option<String>,
}

impl Place {
    /// A place of a user's; of nobody's in particular where the caller counts users otherwise or has but one.
    pub(crate) fn claim(watches: &Arc<Mutex<Watches>>, user: Option<&str>) -> Result<Self, Status> {
        let full = |where_: &str| {
            let message = format!("too many watches are open {where_}, please try again later");
            Err(Status::new(Reason::TooManyRequests, message).with_retry_after(5))
        };
        let mut open = watches.lock();
        if open.count >= limits::WATCHES {
            return full("on this replica");
        }
        if let Some(user) = user {
            let own = open.by_user.entry(user.to_owned()).or_default();
            if *own >= limits::WATCHES_PER_USER {
                return full("for this user");
            }
            *own += 1;
        }
        open.count += 1;
        METRICS.watches.inc();
        Ok(Self {
            watches: Arc::clone(watches),
            user: user.map(str::to_owned),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.watches.lock();
        open.count -= 1;
        if let Some(user) = &self.user
            && let Some(own) = open.by_user.get_mut(user)
        {
            *own -= 1;
            if *own == 0 {
                open.by_user.remove(user);
            }
        }
        METRICS.watches.sub(1);
    }
}

/// Watches that are open.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    count: usize,
    by_user: HashMap<String, usize>,
}
