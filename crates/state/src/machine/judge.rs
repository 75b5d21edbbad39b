//! What would become of an operation, decided before anything is written.

use std::sync::Arc;

use bytes::Bytes;

use super::State;
use crate::{Header, Key, Object, Op, OpResult, Precondition, Revision};

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
        let current = self.view.get(op.key());
        let current = match (op, current) {
            (Op::Create { key, header, bytes }, None) => {
                return Verdict::Create(self.draft(key, header, bytes));
            }
            (Op::Create { header, .. }, Some(current)) => {
                return judge_retry(header, current);
            }
            (_, None) => return Verdict::Refuse(OpResult::NotFound),
            (
                Op::Update { pre, .. } | Op::Delete { pre, .. } | Op::Check { pre, .. },
                Some(current),
            ) => {
                if let Some(conflict) = conflict(pre, &current) {
                    return Verdict::Refuse(conflict);
                }
                current
            }
        };
        match op {
            Op::Update { header, bytes, .. } => self.judge_update(header, bytes, current),
            Op::Delete { .. } => Verdict::Delete(current),
            Op::Check {
                not_deleting: true, ..
            } if current.header.deleting => Verdict::Refuse(OpResult::Deleting),
            Op::Check { .. } | Op::Create { .. } => Verdict::Keep(done(&current)),
        }
    }

    fn judge_update(&mut self, header: &Header, bytes: &Bytes, current: Arc<Object>) -> Verdict {
        if header.uid != current.header.uid {
            let current = current.revision;
            return Verdict::Refuse(OpResult::Conflict {
                current,
                uid_mismatch: true,
            });
        }
        if *bytes == current.bytes && *header == current.header {
            return Verdict::Keep(done(&current));
        }
        Verdict::Update(self.draft(&current.key, header, bytes), current)
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

fn judge_retry(header: &Header, current: Arc<Object>) -> Verdict {
    if header.uid == current.header.uid {
        Verdict::Keep(done(&current))
    } else {
        Verdict::Refuse(OpResult::AlreadyExists {
            current: current.revision,
        })
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
