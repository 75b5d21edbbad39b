//! openraft's type parameters, and translation between its types and storage's.
//!
//! Standard leader ids: at most one leader a term, so that a term alone can fence.

use std::fmt;
use std::io;

use bytes::Bytes;
use kontiki_storage as storage;
use openraft::alias;
use openraft::entry::RaftEntry;
use openraft::{EntryPayload, StoredMembership};
use serde::{Deserialize, Serialize};

use crate::{Member, ReplicaId};

openraft::declare_raft_types!(
    /// Types of this Raft.
    pub(crate) TypeConfig:
        D = EntryData,
        R = (),
        NodeId = ReplicaId,
        Node = PeerNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, ReplicaId>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type Membership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
type LeaderId = alias::LeaderIdOf<TypeConfig>;
type Payload = EntryPayload<EntryData, ReplicaId, PeerNode>;

/// An encoded `kontiki_state::Command`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryData(pub Bytes);

impl fmt::Debug for EntryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for EntryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the membership keeps of a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerNode {
    pub name: String,
    pub peer: String,
    pub api: String,
}

impl From<&Member> for PeerNode {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            peer: member.peer_endpoint.clone(),
            api: member.api_endpoint.clone(),
        }
    }
}

pub(crate) fn log_id(id: storage::LogId) -> LogId {
    LogId {
        leader_id: id.term.into(),
        index: id.index,
    }
}

pub(crate) fn stored_id(id: &LogId) -> storage::LogId {
    storage::LogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn vote(vote: storage::Vote) -> Vote {
    let leader_id = LeaderId {
        term: vote.term,
        voted_for: vote.voted_for,
    };
    Vote {
        leader_id,
        committed: vote.committed,
    }
}

pub(crate) fn stored_vote(vote: &Vote) -> storage::Vote {
    let LeaderId { term, voted_for } = vote.leader_id;
    storage::Vote {
        term,
        voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn stored_entry(entry: &Entry) -> storage::Entry {
    storage::Entry {
        id: stored_id(&entry.log_id()),
        payload: encode(&entry.payload).into(),
    }
}

pub(crate) fn entry(stored: &storage::Entry) -> io::Result<Entry> {
    let payload: Payload = decode(&stored.payload)?;
    Ok(Entry::new(log_id(stored.id), payload))
}

/// A membership of one replica alone, in force since an entry.
pub(crate) fn alone(id: ReplicaId, node: PeerNode, since: storage::LogId) -> Membership {
    let nodes = std::collections::BTreeMap::from([(id, node)]);
    let voters = vec![std::collections::BTreeSet::from([id])];
    let membership = openraft::Membership::new(voters, nodes).expect("one voter with its node");
    StoredMembership::new(Some(log_id(since)), membership)
}

/// Bytes between replicas and on disk: postcard. Positional: replicas of one cluster agree on openraft's version.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("writing to memory cannot fail")
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
