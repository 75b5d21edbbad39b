//! From settings to a running replica, and back to a closed directory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use kontiki_base::random::{Random, SystemRandom};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_storage::{DataDir, Identity, LogStore, Sealer};
use openraft::SnapshotPolicy;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::log::RaftLog;
use crate::machine::Machine;
use crate::network::Network;
use crate::proposer::{self, Lanes};
use crate::replica::Replica;
use crate::transport::Transport;
use crate::types::Raft;
use crate::{Config, Leadership, StartError, membership, reads, sealing, succession, tend};

/// A leader that stops waits this long for a successor.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens everything and starts the replica's tasks.
pub(crate) async fn replica(
    config: Config,
    transport: Arc<dyn Transport>,
) -> Result<(Arc<Replica>, mpsc::Sender<reads::Reader>), StartError> {
    let identity = Identity {
        cluster_id: config.cluster_id.clone(),
        replica_id: config.replica_id,
    };
    let storage = |error: kontiki_storage::Error| StartError::Storage(error.to_string());
    let sealer = Sealer::open(&config.sealing).map_err(storage)?;
    let dir = DataDir::open(&config.data_dir, &identity).map_err(storage)?;
    let dir = dir.sealed_by(sealer.clone());
    let log = LogStore::open(&dir).map_err(storage)?;
    let opened = Machine::open(&dir);
    let (machine, shared) = opened.map_err(|error| StartError::Storage(error.to_string()))?;
    // Everything was read: a keyring that was made just now hides no keys that are missing.
    sealer.save().map_err(storage)?;
    if log.last().is_none() && shared.state.meta().applied.is_none() {
        sealer.settle(sealer.epoch()).map_err(storage)?;
    }
    let raft_config = raft_config(&config)?;
    let network = Network {
        transport: Arc::clone(&transport),
        sealer,
    };
    let raft_log = RaftLog::new(log.clone(), shared.state.clone());
    let raft = Raft::new(
        config.replica_id,
        Arc::new(raft_config),
        network,
        raft_log,
        machine,
    );
    let raft = raft
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
    let (broken, to_look_into) = mpsc::channel(succession::QUEUE);
    let replica = Arc::new(Replica {
        config,
        raft,
        machine: shared,
        log,
        transport,
        lanes: Arc::new(Lanes::default()),
        leadership: watch::Sender::new(Leadership::default()),
        calls: RwLock::new(HashMap::new()),
        // Far apart between replicas and between their lives.
        next_id: AtomicU64::new(SystemRandom.bits()),
        stopping: watch::Sender::new(false),
        disk_full: AtomicBool::new(false),
        membership_change: tokio::sync::Mutex::new(()),
        broken,
    });
    let (readers, queue) = mpsc::channel(reads::QUEUE);
    let lanes = Arc::clone(&replica.lanes);
    until_stopped(
        &replica,
        TaskKind::Proposer,
        proposer::run(lanes, replica.raft.clone()),
    );
    until_stopped(
        &replica,
        TaskKind::Request,
        reads::run(Arc::clone(&replica), queue),
    );
    until_stopped(
        &replica,
        TaskKind::Peer,
        tend::follow_leadership(Arc::clone(&replica)),
    );
    until_stopped(
        &replica,
        TaskKind::Peer,
        succession::run(Arc::clone(&replica), to_look_into),
    );
    until_stopped(
        &replica,
        TaskKind::Storage,
        sealing::run(Arc::clone(&replica)),
    );
    spawn(
        TaskKind::Housekeeping,
        tend::housekeeping(Arc::clone(&replica)),
    );
    spawn(
        TaskKind::Housekeeping,
        tend::end_on_failure(Arc::clone(&replica)),
    );
    Ok((replica, readers))
}

/// Runs a task that ends when the replica has stopped, and lets go of the replica then.
fn until_stopped(
    replica: &Replica,
    kind: TaskKind,
    task: impl Future<Output = ()> + Send + 'static,
) {
    let mut stopping = replica.stopping.subscribe();
    spawn(kind, async move {
        tokio::select! {
            () = task => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    });
}

/// Hands over, stops Raft, closes storage. What was acknowledged is durable already.
pub(crate) async fn stop(replica: &Replica) {
    if *replica.stopping.borrow() {
        return;
    }
    let leads = replica.leadership.borrow().leader == Some(replica.config.replica_id);
    if leads && replica.raft.voter_ids().count() > 1 {
        let _ = timeout(HANDOVER_TIMEOUT, membership::transfer(replica, None)).await;
    }
    replica.stopping.send_replace(true);
    let _ = timeout(STOP_TIMEOUT, replica.raft.shutdown()).await;
    replica.log.close();
    replica.machine.state.close();
    replica.calls.write().clear();
}

fn raft_config(config: &Config) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| duration.as_millis() as u64;
    let raft = openraft::Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: ms(config.timing.heartbeat),
        election_timeout_min: ms(config.timing.election_min),
        election_timeout_max: ms(config.timing.election_max),
        enable_pre_vote: Some(true),
        // A restarted leader stands for election like everyone else: in its old term it could reuse log ids, and its
        // read index would miss what it acknowledged before.
        enable_leader_restore: Some(false),
        // Followers receive entries while the leader syncs them.
        broadcast_submitted_on_append: Some(true),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.retention.snapshot_entries),
        max_in_snapshot_log_to_keep: config.retention.keep_entries,
        replication_lag_threshold: config.retention.keep_entries.max(1),
        // The transport times a snapshot by its size; this one is only passed through.
        install_snapshot_timeout: 3_600_000,
        max_payload_entries: 256,
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        ..openraft::Config::default()
    };
    raft.validate()
        .map_err(|error| StartError::Config(error.to_string()))
}
