//! Writes of several plans that share a proposal, and which part of it is whose.

use kontiki_base::limits;
use kontiki_consensus::Lane;
use kontiki_controllers::EventNote;
use kontiki_controllers::commit::Committed;
use kontiki_state::Op;

use super::Job;

/// The part of one plan in a proposal.
pub(super) struct Share {
    pub(super) job: Job,
    pub(super) ops: std::ops::Range<usize>,
    pub(super) announced: Vec<(usize, EventNote)>,
    /// Admission refused a part of it: to be tried again.
    pub(super) refused: bool,
}

/// Writes of several plans for one lane.
pub(super) struct Bundle {
    pub(super) lane: Lane,
    pub(super) ops: Vec<Op>,
    size_bytes: usize,
    pub(super) shares: Vec<Share>,
}

impl Bundle {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            ops: Vec::new(),
            size_bytes: 0,
            shares: Vec::new(),
        }
    }

    pub(super) fn has_room(&self, more: &Committed) -> bool {
        let more_bytes: usize = more.ops.iter().map(Op::size_bytes).sum();
        self.ops.is_empty()
            || (self.ops.len() + more.ops.len() <= limits::PROPOSAL_OPS
                && self.size_bytes + more_bytes <= limits::ENTRY_SOFT_BYTES)
    }

    pub(super) fn push(&mut self, job: Job, committed: Committed) {
        let start = self.ops.len();
        self.size_bytes += committed.ops.iter().map(Op::size_bytes).sum::<usize>();
        self.ops.extend(committed.ops);
        let ops = start..self.ops.len();
        self.shares.push(Share {
            job,
            ops,
            announced: committed.announced,
            refused: !committed.refused.is_empty(),
        });
    }
}
