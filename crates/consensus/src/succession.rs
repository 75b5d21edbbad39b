//! What a follower does when the leader's process has ended: it stands for election at once.
//!
//! Followers give a leader that is silent its whole lease, as silence may be load or a slow network. A leader whose
//! connections break and at whose address nobody listens any more is not silent but gone: the machine itself says so.
//! Then the lease is given up and a pre-vote asked for. Whoever is alone with that observation achieves nothing, as
//! the others still grant the leader its lease; a paused or overloaded leader still listens and is left alone.
//!
//! Not here: elections by time (openraft's), and anything on which safety depends: votes and quorums do as always.

use std::sync::Arc;
use std::time::Duration;

use kontiki_state::Term;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::ReplicaId;
use crate::replica::Replica;

/// Broken connections that may wait to be looked into; one peer has two.
pub(crate) const QUEUE: usize = 64;
/// A process that ends closes its connections a moment before the port it listens on.
const PROBES: usize = 20;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// Followers stand one after the other, lest they split the votes.
const STAGGER: Duration = Duration::from_millis(150);
/// A pre-vote is refused by a follower that has not noticed yet, so it is asked for again.
const ROUNDS: usize = 10;
const ROUND_PAUSE: Duration = Duration::from_millis(50);

/// Looks into each broken connection, until the replica stops.
pub(crate) async fn run(replica: Arc<Replica>, mut broken: mpsc::Receiver<ReplicaId>) {
    while let Some(peer) = broken.recv().await {
        let now = *replica.leadership.borrow();
        if now.leader == Some(peer) && peer != replica.config.replica_id {
            succeed(&replica, now.term, peer).await;
        }
    }
}

async fn succeed(replica: &Replica, term: Term, leader: ReplicaId) {
    if !has_ended(replica, term, leader).await {
        return;
    }
    tracing::info!(leader, term, "the leader's process has ended");
    let vote = replica.raft.server_metrics().borrow_watched().vote;
    if vote.leader_id.term != term {
        return;
    }
    // A transfer to somebody else only ends the lease; nobody stands by it.
    let release = TransferLeaderRequest::new(vote, leader, None);
    if replica.raft.handle_transfer_leader(release).await.is_err() {
        return;
    }
    let me = replica.config.replica_id;
    let voters = replica.raft.voter_ids();
    let n_before = voters.filter(|id| *id != leader && *id < me).count();
    sleep(STAGGER * n_before as u32).await;
    for _ in 0..ROUNDS {
        // A higher term: somebody stands, perhaps this replica. Another pre-vote would only disturb.
        if !is_term(replica, term) || replica.raft.trigger().elect(true).await.is_err() {
            return;
        }
        sleep(ROUND_PAUSE).await;
    }
}

/// Whether nobody listens at the leader's address, asked until it is clear.
async fn has_ended(replica: &Replica, term: Term, leader: ReplicaId) -> bool {
    let Some(peer) = replica.peer(leader) else {
        return false;
    };
    for _ in 0..PROBES {
        if !is_term(replica, term) {
            return false;
        }
        if replica.transport.has_ended(&peer).await {
            return true;
        }
        sleep(PROBE_PAUSE).await;
    }
    false
}

fn is_term(replica: &Replica, term: Term) -> bool {
    let metrics = replica.raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.vote.leader_id.term == term
}
