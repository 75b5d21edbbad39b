//! Watch history of one resource that was made elsewhere and arrives event by event: a ring and its wakers, without the
//! objects.
//!
//! A gateway follows replicas with it and serves watchers of its own. Not a state: nothing here is applied, and what a
//! peer sends out of order is left out rather than believed.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::interest::Interests;
use crate::ring::Ring;
use crate::{Event, Interest, Revision, Store, Subscription, TooOld, Waker};

/// What a watch reads: events after a revision, and a call when there are more.
pub trait History: Send + Sync + 'static {
    /// Every event up to here has been seen.
    fn revision(&self) -> Revision;
    /// Events of a resource after a revision, oldest first, at most `max`.
    fn events_since(
        &self,
        resource: &str,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, TooOld>;
    /// Calls `waker` after each change that touches `interest`, until the subscription is dropped.
    fn subscribe(&self, interest: &Interest, waker: Waker) -> Subscription;
}

impl History for Store {
    fn revision(&self) -> Revision {
        Store::revision(self)
    }

    fn events_since(
        &self,
        resource: &str,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, TooOld> {
        Store::events_since(self, resource, after, max)
    }

    fn subscribe(&self, interest: &Interest, waker: Waker) -> Subscription {
        Store::subscribe(self, interest, waker)
    }
}

/// A shared ring that one feed fills and many watches read.
#[derive(Clone)]
pub struct Relay(Arc<Shared>);

struct Shared {
    received: RwLock<Received>,
    interests: Arc<Interests>,
}

struct Received {
    ring: Ring,
    revision: Revision,
    /// Nothing more comes: who still reads is told that his history is gone.
    is_over: bool,
}

impl Relay {
    /// An empty ring whose history begins after `floor`.
    pub fn starting_at(floor: Revision) -> Self {
        Self(Arc::new(Shared {
            received: RwLock::new(Received {
                ring: Ring::starting_at(floor),
                revision: floor,
                is_over: false,
            }),
            interests: Arc::default(),
        }))
    }

    /// Takes events in; with them, all that happened up to `revision` is known.
    pub fn publish(&self, mut events: Vec<Event>, revision: Revision) {
        let mut received = self.0.received.write();
        let known = received.revision;
        events.retain(|event| event.revision > known);
        events.sort_by_key(|event| event.revision);
        events.dedup_by_key(|event| event.revision);
        for event in &events {
            received.revision = received.revision.max(event.revision);
            received.ring.push(Arc::new(event.clone()));
        }
        received.revision = received.revision.max(revision);
        drop(received);
        self.0.interests.wake(&events);
    }

    /// Ends all watches: events were missed, or the resource is served no more.
    pub fn end(&self) {
        self.0.received.write().is_over = true;
        self.0.interests.wake_all();
    }
}

impl History for Relay {
    fn revision(&self) -> Revision {
        self.0.received.read().revision
    }

    fn events_since(
        &self,
        _resource: &str,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, TooOld> {
        let received = self.0.received.read();
        if received.is_over {
            return Err(TooOld {
                oldest: received.revision,
            });
        }
        received.ring.since(after, max)
    }

    fn subscribe(&self, interest: &Interest, waker: Waker) -> Subscription {
        self.0.interests.subscribe(interest, waker)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::{EventKind, Header, Key, Object};

    fn event(revision: Revision) -> Event {
        let key = Key::new("pods", "default", "web");
        let bytes = Bytes::from_static(b"{}");
        Event {
            revision,
            kind: EventKind::Modified,
            object: Arc::new(Object::new(key, revision, 1, Header::default(), bytes)),
            previous: None,
        }
    }

    fn revisions(relay: &Relay, after: Revision) -> Vec<Revision> {
        let events = relay.events_since("pods", after, 99).unwrap();
        events.iter().map(|event| event.revision).collect()
    }

    #[test]
    fn what_comes_twice_or_late_is_left_out() {
        let relay = Relay::starting_at(10);
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let waker: Waker = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let _subscription = relay.subscribe(&Interest::resource("pods"), waker);
        relay.publish(vec![event(12), event(11)], 15);
        assert_eq!(
            (relay.revision(), revisions(&relay, 10)),
            (15, vec![11, 12])
        );
        relay.publish(vec![event(12), event(15), event(17), event(17)], 16);
        assert_eq!((relay.revision(), revisions(&relay, 12)), (17, vec![17]));
        relay.publish(Vec::new(), 3);
        assert_eq!(relay.revision(), 17);
        assert_eq!(calls.load(Ordering::SeqCst), 2, "no call without an event");
    }

    #[test]
    fn an_end_is_told_as_history_that_is_gone() {
        let relay = Relay::starting_at(4);
        relay.publish(vec![event(5)], 5);
        let gone = relay.events_since("pods", 3, 9).unwrap_err();
        assert_eq!(gone, TooOld { oldest: 4 });
        assert_eq!(revisions(&relay, 4), [5]);
        relay.end();
        assert!(relay.events_since("pods", 99, 9).is_err());
    }
}
