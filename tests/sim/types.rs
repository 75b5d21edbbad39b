//! openraft's type parameters for the simulation: everything but the runtime as in production.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::runtime::Runtime;

/// A replica.
pub type Id = u64;

openraft::declare_raft_types!(
    /// Types of the simulated Raft.
    pub TypeConfig:
        D = Data,
        R = Answer,
        NodeId = Id,
        Node = openraft::impls::EmptyNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, Id>,
        AsyncRuntime = Runtime,
);

/// The simulated Raft.
pub type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;
/// Its types, by their usual names.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type Membership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, crate::disk::Image>;

/// An encoded `kontiki_state::Command`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data(pub Vec<u8>);

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Encoded results of the command's only proposal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer(pub Vec<u8>);

/// Runs a future whose openraft draws its randomness from `seed`.
pub fn seeded<F: Future>(
    seed: u64,
    future: F,
) -> openraft_rt::task_local::TaskLocalFuture<Cell<u64>, F> {
    Runtime::scope(seed, future)
}
