//! Disk: the log, the state, snapshots and archives. RocksDB is named here and nowhere else.
//!
//! Two databases, because they need opposite things: the log syncs before it acknowledges, the state is written
//! without a log of its own and catches up from the log after a crash. Types here are this crate's own; the consensus
//! crate translates. **A failed write or sync ends the process** (`fatal`): what the disk then holds is unknown, and
//! a retried sync may lie. What lies on the disk is sealed where it must be (`seal`), what is handed out is plain.
//!
//! Deliberately absent: Raft, the network, what an object means.

pub mod archive;
mod data_dir;
mod error;
mod files;
#[cfg(test)]
mod golden;
mod log;
mod options;
mod range;
mod seal;
mod snapshot;
mod state;
mod types;

pub use data_dir::{DataDir, Identity};
pub use error::Error;
pub use files::{free_bytes, make_dir};
pub use log::{Done, LogStore};
pub use seal::{Arriving, KEYRING, KeyId, KeyInfo, Resources, Sealer, Sealing};
pub use snapshot::{FileSum, Manifest, Receiver, SnapshotDir};
pub use state::seal::Tally;
pub use state::{Meta, StateStore};
pub use types::{Entry, LogId, Vote};
