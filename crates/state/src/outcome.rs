//! What became of an operation. Sent from the leader to the replica that forwarded a proposal: append-only tags.

use std::sync::Arc;

use kontiki_base::limits;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, Object, Revision, Term, wire};

/// Outcome of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpResult {
    /// Applied, or already so.
    Done {
        /// The object's revision; for a deletion, the revision of the deletion.
        revision: Revision,
        /// The new or deleted object. Local only: a forwarding replica reads it again.
        #[serde(skip)]
        object: Option<Arc<Object>>,
    },
    /// The name is taken by an object of another uid.
    AlreadyExists {
        /// Revision of the object that is there.
        current: Revision,
    },
    /// No such object.
    NotFound,
    /// The precondition does not hold.
    Conflict {
        /// Revision of the object that is there.
        current: Revision,
        /// The object there is another one of the same name.
        uid_mismatch: bool,
    },
    /// The object is being deleted.
    Deleting,
    /// Computed in another term.
    Fenced {
        /// Term of the entry.
        term: Term,
    },
    /// Another operation of the transaction failed.
    Aborted,
}

impl OpResult {
    /// Whether the operation holds now.
    pub fn is_done(&self) -> bool {
        matches!(self, OpResult::Done { .. })
    }

    /// The new or deleted object, where this replica applied it.
    pub fn object(&self) -> Option<&Arc<Object>> {
        match self {
            OpResult::Done { object, .. } => object.as_ref(),
            _ => None,
        }
    }

    /// Bytes of a proposal's results.
    pub fn encode_all(results: &[OpResult]) -> Vec<u8> {
        debug_assert!(results.len() <= limits::PROPOSAL_OPS);
        wire::encode(&results, results.len() * 12)
    }

    /// Reads a proposal's results.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<OpResult>, DecodeError> {
        let results: Vec<OpResult> = wire::decode(bytes)?;
        if results.len() > limits::PROPOSAL_OPS {
            return Err(DecodeError::Refused(format!("{} results", results.len())));
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_travel_without_their_objects() {
        let results = vec![
            OpResult::Done {
                revision: 9,
                object: None,
            },
            OpResult::Conflict {
                current: 3,
                uid_mismatch: true,
            },
            OpResult::Fenced { term: 2 },
            OpResult::Aborted,
        ];
        let bytes = OpResult::encode_all(&results);
        assert_eq!(OpResult::decode_all(&bytes).unwrap(), results);
        assert!(OpResult::decode_all(&bytes[..bytes.len() - 1]).is_err());
        assert!(
            OpResult::decode_all(&[1, 1, 99]).is_err(),
            "an unknown tag is an error"
        );
    }
}
