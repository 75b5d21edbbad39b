//! Apply: a function of (state, entry) alone.
//!
//! Every operation is judged first and written after, so a transaction that fails has touched nothing and there is
//! nothing to roll back. Each write takes the next revision.

mod judge;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use self::judge::Verdict;
use crate::command::CONFIGURATION;
use crate::intern::Interner;
use crate::ring::Rings;
use crate::{
    Command, Event, EventKind, Header, Key, LogIndex, Object, Op, OpResult, Precondition, Proposal,
    Revision, Snapshot, Term, TooOld,
};

/// The replicated state machine.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) view: Snapshot,
    rings: Rings,
    interner: Interner,
}

/// Where a state stands, as storage keeps it beside the objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// Revision of the last operation.
    pub revision: Revision,
    /// History up to here is gone by command.
    pub compacted: Revision,
    /// Last log index applied.
    pub index: LogIndex,
    /// Term of that log entry.
    pub term: Term,
}

/// What an entry did.
#[derive(Debug, Default)]
pub struct Applied {
    /// For each proposal, for each operation. Empty for `Compact`; one for `Configure`.
    pub results: Vec<Vec<OpResult>>,
    /// Objects to store: the last revision of each key that was written and is still there.
    pub puts: Vec<Arc<Object>>,
    /// Keys to remove: those that were there before or meanwhile, and are not any more.
    pub deletes: Vec<Key>,
    /// Where the state stands now, for storage to keep in the same batch.
    pub origin: Origin,
    /// The events of this entry, in order.
    pub(crate) events: Vec<Event>,
}

/// Stored objects that make no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored objects make no state: {0}")]
pub struct LoadError(pub String);

impl State {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that `objects` and `origin` describe. Watch history begins at its revision.
    pub fn load(
        origin: Origin,
        objects: impl IntoIterator<Item = Object>,
    ) -> Result<Self, LoadError> {
        let mut state = Self {
            rings: Rings::starting_at(origin.revision),
            ..Self::default()
        };
        let Origin {
            revision,
            compacted,
            index,
            term,
        } = origin;
        if compacted > revision {
            return Err(LoadError(format!(
                "compacted {compacted} beyond revision {revision}"
            )));
        }
        for mut object in objects {
            if object.revision > revision {
                let found = object.revision;
                return Err(LoadError(format!(
                    "{} is of {found}, after {revision}",
                    object.key
                )));
            }
            if state.view.get(&object.key).is_some() {
                return Err(LoadError(format!("{} is stored twice", object.key)));
            }
            object.key = state.interner.key(&object.key);
            object.header = state.interner.header(&object.header);
            state.view.put(&Arc::new(object), None);
        }
        let view = &mut state.view;
        (view.revision, view.compacted, view.index, view.term) = (revision, compacted, index, term);
        Ok(state)
    }

    /// Applies the entry at `index` of `term`. Entries come in order; some indexes are not ours (membership, blank).
    pub fn apply(&mut self, index: LogIndex, term: Term, command: &Command) -> Applied {
        assert!(
            index > self.view.index,
            "entry {index} again: {} is applied",
            self.view.index
        );
        assert!(
            term >= self.view.term,
            "term {term} after {}",
            self.view.term
        );
        (self.view.index, self.view.term) = (index, term);
        let before = self.view.revision;
        let mut events = Vec::new();
        let results = match command {
            Command::Batch { proposals } => proposals
                .iter()
                .map(|proposal| self.proposal(proposal, &mut events))
                .collect(),
            Command::Compact { below } => {
                self.compact(*below);
                Vec::new()
            }
            Command::Configure { name, value } => {
                vec![vec![self.configure(name, value, &mut events)]]
            }
        };
        assert_eq!(
            self.view.revision,
            before + events.len() as u64,
            "one revision a write"
        );
        events
            .iter()
            .for_each(|event| self.rings.push(event.clone()));
        let (puts, deletes) = changes(&events);
        Applied {
            results,
            puts,
            deletes,
            origin: self.origin(),
            events,
        }
    }

    /// Where the state stands.
    pub fn origin(&self) -> Origin {
        let Snapshot {
            revision,
            compacted,
            index,
            term,
            ..
        } = self.view;
        Origin {
            revision,
            compacted,
            index,
            term,
        }
    }

