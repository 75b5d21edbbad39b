//! The replicated state machine: objects as bytes, revisions, preconditions, indexes, watch history.
//!
//! Pure: `State::apply` is a function of (state, entry) alone, so each replica reaches the same bytes. Time, uids and
//! generated names travel in the entry. The parts, in the order in which an entry meets them:
//! `command` (what an entry says) → `machine` (apply) → `tree` and `snapshot` (copy-on-write objects and indexes) →
//! `ring` (watch history) → `store` (the handle that the rest of a replica reads and waits on). Beside the road: `relay`,
//! the watch history of a store elsewhere.
//!
//! Deliberately absent: tokio, a clock, randomness, disk, Kubernetes kinds, `serde_json::Value` at rest.

pub mod command;
mod interest;
mod intern;
pub mod key;
pub mod machine;
pub mod object;
pub mod outcome;
pub mod relay;
pub mod ring;
pub mod snapshot;
pub mod store;
mod tree;
mod wire;

pub use command::{Command, Op, Precondition, Proposal};
pub use interest::{Interest, Subscription, Waker};
pub use key::{Header, Key};
pub use machine::{Applied, Origin, State};
pub use object::Object;
pub use outcome::OpResult;
pub use relay::{History, Relay};
pub use ring::{Event, EventKind, TooOld};
pub use snapshot::Snapshot;
pub use store::Store;
pub use wire::DecodeError;

/// The store's global counter; `resourceVersion` is the same number.
pub type Revision = u64;
/// A Raft term.
pub type Term = u64;
/// A position in the Raft log.
pub type LogIndex = u64;

/// Field paths with an index: the scheduler and the dispatcher ask by node name.
pub const INDEXED_FIELDS: &[&str] = &["spec.nodeName"];
