//! The recent past, for lists that go on: snapshots kept for a while, and views put together from the watch ring.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kontiki_base::limits;
use kontiki_state::{Object, Revision, Snapshot, Store};
use parking_lot::Mutex;

/// Snapshots kept at once: each pins the versions of objects that later writes replaced.
const SNAPSHOTS: usize = 64;

/// Snapshots of lists that have further pages.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<(u64, Snapshot)>>);

impl History {
    /// Keeps a snapshot for as long as its continue tokens live.
    pub(crate) fn keep(&self, snapshot: Snapshot, now_unix_ms: u64) {
        let mut kept = self.0.lock();
        let ttl_ms = limits::CONTINUE_TTL.as_millis() as u64;
        kept.retain(|(at, other)| {
            now_unix_ms.saturating_sub(*at) < ttl_ms && other.revision() != snapshot.revision()
        });
        if kept.len() >= SNAPSHOTS {
            kept.pop_front();
        }
        kept.push_back((now_unix_ms, snapshot));
    }

    pub(crate) fn find(&self, revision: Revision) -> Option<Snapshot> {
        let kept = self.0.lock();
        kept.iter()
            .find(|(_, kept)| kept.revision() == revision)
            .map(|(_, kept)| kept.clone())
    }
}

type Place = (Arc<str>, Arc<str>);

/// One resource at one revision: a snapshot, with what changed since put back.
#[derive(Debug, Clone)]
pub(crate) struct View {
    snapshot: Snapshot,
    revision: Revision,
    /// What stood there at the revision; none where nothing did.
    undone: BTreeMap<Place, Option<Arc<Object>>>,
}

impl View {
    pub(crate) fn now(snapshot: Snapshot) -> Self {
        Self {
            revision: snapshot.revision(),
            snapshot,
            undone: BTreeMap::new(),
        }
    }

    /// The view at a past revision; none when the ring no longer reaches back.
    pub(crate) fn rewound(store: &Store, resource: &str, revision: Revision) -> Option<Self> {
        let snapshot = store.snapshot();
        if snapshot.revision() == revision {
            return Some(Self::now(snapshot));
        }
        let events = store.events_since(resource, revision, usize::MAX).ok()?;
        let mut undone = BTreeMap::new();
        // The first event after the revision knows what stood there; later ones don't matter.
        for event in events
            .iter()
            .filter(|event| event.revision <= snapshot.revision())
        {
            let key = &event.object.key;
            let place = (Arc::clone(&key.namespace), Arc::clone(&key.name));
            undone
                .entry(place)
                .or_insert_with(|| event.previous.clone());
        }
        Some(Self {
            snapshot,
            revision,
            undone,
        })
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The snapshot underneath.
    pub(crate) fn base(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(crate) fn count(&self, resource: &str) -> u64 {
        if self.undone.is_empty() {
            return self.snapshot.count(resource) as u64;
        }
        self.list(resource, None, None).count() as u64
    }

    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        match self.undone.get(&(Arc::from(namespace), Arc::from(name))) {
            Some(undone) => undone.clone(),
            None => self.snapshot.find(resource, namespace, name),
        }
    }

    /// Objects in order, as `Snapshot::list`.
    pub(crate) fn list<'a>(
        &'a self,
        resource: &str,
        namespace: Option<&'a str>,
        after: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = Arc<Object>> + use<'a> {
        let mut present = self
            .snapshot
            .list(resource, namespace, after)
            .filter(|object| !self.is_undone(object))
            .peekable();
        let mut past = self
            .undone
            .iter()
            .filter(move |((ns, name), _)| {
                namespace.is_none_or(|wanted| **ns == *wanted)
                    && after.is_none_or(|after| (&**ns, &**name) > after)
            })
            .filter_map(|(_, object)| object.clone())
            .peekable();
        std::iter::from_fn(move || {
            let past_first = match (past.peek(), present.peek()) {
                (Some(past), Some(present)) => past.key < present.key,
                (past, _) => past.is_some(),
            };
            if past_first {
                past.next()
            } else {
                present.next()
            }
        })
    }

    fn is_undone(&self, object: &Object) -> bool {
        !self.undone.is_empty() && {
            let place = (
                Arc::clone(&object.key.namespace),
                Arc::clone(&object.key.name),
            );
            self.undone.contains_key(&place)
        }
    }
}
