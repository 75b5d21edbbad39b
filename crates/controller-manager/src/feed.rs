//! Follows resources of the store: a snapshot first, then every event after it; a snapshot again if we fell behind.

use std::sync::Arc;

use kontiki_state::{Event, Interest, Revision, Snapshot, Store, Subscription};
use tokio::sync::Notify;

/// Events taken at once.
const BATCH: usize = 1024;

/// A cursor over some resources.
pub struct Feed {
    store: Store,
    cursors: Vec<(Arc<str>, Revision)>,
    notify: Arc<Notify>,
    subscriptions: Vec<Subscription>,
}

fn subscribe(store: &Store, notify: &Arc<Notify>, resource: &Arc<str>) -> Subscription {
    let notify = notify.clone();
    let waker = Arc::new(move || notify.notify_one());
    store.subscribe(&Interest::resource(resource.clone()), waker)
}

/// What is new.
pub enum News {
    /// Start over from this.
    Relist(Snapshot),
    /// These happened, in order for each resource.
    Events(Vec<Arc<Event>>),
}

impl Feed {
    /// Follows `resources` from now; the snapshot is what there is.
    pub fn start(store: &Store, resources: &[Arc<str>]) -> (Self, Snapshot) {
        let notify = Arc::new(Notify::new());
        // Subscribed first: nothing between the snapshot and the first wait is missed.
        let subscribe = |resource: &Arc<str>| subscribe(store, &notify, resource);
        let subscriptions = resources.iter().map(subscribe).collect();
        let snapshot = store.snapshot();
        let revision = snapshot.revision();
        let cursors = resources
            .iter()
            .map(|resource| (resource.clone(), revision))
            .collect();
        (
            Self {
                store: store.clone(),
                cursors,
                notify,
                subscriptions,
            },
            snapshot,
        )
    }

    /// Follows exactly `resources` from now on. Answers those that it did not follow before, with what there is of them.
    pub fn follow(&mut self, resources: &[Arc<str>]) -> (Vec<Arc<str>>, Snapshot) {
        let is_wanted: Vec<bool> = (self.cursors.iter())
            .map(|(known, _)| resources.contains(known))
            .collect();
        let mut wanted = is_wanted.iter();
        self.subscriptions.retain(|_| wanted.next() == Some(&true));
        let mut wanted = is_wanted.iter();
        self.cursors.retain(|_| wanted.next() == Some(&true));
        let is_new =
            |resource: &&Arc<str>| self.cursors.iter().all(|(known, _)| known != *resource);
        let added: Vec<Arc<str>> = resources.iter().filter(is_new).cloned().collect();
        for resource in &added {
            let subscription = subscribe(&self.store, &self.notify, resource);
            self.subscriptions.push(subscription);
        }
        let snapshot = self.store.snapshot();
        let revision = snapshot.revision();
        let cursors = added.iter().map(|resource| (resource.clone(), revision));
        self.cursors.extend(cursors);
        (added, snapshot)
    }

    /// Returns when there may be something new.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }

    /// Takes what is new.
    pub fn take(&mut self) -> News {
        let mut events = Vec::new();
        for idx in 0..self.cursors.len() {
            loop {
                let (resource, cursor) = &mut self.cursors[idx];
                let Ok(more) = self.store.events_since(resource, *cursor, BATCH) else {
                    return self.relist();
                };
                let full = more.len() == BATCH;
                if let Some(last) = more.last() {
                    *cursor = last.revision;
                }
                events.extend(more);
                if !full {
                    break;
                }
            }
        }
        News::Events(events)
    }

    fn relist(&mut self) -> News {
        let snapshot = self.store.snapshot();
        let revision = snapshot.revision();
        self.cursors
            .iter_mut()
            .for_each(|(_, cursor)| *cursor = revision);
        News::Relist(snapshot)
    }
}
