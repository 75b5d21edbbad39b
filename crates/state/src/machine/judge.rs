//! What would become of an operation, decided before anything is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::State;
use crate::{Header, Key, Object, Op, OpResult, Precondition, Revision, Snapshot};

/// An object that has no revision yet.
pub(super) struct Draft {
    key: Key,
    header: Header,
    bytes: Bytes,
}

/// Judgement on one operation.
pub(super) enum Verdict {
    Create(Draft),
    Update(Draft, Arc<Object>),
    Delete(Arc<Object>),
    Keep(OpResult),
    Refuse(OpResult),
}

impl Draft {
    pub(super) fn at(self, revision: Revision, created: Revision) -> Object {
        Object::new(self.key, revision, created, self.header, self.bytes)
    }
}

impl State {
    /// What would become of an operation, without touching anything but the string pool.
    pub(super) fn judge(&mut self, op: &Op) -> Verdict {
        let current = match admit(op, self.view.get(op.key())) {
            Ok(current) => current,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        match (op, current) {
            (Op::Create { key, header, bytes }, None) => {
                Verdict::Create(self.draft(key, header, bytes))
            }
            (Op::Update { header, bytes, .. }, Some(current)) => {
                if *bytes == current.bytes && *header == current.header {
                    return Verdict::Keep(done(&current));
                }
                Verdict::Update(self.draft(&current.key, header, bytes), current)
            }
            (Op::Delete { .. }, Some(current)) => Verdict::Delete(current),
            (_, Some(current)) => Verdict::Keep(done(&current)),
            (_, None) => Verdict::Refuse(OpResult::NotFound),
        }
    }

    fn draft(&mut self, key: &Key, header: &Header, bytes: &Bytes) -> Draft {
        let (key, header) = (self.interner.key(key), self.interner.header(header));
        Draft {
            key,
            header,
            bytes: bytes.clone(),
        }
    }
}

impl Snapshot {
    /// The first of these operations that a transaction of them would be refused for here, by index.
    pub fn refusal(&self, ops: &[Op]) -> Option<(usize, OpResult)> {
        let mut written = BTreeSet::new();
        let mut refused = ops.iter().enumerate().filter_map(|(idx, op)| {
            let current = self.get(op.key());
            if op.writes() && !written.insert(op.key()) {
                return Some((idx, conflict_with(current.as_deref())));
            }
            admit(op, current).err().map(|refusal| (idx, refusal))
        });
        refused.next()
    }
}

/// The object that an operation finds, or why it must not be.
fn admit(op: &Op, current: Option<Arc<Object>>) -> Result<Option<Arc<Object>>, OpResult> {
    let (current, pre) = match (op, current) {
        (Op::Create { .. }, None) => return Ok(None),
        (Op::Create { header, .. }, Some(current)) if header.uid == current.header.uid => {
            return Ok(Some(current)); // its own retry
        }
        (Op::Create { .. }, Some(current)) => {
            let current = current.revision;
            return Err(OpResult::AlreadyExists { current });
        }
        (_, None) => return Err(OpResult::NotFound),
        (
            Op::Update { pre, .. } | Op::Delete { pre, .. } | Op::Check { pre, .. },
            Some(current),
        ) => (current, pre),
    };
    if let Some(conflict) = conflict(pre, &current) {
        return Err(conflict);
    }
    match op {
        Op::Update { header, .. } if header.uid != current.header.uid => Err(OpResult::Conflict {
            current: current.revision,
            uid_mismatch: true,
        }),
        Op::Check {
            not_deleting: true, ..
        } if current.header.deleting => Err(OpResult::Deleting),
        _ => Ok(Some(current)),
    }
}

/// Two operations of a transaction must not write one key.
pub(super) fn conflict_with(current: Option<&Object>) -> OpResult {
    OpResult::Conflict {
        current: current.map_or(0, |object| object.revision),
        uid_mismatch: false,
    }
}

fn done(object: &Arc<Object>) -> OpResult {
    OpResult::Done {
        revision: object.revision,
        object: Some(Arc::clone(object)),
    }
}

fn conflict(pre: &Precondition, current: &Object) -> Option<OpResult> {
    let uid_mismatch = pre
        .uid
        .as_ref()
        .is_some_and(|uid| *uid != current.header.uid);
    let other_revision = pre
        .revision
        .is_some_and(|revision| revision != current.revision);
    (uid_mismatch || other_revision).then_some(OpResult::Conflict {
        current: current.revision,
        uid_mismatch,
    })
}
