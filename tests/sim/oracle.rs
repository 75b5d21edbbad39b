//! What clients were told, against the one order of what was committed.
//!
//! Every committed write has a revision, and revisions are the witness of a linear order; so linearizability is four
//! checks instead of a search: each acknowledged write is in the order with just its content; no write's revision lies
//! below one that was acknowledged before it was asked for; a read shows the order up to a revision that is not
//! below any write acknowledged before the read; and what a refused precondition says was true in between.

use std::collections::{BTreeMap, HashMap};

use kontiki_state::{EventKind, Key, Revision, State};
use parking_lot::Mutex;

use crate::types::Id;
use crate::world::Outcome;

/// Who wrote what, when it was asked, and what came back. `asked` and `told` count on the oracle's own clock.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: Key,
    /// Content that no other write has; none for a delete.
    pub content: Option<String>,
    pub asked: u64,
    /// Moment and revision of the acknowledgement; none when the outcome is unknown.
    pub told: Option<(u64, Revision)>,
}

/// A linearizable read of one key.
#[derive(Debug, Clone)]
pub struct Read {
    pub key: Key,
    pub asked: u64,
    /// Revision of the store that answered.
    pub store: Revision,
    /// Content found, with its revision.
    pub found: Option<(String, Revision)>,
}

#[derive(Default)]
struct Seen {
    clock: u64,
    writes: Vec<Write>,
    reads: Vec<Read>,
    /// Refusals: key, moment asked, and the revision said to be current.
    refusals: Vec<(Key, u64, Revision)>,
    /// State hash by log index, from whoever applied it first.
    hashes: HashMap<u64, (Id, u64)>,
    /// The committed order, gathered from the rings as replicas apply.
    order: BTreeMap<Revision, (EventKind, Key, String)>,
    snapshots: u64,
}

/// Sees everything.
#[derive(Default)]
pub struct Oracle(Mutex<Seen>);

impl Oracle {
    /// A moment, later than all before.
    pub fn now(&self) -> u64 {
        let mut seen = self.0.lock();
        seen.clock += 1;
        seen.clock
    }

    /// A client was told of its write, or never will be.
    pub fn wrote(&self, write: Write) {
        self.0.lock().writes.push(write);
    }

    /// A client read.
    pub fn read(&self, read: Read) {
        self.0.lock().reads.push(read);
    }

    /// A client's precondition was refused.
    pub fn refused(&self, key: Key, asked: u64, current: Revision) {
        self.0.lock().refusals.push((key, asked, current));
    }

    /// A replica took a snapshot of another.
    pub fn snapshot_installed(&self) {
        self.0.lock().snapshots += 1;
    }

    /// A replica applied an entry: all replicas have the same state there, and the same events. `before` is the
    /// revision that the entry met: a replica that restarted has history from there on only.
    pub fn applied(&self, id: Id, index: u64, before: Revision, state: &State) {
        let mut seen = self.0.lock();
        let hash = state.hash();
        let (first, expected) = *seen.hashes.entry(index).or_insert((id, hash));
        assert_eq!(
            hash, expected,
            "replicas {first} and {id} differ after index {index}"
        );
        let events = state.events_since("things", before, usize::MAX).unwrap();
        let n_revisions = state.origin().revision - before;
        assert_eq!(events.len() as u64, n_revisions, "one event a revision");
        for event in events {
            let entry = (
                event.kind,
                event.object.key.clone(),
                content(&event.object.bytes),
            );
            let known = seen
                .order
                .entry(event.revision)
                .or_insert_with(|| entry.clone());
            assert_eq!(
                *known, entry,
                "revision {} differs on replica {id}",
                event.revision
            );
        }
    }

    /// Checks the whole run.
    pub fn check(&self, last: &State, outcome: &mut Outcome) {
        let seen = self.0.lock();
        for write in &seen.writes {
            check_write(&seen, write);
        }
        for read in &seen.reads {
            check_read(&seen, read);
        }
        for (key, asked, current) in &seen.refusals {
            let (_, on, _) = &seen.order[current];
            assert_eq!(on, key, "a refusal names a revision of another object");
            let replaced = seen
                .order
                .range(current + 1..)
                .find(|(_, (_, on, _))| on == key);
            let floor = floor(&seen, *asked);
            assert!(
                replaced.is_none_or(|(revision, _)| *revision > floor),
                "a refusal names revision {current}, replaced before it was asked"
            );
        }
        for (key, expected) in end_of(&seen) {
            let found = last
                .snapshot()
                .get(&key)
                .map(|object| content(&object.bytes));
            assert_eq!(found, expected, "{key:?} at the end");
        }
        outcome.acknowledged += seen.writes.iter().filter(|w| w.told.is_some()).count() as u64;
        outcome.unknown += seen.writes.iter().filter(|w| w.told.is_none()).count() as u64;
        outcome.reads += seen.reads.len() as u64;
        outcome.snapshots += seen.snapshots;
        outcome.revision = last.origin().revision;
    }
}

/// The highest revision that anybody was told of before a moment.
fn floor(seen: &Seen, moment: u64) -> Revision {
    let told = seen.writes.iter().filter_map(|write| write.told);
    told.filter(|(at, _)| *at < moment)
        .map(|(_, revision)| revision)
        .max()
        .unwrap_or(0)
}

fn check_write(seen: &Seen, write: &Write) {
    let committed = seen.order.iter().filter(|(_, (kind, key, content))| {
        *key == write.key
            && match &write.content {
                Some(written) => content == written && *kind != EventKind::Deleted,
                None => false,
            }
    });
    let revisions: Vec<Revision> = committed.map(|(revision, _)| *revision).collect();
    assert!(
        revisions.len() <= 1,
        "{write:?} is committed twice: {revisions:?}"
    );
    let floor = floor(seen, write.asked);
    if let Some((_, revision)) = write.told {
        let (kind, key, content) = seen
            .order
            .get(&revision)
            .unwrap_or_else(|| panic!("{write:?} is lost"));
        assert_eq!(key, &write.key);
        match &write.content {
            Some(written) => assert_eq!(content, written, "{write:?}"),
            None => assert_eq!(*kind, EventKind::Deleted, "{write:?}"),
        }
        assert!(
            revision > floor,
            "{write:?} comes before {floor}, told earlier"
        );
    }
    if let Some(revision) = revisions.first() {
        assert!(
            *revision > floor,
            "{write:?} is committed at {revision}, before it was asked"
        );
    }
}

fn check_read(seen: &Seen, read: &Read) {
    let floor = floor(seen, read.asked);
    assert!(
        read.store >= floor,
        "{read:?} is stale: {floor} was told before it was asked"
    );
    let newest = seen
        .order
        .range(..=read.store)
        .rev()
        .find(|(_, (_, key, _))| *key == read.key);
    let expected = newest.and_then(|(revision, (kind, _, content))| {
        (*kind != EventKind::Deleted).then(|| (content.clone(), *revision))
    });
    assert_eq!(read.found, expected, "{read:?}");
}

fn end_of(seen: &Seen) -> BTreeMap<Key, Option<String>> {
    let mut last = BTreeMap::new();
    for (kind, key, content) in seen.order.values() {
        let content = (*kind != EventKind::Deleted).then(|| content.clone());
        last.insert(key.clone(), content);
    }
    last
}

/// What a write put into its object.
pub fn content(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    value["content"].as_str().unwrap_or_default().to_owned()
}
