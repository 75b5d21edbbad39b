//! What a log entry says. Entries know no kinds: an operation is a key, a precondition and bytes.
//!
//! Persisted and sent between replicas: variants and fields are append-only, and `tests/golden/state-v1-*.bin` holds
//! bytes that must decode for ever.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_base::limits;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Header, Key, Revision, Term, wire};

/// What must hold of the stored object. Nothing set: that it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// The object's uid.
    pub uid: Option<Arc<str>>,
    /// The object's revision.
    pub revision: Option<Revision>,
}

impl Precondition {
    /// Nothing but existence.
    pub const NONE: Self = Self {
        uid: None,
        revision: None,
    };

    /// This very object, whatever its revision.
    pub fn uid(uid: impl Into<Arc<str>>) -> Self {
        Self {
            uid: Some(uid.into()),
            revision: None,
        }
    }

    /// This very revision.
    pub const fn revision(revision: Revision) -> Self {
        Self {
            uid: None,
            revision: Some(revision),
        }
    }
}

/// One operation. Tags are persisted: append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Adds an object. If one of the same uid is there, this is a retry and succeeds.
    Create {
        /// Where.
        key: Key,
        /// Header of the new object.
        header: Header,
        /// Canonical JSON without `resourceVersion`.
        bytes: Bytes,
    },
    /// Replaces an object; equal content keeps the revision.
    Update {
        /// Which.
        key: Key,
        /// What must hold.
        pre: Precondition,
        /// New header; its uid is the stored one.
        header: Header,
        /// New content.
        bytes: Bytes,
    },
    /// Removes an object.
    Delete {
        /// Which.
        key: Key,
        /// What must hold.
        pre: Precondition,
    },
    /// Writes nothing; fails its transaction unless the object is there and as described.
    Check {
        /// Which.
        key: Key,
        /// What must hold.
        pre: Precondition,
        /// Also refuse an object that is being deleted.
        not_deleting: bool,
    },
}

impl Op {
    /// The object that the operation is about.
    pub fn key(&self) -> &Key {
        match self {
            Op::Create { key, .. }
            | Op::Update { key, .. }
            | Op::Delete { key, .. }
            | Op::Check { key, .. } => key,
        }
    }

    /// Whether it may change its object.
    pub fn writes(&self) -> bool {
        !matches!(self, Op::Check { .. })
    }

    /// About as many bytes as it takes in an entry.
    pub fn size_bytes(&self) -> usize {
        let key = self.key();
        let named = key.resource.len() + key.namespace.len() + key.name.len() + 64;
        match self {
            Op::Create { header, bytes, .. } | Op::Update { header, bytes, .. } => {
                let pairs = header.labels.iter().chain(&header.fields);
                let header_bytes: usize = pairs.map(|(k, v)| k.len() + v.len() + 4).sum();
                named + header_bytes + header.owners.len() * 40 + bytes.len()
            }
            Op::Delete { .. } | Op::Check { .. } => named,
        }
    }
}

/// Operations that were asked for together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// In order.
    pub ops: Vec<Op>,
    /// All or nothing. Each operation is then judged against the state before the transaction, and two operations
    /// must not write one key.
    pub atomic: bool,
    /// Refused when the entry's term is another.
    pub fence: Option<Term>,
    /// Chosen by the proposer, who finds its outcome by it.
    pub id: u64,
}

impl Proposal {
    /// Independent operations.
    pub fn batch(ops: Vec<Op>) -> Self {
        Self {
            ops,
            ..Self::default()
        }
    }

    /// One transaction.
    pub fn transaction(ops: Vec<Op>) -> Self {
        Self {
            ops,
            atomic: true,
            ..Self::default()
        }
    }

    /// Fenced by the term that it was computed in.
    pub fn fenced(mut self, term: Term) -> Self {
        self.fence = Some(term);
        self
    }

    /// About as many bytes as it takes in an entry.
    pub fn size_bytes(&self) -> usize {
        16 + self.ops.iter().map(Op::size_bytes).sum::<usize>()
    }

    /// Whether it may enter the log at all: asked before proposing, never by apply.
    pub fn admissible(&self) -> Result<(), DecodeError> {
        let refuse = |why: String| Err(DecodeError::Refused(why));
        if self.ops.len() > limits::PROPOSAL_OPS {
            return refuse(format!(
                "{} operations, at most {}",
                self.ops.len(),
                limits::PROPOSAL_OPS
            ));
        }
        let (size_bytes, limit_bytes) = (self.size_bytes(), limits::PROPOSAL_BYTES);
        if size_bytes > limit_bytes {
            return Err(DecodeError::TooLarge {
                size_bytes,
                limit_bytes,
            });
        }
        for op in &self.ops {
            let key = op.key();
            if key.resource.is_empty() || key.name.is_empty() {
                return refuse(format!("{key:?} names no object"));
            }
            if let Op::Create { bytes, .. } | Op::Update { bytes, .. } = op
                && bytes.len() > limits::OBJECT_BYTES
            {
                let (size_bytes, limit_bytes) = (bytes.len(), limits::OBJECT_BYTES);
                return Err(DecodeError::TooLarge {
                    size_bytes,
                    limit_bytes,
                });
            }
        }
        Ok(())
    }

    /// Bytes for forwarding to the leader.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self, self.size_bytes())
    }

    /// Reads a forwarded proposal.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let proposal: Self = wire::decode(bytes)?;
        proposal.admissible()?;
        Ok(proposal)
    }
}

/// A log entry. Tags are persisted: append only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Proposals, each applied on its own, in order.
    Batch {
        /// In order of arrival.
        proposals: Vec<Proposal>,
    },
    /// Forgets watch history below a revision.
    Compact {
        /// The first revision that stays readable.
        below: Revision,
    },
    /// Sets one cluster-wide setting, kept as the object `CONFIGURATION/name`.
    Configure {
        /// Name of the setting.
        name: Arc<str>,
        /// Its value, in JSON.
        value: Bytes,
    },
}

/// Resource that holds what `Command::Configure` sets; never served.
pub const CONFIGURATION: &str = "configurations.internal";

impl Command {
    /// About as many bytes as it takes in the log.
    pub fn size_bytes(&self) -> usize {
        match self {
            Command::Batch { proposals } => proposals.iter().map(Proposal::size_bytes).sum(),
            Command::Compact { .. } => 16,
            Command::Configure { name, value } => 16 + name.len() + value.len(),
        }
    }

    /// The persisted form.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self, self.size_bytes())
    }

    /// Reads the persisted form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let command: Self = wire::decode(bytes)?;
        if let Command::Batch { proposals } = &command {
            proposals.iter().try_for_each(Proposal::admissible)?;
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests;
