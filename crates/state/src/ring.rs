//! Watch history: one ring of events for each resource, bounded in bytes and in number.
//!
//! Every replica that applied the same entries holds the same events, so a watcher may resume on another one. What
//! fell out of a ring, or was compacted, is `TooOld`: the watcher lists again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kontiki_base::limits;

use crate::{Object, Revision};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Created.
    Added,
    /// Updated.
    Modified,
    /// Deleted.
    Deleted,
}

/// One applied operation.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its revision.
    pub revision: Revision,
    /// What happened.
    pub kind: EventKind,
    /// The object after it; for a deletion, its last content under the deletion's revision.
    pub object: Arc<Object>,
    /// The object before it, so that a watcher sees what enters and leaves its selection.
    pub previous: Option<Arc<Object>>,
}

impl Event {
    /// What it counts for in the ring. `previous` shares its bytes with an older event, as a rule.
    fn size_bytes(&self) -> usize {
        self.object.bytes.len() + 256
    }
}

/// History before the cursor is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("history up to revision {oldest} is gone")]
pub struct TooOld {
    /// The oldest revision that a watch may start after.
    pub oldest: Revision,
}

/// Events of one resource, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    events: VecDeque<Arc<Event>>,
    size_bytes: usize,
    /// Revision of the newest event that was dropped, or where this ring's history begins.
    floor: Revision,
}

impl Ring {
    /// An empty ring whose history begins after `floor`.
    pub(crate) fn starting_at(floor: Revision) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        let newest = self.events.back().map_or(self.floor, |last| last.revision);
        assert!(
            event.revision > newest,
            "event {} after {newest}",
            event.revision
        );
        self.size_bytes += event.size_bytes();
        self.events.push_back(event);
        while self.events.len() > limits::RING_EVENTS || self.size_bytes > limits::RING_BYTES {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.size_bytes -= event.size_bytes();
            self.floor = event.revision;
        }
    }

    fn compact(&mut self, compacted: Revision) {
        while self
            .events
            .front()
            .is_some_and(|event| event.revision <= compacted)
        {
            self.pop();
        }
        self.floor = self.floor.max(compacted);
    }

    pub(crate) fn since(&self, after: Revision, max: usize) -> Result<Vec<Arc<Event>>, TooOld> {
        if after < self.floor {
            return Err(TooOld { oldest: self.floor });
        }
        let start = self.events.partition_point(|event| event.revision <= after);
        Ok(self.events.range(start..).take(max).cloned().collect())
    }

    fn validate(&self, revision: Revision) -> Result<(), String> {
        let revisions = self.events.iter().map(|event| event.revision);
        if !revisions.clone().is_sorted_by(|a, b| a < b) {
            return Err("events are out of order".into());
        }
        if revisions
            .clone()
            .any(|event| event <= self.floor || event > revision)
        {
            return Err(format!("events outside ({}, {revision}]", self.floor));
        }
        let size_bytes: usize = self.events.iter().map(|event| event.size_bytes()).sum();
        if size_bytes != self.size_bytes || size_bytes > limits::RING_BYTES {
            return Err(format!("{size_bytes} bytes, counted {}", self.size_bytes));
        }
        Ok(())
    }
}

/// The rings of all resources.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    rings: BTreeMap<Arc<str>, Ring>,
    /// Where history begins for a resource without a ring.
    floor: Revision,
}

impl Rings {
    /// Empty rings whose history begins after `floor`.
    pub(crate) fn starting_at(floor: Revision) -> Self {
        Self {
            rings: BTreeMap::new(),
            floor,
        }
    }

    pub(crate) fn push(&mut self, event: Event) {
        let resource = &event.object.key.resource;
        if !self.rings.contains_key(resource) {
            let ring = Ring::starting_at(self.floor);
            self.rings.insert(Arc::clone(resource), ring);
        }
        let ring = self.rings.get_mut(resource).expect("made above");
        ring.push(Arc::new(event));
    }

    pub(crate) fn compact(&mut self, compacted: Revision) {
        self.floor = self.floor.max(compacted);
        self.rings
            .values_mut()
            .for_each(|ring| ring.compact(compacted));
    }

    pub(crate) fn since(
        &self,
        resource: &str,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, TooOld> {
        match self.rings.get(resource) {
            Some(ring) => ring.since(after, max),
            None if after < self.floor => Err(TooOld { oldest: self.floor }),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn validate(&self, revision: Revision) -> Result<(), String> {
        let mut rings = self.rings.iter();
        rings.try_for_each(|(resource, ring)| {
            ring.validate(revision)
                .map_err(|why| format!("ring of {resource}: {why}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Header, Key};

    fn event(revision: Revision, n_bytes: usize) -> Event {
        let bytes = Bytes::from(vec![b' '; n_bytes]);
        let key = Key::new("pods", "default", "web");
        let object = Arc::new(Object::new(key, revision, 1, Header::default(), bytes));
        Event {
            revision,
            kind: EventKind::Modified,
            object,
            previous: None,
        }
    }

    #[test]
    fn a_ring_keeps_the_newest_within_both_bounds() {
        let mut rings = Rings::starting_at(10);
        for revision in 11..=(limits::RING_EVENTS as u64 + 20) {
            rings.push(event(revision, 1));
        }
        assert_eq!(
            rings.since("pods", 10, 1).unwrap_err(),
            TooOld { oldest: 20 }
        );
        assert_eq!(rings.since("pods", 20, 3).unwrap()[0].revision, 21);
        let newest = limits::RING_EVENTS as u64 + 20;
        for n in 1..=20 {
            rings.push(event(newest + n, limits::OBJECT_BYTES));
        }
        rings.validate(newest + 20).unwrap();
        let kept = limits::RING_BYTES / (limits::OBJECT_BYTES + 256);
        assert_eq!(
            rings
                .since("pods", newest + 20 - kept as u64, 99)
                .unwrap()
                .len(),
            kept
        );
    }

    #[test]
    fn compaction_and_unknown_resources_share_the_floor() {
        let mut rings = Rings::starting_at(5);
        (6..=9).for_each(|revision| rings.push(event(revision, 1)));
        assert!(rings.since("nodes", 5, 9).unwrap().is_empty());
        rings.compact(7);
        assert_eq!(
            rings.since("nodes", 6, 9).unwrap_err(),
            TooOld { oldest: 7 }
        );
        assert_eq!(rings.since("pods", 6, 9).unwrap_err(), TooOld { oldest: 7 });
        assert_eq!(rings.since("pods", 7, 9).unwrap().len(), 2);
        assert!(rings.since("pods", 99, 9).unwrap().is_empty());
    }
}
