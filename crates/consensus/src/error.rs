//! What callers can be told. Retryable or not is part of each variant's meaning.

use std::time::Duration;

use crate::ReplicaId;

/// A replica could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Log or state cannot be used.
    #[error("storage: {0}")]
    Storage(String),
    /// The peer port or its keys cannot be used.
    #[error("peer network: {0}")]
    Network(String),
    /// The settings contradict themselves or the data directory.
    #[error("configuration: {0}")]
    Config(String),
    /// Raft refused to start.
    #[error("raft: {0}")]
    Raft(String),
}

/// A proposal has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nobody leads; surely not proposed, retry later.
    #[error("no leader")]
    NoLeader,
    /// Too many proposals wait; surely not proposed.
    #[error("too many proposals wait, retry after {} ms", retry_after.as_millis())]
    LaneFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// Timed out or the leader was lost: it may or may not be applied.
    #[error("outcome unknown")]
    Unknown,
    /// Larger than a proposal may be; surely not proposed, never retry.
    #[error("proposal too large")]
    TooLarge,
    /// The leader's disk is nearly full; surely not proposed, operators must act.
    #[error("the leader's disk is nearly full")]
    DiskFull,
    /// This replica is shutting down; surely not proposed.
    #[error("stopping")]
    Stopping,
}

/// A linearizable read was not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nobody leads, or the leader cannot reach a quorum.
    #[error("no leader")]
    NoLeader,
    /// This replica did not catch up in time.
    #[error("timed out")]
    Timeout,
    /// This replica is shutting down.
    #[error("stopping")]
    Stopping,
}

/// A change of membership or leadership failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum MembershipError {
    /// Nobody leads.
    #[error("no leader")]
    NoLeader,
    /// Another change is under way; wait for it.
    #[error("another membership change is under way")]
    InProgress,
    /// No such replica, or it has the wrong role.
    #[error("{0}")]
    Refused(String),
    /// It did not finish in time; look at the members before trying again.
    #[error("timed out: {0}")]
    Timeout(String),
}

/// A call to another replica failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not a member, or no address is known.
    #[error("replica {0} is unknown")]
    UnknownReplica(ReplicaId),
    /// The other side has no handler of that name.
    #[error("no handler for {0:?}")]
    UnknownMethod(String),
    /// Cannot be reached, or the connection broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The handler refused.
    #[error("{0}")]
    Refused(String),
}
