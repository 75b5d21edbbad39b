//! The handle on a replica's state: consensus writes through `apply`, everyone else reads, follows and waits.

use std::fmt;
use std::sync::Arc;

use kontiki_base::metrics::METRICS;
use parking_lot::RwLock;

use crate::interest::Interests;
use crate::{
    Applied, Command, Event, Interest, LogIndex, Revision, Snapshot, State, Subscription, Term,
    TooOld, Waker,
};

/// A shared, concurrently readable state.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    state: RwLock<State>,
    /// The last applied view, apart from `state` so that a snapshot never waits for an apply. Swapped while `state`
    /// is still locked: whoever saw an event finds its revision here.
    published: RwLock<Snapshot>,
    interests: Arc<Interests>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(State::new())
    }
}

impl Store {
    /// A store of a state.
    pub fn new(state: State) -> Self {
        let published = RwLock::new(state.snapshot());
        Self(Arc::new(Shared {
            state: RwLock::new(state),
            published,
            interests: Arc::default(),
        }))
    }

    /// Applies an entry and wakes those whom it concerns. Consensus only, one entry at a time.
    pub fn apply(&self, index: LogIndex, term: Term, command: &Command) -> Applied {
        let mut state = self.0.state.write();
        let applied = state.apply(index, term, command);
        *self.0.published.write() = state.snapshot();
        drop(state);
        METRICS.entries_total.inc();
        METRICS.operations_total.add(applied.events.len() as u64);
        METRICS.revision.set(applied.origin.revision);
        METRICS.applied_index.set(index);
        self.0.interests.wake(&applied.events);
        applied
    }

    /// Puts another state in place, after a snapshot was installed. Watchers find their history gone.
    pub fn replace(&self, new: State) {
        let mut state = self.0.state.write();
        assert!(
            new.view.index >= state.view.index,
            "a snapshot never takes a replica back"
        );
        *self.0.published.write() = new.snapshot();
        *state = new;
        drop(state);
        self.0.interests.wake_all();
    }

    /// All objects as they are now; cheap.
    pub fn snapshot(&self) -> Snapshot {
        self.0.published.read().clone()
    }

    /// Revision of the last operation.
    pub fn revision(&self) -> Revision {
        self.0.published.read().revision()
    }

    /// Events of a resource after a revision, oldest first, at most `max`.
    pub fn events_since(
        &self,
        resource: &str,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, TooOld> {
        self.0.state.read().events_since(resource, after, max)
    }

    /// Calls `waker` after each apply that touches `interest`, until the subscription is dropped.
    pub fn subscribe(&self, interest: &Interest, waker: Waker) -> Subscription {
        self.0.interests.subscribe(interest, waker)
    }

    /// A number that replicas of equal index agree on.
    pub fn hash(&self) -> u64 {
        self.0.published.read().hash()
    }

    /// Checks everything that must hold; reads every object.
    pub fn validate(&self) -> Result<(), String> {
        self.0.state.read().validate()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::{Header, Key, Op, Origin, Precondition, Proposal};

    /// A subscriber that counts its calls.
    fn counted(store: &Store, interest: &Interest) -> (Arc<AtomicUsize>, Subscription) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let waker: Waker = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        (calls, store.subscribe(interest, waker))
    }

    fn on_node(node: &str) -> Header {
        let fields = vec![(Arc::from("spec.nodeName"), Arc::from(node))];
        Header {
            uid: Arc::from("u"),
            fields,
            ..Header::default()
        }
    }

    fn apply(store: &Store, ops: Vec<Op>) {
        let index = store.snapshot().index() + 1;
        store.apply(
            index,
            1,
            &Command::Batch {
                proposals: vec![Proposal::batch(ops)],
            },
        );
        store.validate().unwrap();
    }

    fn create(namespace: &str, name: &str, node: &str) -> Op {
        let key = Key::new("pods", namespace, name);
        Op::Create {
            key,
            header: on_node(node),
            bytes: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn only_the_interested_are_woken_once_an_apply() {
        let store = Store::default();
        let pods = Interest::resource("pods");
        let node = |name: &str| Interest {
            field: Some((Arc::from("spec.nodeName"), Arc::from(name))),
            ..pods.clone()
        };
        let named = Interest {
            namespace: Some(Arc::from("a")),
            name: Some(Arc::from("y")),
            ..pods.clone()
        };
        let in_b = Interest {
            namespace: Some(Arc::from("b")),
            ..pods.clone()
        };
        let interests = [
            Interest::default(),
            pods.clone(),
            node("n1"),
            node("n2"),
            named,
            in_b,
        ];
        let subscribers = interests
            .each_ref()
            .map(|interest| counted(&store, interest));
        let calls = || {
            subscribers
                .each_ref()
                .map(|(calls, _)| calls.load(Ordering::SeqCst))
        };
        apply(&store, vec![create("a", "x", "n1"), create("a", "z", "n1")]);
        assert_eq!(calls(), [1, 1, 1, 0, 0, 0]);
        apply(&store, vec![create("a", "y", "")]);
        assert_eq!(calls(), [2, 2, 1, 0, 1, 0]);
        let (key, pre) = (Key::new("pods", "a", "x"), Precondition::NONE);
        let (header, bytes) = (on_node("n2"), Bytes::from_static(b"{}"));
        apply(
            &store,
            vec![Op::Update {
                key,
                pre,
                header,
                bytes,
            }],
        );
        assert_eq!(
            calls(),
            [3, 3, 2, 1, 1, 0],
            "both the node left and the node entered"
        );
        apply(&store, vec![]);
        assert_eq!(calls(), [3, 3, 2, 1, 1, 0]);
    }

    #[test]
    fn dropping_a_subscription_ends_its_calls() {
        let store = Store::default();
        let (calls, subscription) = counted(&store, &Interest::default());
        assert_eq!(store.0.interests.len(), 1);
        drop(subscription);
        assert_eq!(store.0.interests.len(), 0);
        apply(&store, vec![create("a", "x", "")]);
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_replaced_state_wakes_everyone_and_has_no_history() {
        let store = Store::default();
        apply(&store, vec![create("a", "x", "")]);
        let (calls, _subscription) = counted(&store, &Interest::resource("nodes"));
        let origin = Origin {
            revision: 50,
            compacted: 0,
            index: 9,
            term: 2,
        };
        store.replace(State::load(origin, []).unwrap());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(store.revision(), 50);
        assert_eq!(
            store.events_since("pods", 1, 9).unwrap_err(),
            TooOld { oldest: 50 }
        );
    }
}
