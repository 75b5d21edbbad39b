//! The watch's end of a ring, the store's or a gateway's: a cursor, a filter, and a subscription that wakes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_base::limits;
use kontiki_base::status::Status;
use kontiki_state::{
    Event, EventKind, History, Interest, Object, Revision, Snapshot, Subscription,
};
use tokio::sync::Notify;

use crate::errors::{too_large_revision, too_old_revision};
use crate::options::{Target, WatchEvent};
use crate::selection::Selection;

/// The watch's end of the ring.
pub(crate) struct Follow {
    history: Arc<dyn History>,
    resource: Arc<str>,
    namespace: Option<String>,
    selection: Selection,
    single: Option<(String, String)>,
    wake: Arc<Wake>,
    /// The history's revision at the last `advance`.
    seen: Revision,
    _subscription: Subscription,
}

#[derive(Default)]
struct Wake {
    is_set: AtomicBool,
    notify: Notify,
}

impl Follow {
    pub(crate) fn new(history: Arc<dyn History>, target: &Target, selection: Selection) -> Self {
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
        let subscription = history.subscribe(
            &interest,
            Arc::new(move || {
                waker.is_set.store(true, Ordering::Release);
                waker.notify.notify_one();
            }),
        );
        let seen = history.revision();
        Self {
            history,
            resource,
            namespace,
            selection,
            single,
            wake,
            seen,
            _subscription: subscription,
        }
    }

    pub(crate) fn check_history(&self, revision: Revision) -> Result<(), Status> {
        let found = self.history.events_since(&self.resource, revision, 1);
        found
            .map(|_| ())
            .map_err(|error| too_old_revision(revision, error.oldest))?;
        let current = self.history.revision();
        if revision > current {
            Err(too_large_revision(revision, current))
        } else {
            Ok(())
        }
    }

    pub(crate) fn initial<'a>(
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

    pub(crate) async fn woken(&self) {
        self.wake.notify.notified().await;
    }

    /// What there is to send, or none when there is nothing to read.
    pub(crate) fn next_batch(
        &mut self,
        cursor: &mut Revision,
    ) -> Result<Option<Vec<WatchEvent>>, Status> {
        if !self.wake.is_set.swap(false, Ordering::AcqRel) {
            return Ok(None);
        }
        let now = self.history.revision();
        let events = self
            .history
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

    /// Moves the cursor of a watch that nothing concerned. When the history has gone beyond the revision seen last
    /// time, the apply that made that one has finished its wake-ups; without one, nothing up to it is ours.
    pub(crate) fn advance(&mut self, cursor: &mut Revision) {
        let now = self.history.revision();
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
