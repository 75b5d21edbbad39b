//! What is done to a data directory while no replica runs: restore an archive, recover from a lost quorum.

use std::path::Path;

use bytes::Bytes;
use kontiki_storage::archive::{self, Restore};
use kontiki_storage::{
    DataDir, Entry, Identity, LogId, LogStore, Sealer, Sealing, StateStore, Vote,
};
use openraft::EntryPayload;

pub use kontiki_storage::Error;
pub use kontiki_storage::archive::{Keys, Summary, status};

use crate::types::{self, EntryData, PeerNode};
use crate::{Member, ReplicaId};

/// Added to the revision by a restore, so that clients that saw later revisions than the archive's never see them go
/// back: an informer would be blind until they are reached again. More than three years of 10,000 writes a second may
/// lie between an archive and its restore, and a revision takes eight thousand restores before it leaves the integers
/// that are exact in a JSON number.
pub const REVISION_STEP: u64 = 1 << 40;

/// Makes an empty directory the data directory of a new cluster's only replica, with an archive's state. Answers what
/// the archive says, and the keys in it.
pub fn restore(
    from: &Path,
    data_dir: &Path,
    cluster_id: &str,
    member: &Member,
) -> Result<(Summary, Keys), Error> {
    let identity = Identity {
        cluster_id: cluster_id.to_owned(),
        replica_id: member.id,
    };
    let restore = Restore {
        identity,
        revision_step: REVISION_STEP,
    };
    let node = PeerNode::from(member);
    let membership =
        |since: LogId| Bytes::from(types::encode(&types::alone(member.id, node, since)));
    archive::restore(from, data_dir, &restore, membership)
}

/// What `recover` found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The replica that votes alone now.
    pub replica_id: ReplicaId,
    /// Last entry that it takes for committed.
    pub last_index: u64,
}

/// After a quorum is lost for good: makes a stopped replica the only voter of its cluster. Entries that only the lost
/// replicas had are gone. The others must never start again with their data.
pub fn recover(data_dir: &Path, sealing: &Sealing, member: &Member) -> Result<Recovered, Error> {
    let (dir, identity) = DataDir::existing(data_dir)?;
    let dir = dir.sealed_by(Sealer::open(sealing)?);
    let damaged = |reason: String| Error::Damaged {
        path: data_dir.to_owned(),
        reason,
    };
    if identity.replica_id != member.id {
        return Err(damaged(format!(
            "it belongs to replica {}",
            identity.replica_id
        )));
    }
    let log = LogStore::open(&dir)?;
    let state = StateStore::open(&dir)?;
    state.objects()?;
    state.close();
    let Some(last) = log.last() else {
        return Err(damaged("nothing was ever written".into()));
    };
    let term = log
        .vote()
        .map_or(last.term, |vote| vote.term.max(last.term))
        + 1;
    let id = LogId {
        term,
        index: last.index + 1,
    };
    let stored = types::alone(member.id, PeerNode::from(member), id);
    let payload: EntryPayload<EntryData, ReplicaId, PeerNode> =
        EntryPayload::Membership(stored.membership().clone());
    let entry = Entry {
        id,
        payload: types::encode(&payload).into(),
    };
    let vote = Vote {
        term,
        voted_for: member.id,
        committed: false,
    };
    log.save_vote(vote, Box::new(|| {}));
    log.append(vec![entry], Box::new(|| {}));
    log.close();
    Ok(Recovered {
        replica_id: member.id,
        last_index: last.index,
    })
}
