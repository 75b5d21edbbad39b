//! Linearizable reads: one ReadIndex round serves all readers that came before it began.

use std::sync::Arc;
use std::time::Duration;

use kontiki_base::backoff::Backoff;
use kontiki_base::limits::READ_TIMEOUT;
use kontiki_base::random::SystemRandom;
use kontiki_base::task::{TaskKind, spawn};
use openraft::ReadPolicy;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::ReadError;
use crate::replica::Replica;
use crate::transport::{Request, RequestKind};
use crate::types;

/// One waiting reader.
pub(crate) type Reader = oneshot::Sender<Result<(), ReadError>>;

/// Readers that may wait; beyond it they wait to be queued.
pub(crate) const QUEUE: usize = 1024;
/// One question to the leader.
const ROUND_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(200));

/// Serves readers, round by round.
pub(crate) async fn run(replica: Arc<Replica>, mut queue: mpsc::Receiver<Reader>) {
    while let Some(first) = queue.recv().await {
        let mut readers = vec![first];
        while let Ok(reader) = queue.try_recv() {
            readers.push(reader);
        }
        let deadline = Instant::now() + READ_TIMEOUT;
        let index = round(&replica, deadline).await;
        let replica = Arc::clone(&replica);
        let serve = async move {
            let left = deadline.saturating_duration_since(Instant::now());
            let result = match index {
                Ok(next) => {
                    replica
                        .await_progress(left, |now| now.next_index >= next)
                        .await
                }
                Err(error) => Err(error),
            };
            for reader in readers {
                let _ = reader.send(result.clone());
            }
        };
        spawn(TaskKind::Request, serve);
    }
}

/// The index that a reader must have applied, from whoever leads.
async fn round(replica: &Replica, deadline: Instant) -> Result<u64, ReadError> {
    let mut backoff = RETRY;
    loop {
        if *replica.stopping.borrow() {
            return Err(ReadError::Stopping);
        }
        let leader = replica.leadership.borrow().leader;
        let answer = match leader {
            Some(id) if id == replica.config.replica_id => confirm(replica).await,
            Some(id) => ask(replica, id).await,
            None => None,
        };
        if let Some(index) = answer {
            return Ok(index);
        }
        if Instant::now() >= deadline {
            return Err(ReadError::NoLeader);
        }
        sleep(backoff.next_delay(&SystemRandom)).await;
    }
}

/// On the leader: a quorum confirms that it still leads. `None` when it does not.
pub(crate) async fn confirm(replica: &Replica) -> Option<u64> {
    let round = replica.raft.get_read_linearizer(ReadPolicy::ReadIndex);
    let linearizer = tokio::time::timeout(ROUND_TIMEOUT, round)
        .await
        .ok()?
        .ok()?;
    Some(linearizer.read_log_id().index() + 1)
}

async fn ask(replica: &Replica, leader: u64) -> Option<u64> {
    let peer = replica.peer(leader)?;
    let request = Request {
        kind: RequestKind::ReadIndex,
        payload: bytes::Bytes::new(),
    };
    let answer = replica
        .transport
        .request(&peer, request, ROUND_TIMEOUT)
        .await
        .ok()?;
    types::decode::<Option<u64>>(&answer).ok()?
}
