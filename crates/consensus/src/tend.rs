//! What a replica does by itself: follows who leads, watches the disk, flushes, makes snapshots by size.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kontiki_base::metrics::METRICS;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use tokio::time::{MissedTickBehavior, interval};

use crate::Leadership;
use crate::replica::Replica;

const PERIOD: Duration = Duration::from_secs(1);
/// The state is flushed when the log holds this many entries or bytes that it still needs.
const FLUSH_ENTRIES: u64 = 10_000;
const FLUSH_BYTES: u64 = 32 << 20;
/// A snapshot is made after this many bytes of log, however few entries they are.
const SNAPSHOT_BYTES: u64 = 256 << 20;
/// Less free space than this, and nothing is proposed; it comes back at twice as much.
const DISK_RESERVE_BYTES: u64 = 128 << 20;

/// Publishes who leads, until the replica stops.
pub(crate) async fn follow_leadership(replica: Arc<Replica>) {
    let mut server = replica.raft.server_metrics();
    let mut progress = replica.machine.progress.subscribe();
    let me = replica.config.replica_id;
    loop {
        let applied_term = progress.borrow_and_update().term;
        let now = {
            let metrics = server.borrow_watched();
            let term = metrics.vote.leader_id.term;
            let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(me);
            Leadership {
                term,
                leader: metrics.current_leader,
                // The first entry of its own term is behind all earlier ones.
                is_leader: leads && applied_term == term,
            }
        };
        let changed = replica.leadership.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        if changed {
            METRICS.leader.set(u64::from(now.is_leader));
            METRICS.term.set(now.term);
            tracing::info!(
                term = now.term,
                leader = now.leader,
                is_leader = now.is_leader,
                "leadership"
            );
        }
        let ended = tokio::select! {
            changed = server.changed() => changed.is_err(),
            changed = progress.changed() => changed.is_err(),
        };
        if ended {
            replica.leadership.send_replace(Leadership::default());
            return;
        }
    }
}

/// Once a second: is the disk well, and is it time to flush or to make a snapshot?
pub(crate) async fn housekeeping(replica: Arc<Replica>) {
    let mut stopping = replica.stopping.subscribe();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut flushed_bytes, mut snapshot_bytes) = (0, 0);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        watch_disk(&replica);
        let bytes = replica.log.bytes_appended();
        let behind = replica
            .machine
            .progress
            .borrow()
            .next_index
            .saturating_sub(replica.machine.state.needed_from());
        if behind >= FLUSH_ENTRIES || (behind > 0 && bytes - flushed_bytes >= FLUSH_BYTES) {
            flushed_bytes = bytes;
            let state = replica.machine.state.clone();
            let _ = tokio::task::spawn_blocking(move || state.flush()).await;
        }
        if bytes - snapshot_bytes >= SNAPSHOT_BYTES {
            snapshot_bytes = bytes;
            let _ = replica.raft.trigger().snapshot().await;
        }
    }
}

fn watch_disk(replica: &Replica) {
    if let Some(stalled) = replica.log.sync_running_for()
        && stalled > replica.config.timing.stalled_sync
    {
        tracing::error!(
            ?stalled,
            "the disk does not finish a sync; ending the process"
        );
        std::process::abort();
    }
    let Ok(free) = kontiki_storage::free_bytes(&replica.config.data_dir) else {
        return;
    };
    let full = replica.disk_full.load(Ordering::Relaxed);
    if !full && free < DISK_RESERVE_BYTES {
        let path = replica.config.data_dir.display();
        tracing::error!(%path, free, "the disk is nearly full; writes are refused until there is room");
        replica.disk_full.store(true, Ordering::Relaxed);
    } else if full && free > 2 * DISK_RESERVE_BYTES {
        tracing::warn!(free, "the disk has room again; writes are accepted");
        replica.disk_full.store(false, Ordering::Relaxed);
    }
}

/// Raft that stopped by itself met a storage error or a defect: the process ends rather than serve what it has.
pub(crate) async fn end_on_failure(replica: Arc<Replica>) {
    let mut metrics = replica.raft.metrics();
    loop {
        let state = metrics.borrow_watched().running_state.clone();
        match state {
            Ok(()) => {}
            Err(Fatal::Stopped) => return,
            Err(error) => {
                if *replica.stopping.borrow() {
                    return;
                }
                tracing::error!(%error, "raft failed; ending the process");
                std::process::abort();
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
