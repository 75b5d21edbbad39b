//! Changes of membership and leadership, one at a time, on the leader or forwarded to it.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::replica::Replica;
use crate::transport::{Request, RequestKind, TransportError};
use crate::types::{self, PeerNode, TypeConfig};
use crate::{Member, MembershipError, ReplicaId};

/// A learner must have caught up in this time.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(300);
/// Everything else.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// What is to change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Change {
    AddLearner(Member),
    Promote(ReplicaId),
    Remove(ReplicaId),
    Transfer(Option<ReplicaId>),
}

impl Change {
    fn timeout(&self) -> Duration {
        match self {
            Change::AddLearner(_) => CATCH_UP_TIMEOUT,
            _ => CHANGE_TIMEOUT,
        }
    }
}

type Answer = Result<ReplicaId, MembershipError>;

/// Makes a change wherever the leader is. Returns who leads then.
pub(crate) async fn change(replica: &Replica, change: Change) -> Answer {
    let deadline = Instant::now() + CHANGE_TIMEOUT;
    loop {
        let leader = replica.leadership.borrow().leader;
        let answer = match leader {
            Some(id) if id == replica.config.replica_id => change_here(replica, &change).await,
            Some(id) => forward(replica, id, &change).await,
            None => Err(MembershipError::NoLeader),
        };
        match answer {
            Err(MembershipError::NoLeader) if Instant::now() < deadline => {
                sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

async fn forward(replica: &Replica, leader: ReplicaId, change: &Change) -> Answer {
    let Some(peer) = replica.peer(leader) else {
        return Err(MembershipError::NoLeader);
    };
    let payload = types::encode(change).into();
    let request = Request {
        kind: RequestKind::ChangeMembership,
        payload,
    };
    let limit = change.timeout() + Duration::from_secs(1);
    match replica.transport.request(&peer, request, limit).await {
        Ok(answer) => types::decode::<Answer>(&answer)
            .map_err(|error| MembershipError::Refused(error.to_string()))?,
        Err(TransportError::Lost(why)) => Err(MembershipError::Timeout(why)),
        Err(_) => Err(MembershipError::NoLeader),
    }
}

/// Makes a change on this replica, which must lead.
pub(crate) async fn change_here(replica: &Replica, change: &Change) -> Answer {
    let _alone = replica
        .membership_change
        .try_lock()
        .map_err(|_| MembershipError::InProgress)?;
    let limit = change.timeout();
    let work = async {
        settled(replica).await?;
        match change {
            Change::AddLearner(member) => add_learner(replica, member).await,
            Change::Promote(id) => promote(replica, *id).await,
            Change::Remove(id) => remove(replica, *id).await,
            Change::Transfer(to) => return transfer(replica, *to).await,
        }?;
        Ok(replica.config.replica_id)
    };
    let late = || MembershipError::Timeout(format!("{change:?} takes longer than {limit:?}"));
    timeout(limit, work).await.map_err(|_| late())?
}

/// Waits until the membership in effect is committed: a new leader may still have its predecessor's last change under way,
/// and one at a time is the rule.
async fn settled(replica: &Replica) -> Result<(), MembershipError> {
    let mut metrics = replica.raft.data_metrics();
    loop {
        let effective = replica.raft.server_metrics();
        let effective = *effective.borrow_watched().membership_config.log_id();
        if metrics.borrow_watched().last_applied >= effective {
            return Ok(());
        }
        let changed = metrics.changed().await;
        changed.map_err(|_| MembershipError::NoLeader)?;
    }
}

async fn add_learner(replica: &Replica, member: &Member) -> Result<(), MembershipError> {
    let nodes = replica.nodes();
    let node = PeerNode::from(member);
    match nodes.get(&member.id) {
        Some(known) if *known != node => {
            let why = format!("replica {} is a member at {}", member.id, known.peer);
            return Err(MembershipError::Refused(why));
        }
        _ => {}
    }
    if let Some((id, _)) = nodes
        .iter()
        .find(|(id, n)| **id != member.id && n.peer == node.peer)
    {
        let why = format!("{} is the address of replica {id}", node.peer);
        return Err(MembershipError::Refused(why));
    }
    let added = replica.raft.add_learner(member.id, node, true).await;
    added.map(|_| ()).map_err(refusal)
}

async fn promote(replica: &Replica, id: ReplicaId) -> Result<(), MembershipError> {
    if !replica.nodes().contains_key(&id) {
        return Err(MembershipError::Refused(format!(
            "replica {id} is no member; add it first"
        )));
    }
    let change = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
    replica
        .raft
        .change_membership(change, true)
        .await
        .map(|_| ())
        .map_err(refusal)
}

async fn remove(replica: &Replica, id: ReplicaId) -> Result<(), MembershipError> {
    let voters: BTreeSet<ReplicaId> = replica.raft.voter_ids().collect();
    if !replica.nodes().contains_key(&id) {
        return Ok(());
    }
    let ids = BTreeSet::from([id]);
    if voters == ids {
        return Err(MembershipError::Refused(format!(
            "replica {id} is the only voter"
        )));
    }
    let change = if voters.contains(&id) {
        ChangeMembers::RemoveVoters(ids)
    } else {
        ChangeMembers::RemoveNodes(ids)
    };
    replica
        .raft
        .change_membership(change, false)
        .await
        .map(|_| ())
        .map_err(refusal)
}

/// Moves leadership and waits until this replica follows the new leader.
pub(crate) async fn transfer(replica: &Replica, to: Option<ReplicaId>) -> Answer {
    let me = replica.config.replica_id;
    let to = match to.or_else(|| best_successor(replica)) {
        Some(to) if to == me => return Ok(me),
        Some(to) if replica.raft.voter_ids().any(|id| id == to) => to,
        Some(to) => {
            return Err(MembershipError::Refused(format!(
                "replica {to} has no vote"
            )));
        }
        None => return Err(MembershipError::Refused("there is no other voter".into())),
    };
    caught_up(replica, to).await?;
    let started = replica.raft.trigger().transfer_leader(to).await;
    started.map_err(|error| MembershipError::Refused(error.to_string()))?;
    let mut leadership = replica.leadership.subscribe();
    let moved = leadership
        .wait_for(|now| now.leader.is_some_and(|leader| leader != me))
        .await;
    match moved.map_err(|_| MembershipError::NoLeader)?.leader {
        Some(leader) if leader != to => {
            let why = format!("replica {leader} was elected instead of {to}");
            Err(MembershipError::Refused(why))
        }
        _ => Ok(to),
    }
}

/// Waits until a successor has the log as it is now: one that lags would lose the election.
async fn caught_up(replica: &Replica, id: ReplicaId) -> Result<(), MembershipError> {
    let mut metrics = replica.raft.data_metrics();
    let target = metrics.borrow_watched().last_log;
    loop {
        let matched = {
            let metrics = metrics.borrow_watched();
            let all = metrics
                .replication
                .as_ref()
                .ok_or(MembershipError::NoLeader)?;
            all.get(&id).copied().flatten()
        };
        if matched >= target {
            return Ok(());
        }
        let changed = metrics.changed().await;
        changed.map_err(|_| MembershipError::NoLeader)?;
    }
}

/// The voter whose log reaches farthest.
fn best_successor(replica: &Replica) -> Option<ReplicaId> {
    let metrics = replica.raft.data_metrics();
    let replication = metrics.borrow_watched().replication.clone()?;
    let voters: BTreeSet<ReplicaId> = replica.raft.voter_ids().collect();
    let others = replication
        .into_iter()
        .filter(|(id, _)| *id != replica.config.replica_id && voters.contains(id));
    others.max_by_key(|(_, matched)| *matched).map(|(id, _)| id)
}

/// All members as this replica knows them.
pub(crate) fn members(replica: &Replica) -> Vec<Member> {
    let server = replica.raft.server_metrics().borrow_watched().clone();
    let replication = replica
        .raft
        .data_metrics()
        .borrow_watched()
        .replication
        .clone();
    let matched = |id: &ReplicaId| match (&replication, server.state) {
        (Some(all), ServerState::Leader) => all
            .get(id)
            .and_then(|matched| matched.map(|log_id| log_id.index)),
        _ => None,
    };
    let membership = server.membership_config.membership();
    let voters: BTreeSet<ReplicaId> = membership.voter_ids().collect();
    let member = |(id, node): (&ReplicaId, &PeerNode)| Member {
        id: *id,
        name: node.name.clone(),
        peer_endpoint: node.peer.clone(),
        api_endpoint: node.api.clone(),
        voter: voters.contains(id),
        leader: server.current_leader == Some(*id),
        matched_index: matched(id),
    };
    membership.nodes().map(member).collect()
}

fn refusal(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MembershipError::NoLeader,
        other => MembershipError::Refused(other.to_string()),
    }
}