    /// All objects as they are now.
    pub fn snapshot(&self) -> Snapshot {
        self.view.clone()
    }

    /// Events of a resource after a revision, oldest first, at most `max`.
    pub fn events_since(
        &self,
        resource: &str,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, TooOld> {
        self.rings.since(resource, after, max)
    }

    /// A number that replicas of equal index agree on.
    pub fn hash(&self) -> u64 {
        self.view.hash()
    }

    /// Checks everything that must hold of a state; for tests and simulation, it reads every object.
    pub fn validate(&self) -> Result<(), String> {
        self.view.validate()?;
        self.rings.validate(self.view.revision)
    }

    fn proposal(&mut self, proposal: &Proposal, events: &mut Vec<Event>) -> Vec<OpResult> {
        let term = self.view.term;
        if proposal.fence.is_some_and(|fence| fence != term) {
            return vec![OpResult::Fenced { term }; proposal.ops.len()];
        }
        if proposal.atomic {
            return self.transaction(&proposal.ops, events);
        }
        let apply = |op| {
            let verdict = self.judge(op);
            self.write(verdict, events)
        };
        proposal.ops.iter().map(apply).collect()
    }

    fn transaction(&mut self, ops: &[Op], events: &mut Vec<Event>) -> Vec<OpResult> {
        let mut written = BTreeSet::new();
        let mut judge = |op: &Op| {
            let verdict = self.judge(op);
            if op.writes() && !written.insert(op.key().clone()) {
                let current = self.view.get(op.key());
                return Verdict::Refuse(judge::conflict_with(current.as_deref()));
            }
            verdict
        };
        let verdicts: Vec<Verdict> = ops.iter().map(&mut judge).collect();
        if verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Refuse(_)))
        {
            let refuse = |verdict| match verdict {
                Verdict::Refuse(result) => result,
                _ => OpResult::Aborted,
            };
            return verdicts.into_iter().map(refuse).collect();
        }
        verdicts
            .into_iter()
            .map(|verdict| self.write(verdict, events))
            .collect()
    }

    fn write(&mut self, verdict: Verdict, events: &mut Vec<Event>) -> OpResult {
        let revision = self.view.revision + 1;
        let (kind, object, previous) = match verdict {
            Verdict::Keep(result) | Verdict::Refuse(result) => return result,
            Verdict::Create(draft) => (EventKind::Added, draft.at(revision, revision), None),
            Verdict::Update(draft, previous) => (
                EventKind::Modified,
                draft.at(revision, previous.created),
                Some(previous),
            ),
            Verdict::Delete(previous) => (
                EventKind::Deleted,
                previous.tombstone(revision),
                Some(previous),
            ),
        };
        let object = Arc::new(object);
        match (kind, &previous) {
            (EventKind::Deleted, Some(previous)) => self.view.remove(previous),
            (_, previous) => self.view.put(&object, previous.as_deref()),
        }
        self.view.revision = revision;
        events.push(Event {
            revision,
            kind,
            object: Arc::clone(&object),
            previous,
        });
        OpResult::Done {
            revision,
            object: Some(object),
        }
    }

    fn compact(&mut self, below: Revision) {
        let compacted = below.saturating_sub(1).min(self.view.revision);
        if compacted > self.view.compacted {
            self.view.compacted = compacted;
            self.rings.compact(compacted);
        }
    }

    fn configure(&mut self, name: &Arc<str>, value: &Bytes, events: &mut Vec<Event>) -> OpResult {
        let key = Key::new(CONFIGURATION, "", Arc::clone(name));
        let (header, bytes) = (Header::default(), value.clone());
        let op = match self.view.get(&key) {
            None => Op::Create { key, header, bytes },
            Some(_) => Op::Update {
                key,
                pre: Precondition::NONE,
                header,
                bytes,
            },
        };
        let verdict = self.judge(&op);
        self.write(verdict, events)
    }
}

/// The net effect of events: the last one of each key decides.
fn changes(events: &[Event]) -> (Vec<Arc<Object>>, Vec<Key>) {
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for event in events.iter().rev() {
        if seen.insert(&event.object.key) {
            match event.kind {
                EventKind::Deleted => deletes.push(event.object.key.clone()),
                EventKind::Added | EventKind::Modified => puts.push(Arc::clone(&event.object)),
            }
        }
    }
    (puts, deletes)
}

#[cfg(test)]
mod tests;
