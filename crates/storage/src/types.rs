//! What is stored of Raft, free of any Raft library.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names an entry: there is one leader a term, so term and index suffice.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogId {
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Position in the log, from 0.
    pub index: u64,
}

/// A vote given or a leader accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// In this term.
    pub term: u64,
    /// For this replica.
    pub voted_for: u64,
    /// A quorum granted it: the replica leads.
    pub committed: bool,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub id: LogId,
    /// Opaque here.
    pub payload: Bytes,
}
