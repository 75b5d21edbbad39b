//! Encryption at rest of this replica: follows the cluster's wish for new keys, and brings the disk to agree with what
//! is to be sealed.
//!
//! The wish is one number in the replicated state, the *rotation*: a replica whose key is of an earlier one makes a new
//! key. So a rotation needs nobody to be up but a quorum, and a replica that was away rotates when it returns. All else
//! is local: rewrite the state, rewrite the log, replace the snapshot, let the old keys go. Each step may be cut off at
//! any point: the keyring says that the disk does not agree yet, and the next start begins again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use kontiki_base::limits;
use kontiki_state::command::CONFIGURATION;
use kontiki_state::{Header, Key, Op, OpResult, Precondition, Proposal, Snapshot};
use kontiki_storage::{Error, KeyInfo, SnapshotDir, Tally};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::replica::Replica;
use crate::{Lane, ProposeError, ReadError};

/// How often a replica looks for a new wish or work left.
const PERIOD: Duration = Duration::from_secs(1);
/// After a pass that failed.
const RETRY: Duration = Duration::from_secs(30);
/// Setting that holds the rotation wished for, a number.
const ROTATION: &str = "encryption-rotation";

/// How encryption at rest stands on a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// What is sealed, as it was configured.
    pub resources: String,
    /// The rotation that the sealing key is of.
    pub rotation: u64,
    /// Every record is as wanted and under the sealing key.
    pub settled: bool,
    /// All keys, the sealing one first.
    pub keys: Vec<KeyInfo>,
    /// Objects by key.
    pub objects: Tally,
    /// Log entries by key.
    pub entries: Tally,
}

/// Looks after this replica's keys and records until it stops.
pub(crate) async fn run(replica: Arc<Replica>) {
    let sealer = replica.machine.dir.sealer().clone();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let wanted = wanted_rotation(&replica.machine.store.snapshot());
        // A disk without room is left alone: rewriting takes some.
        if replica.disk_full.load(Ordering::Relaxed) {
            continue;
        }
        let done = match (sealer.is_settled(), wanted > sealer.rotation()) {
            (true, false) => continue,
            // One rotation at a time: the keyring stays short.
            (true, true) => sealer.rotate(wanted),
            (false, _) => settle(&replica).await,
        };
        if let Err(error) = done {
            tracing::error!(%error, "records on the disk are not all sealed as they should be");
            sleep(RETRY).await;
        }
    }
}

/// One pass over everything on the disk. Not settled at its end when something came in between: the next one sees it.
async fn settle(replica: &Arc<Replica>) -> Result<(), Error> {
    let sealer = replica.machine.dir.sealer();
    let epoch = sealer.epoch();
    let (state, log) = (replica.machine.state.clone(), replica.log.clone());
    let mut from = None;
    loop {
        let state = state.clone();
        from = blocking(move || state.reseal(from.as_deref())).await?;
        if from.is_none() {
            break;
        }
    }
    let mut from = Some(0);
    while let Some(index) = from {
        let log = log.clone();
        from = blocking(move || log.reseal(index)).await?;
    }
    blocking(move || {
        state.compact_sealed()?;
        log.compact_entries()?;
        state.flush();
        // The next snapshot holds what was flushed; closed meanwhile, nothing was.
        state.tally().map(|_| ())
    })
    .await?;
    replace_snapshot(replica).await?;
    if sealer.settle(epoch)? {
        tracing::info!(key = %sealer.keys()[0].id, "all sealed records are under one key");
    }
    Ok(())
}

/// Makes a new snapshot, and waits until no other is there: they may need the old keys.
async fn replace_snapshot(replica: &Arc<Replica>) -> Result<(), Error> {
    let machine = replica.machine.clone();
    blocking(move || machine.rebuild_snapshot().map(drop)).await?;
    loop {
        let machine = replica.machine.clone();
        if blocking(move || SnapshotDir::is_alone(&machine.dir)).await? {
            return Ok(());
        }
        sleep(PERIOD).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("this work does not panic and is not cancelled")
}

fn rotation_key() -> Key {
    Key::new(CONFIGURATION, "", ROTATION)
}

/// The last rotation that was asked for.
pub(crate) fn wanted_rotation(snapshot: &Snapshot) -> u64 {
    let stored = snapshot.get(&rotation_key());
    let number = stored.and_then(|object| std::str::from_utf8(&object.bytes).ok()?.parse().ok());
    number.unwrap_or(0)
}

/// Asks all replicas for new keys. Answers the rotation that was asked for, by this call or by one at the same time.
pub(crate) async fn rotate(replica: &Replica) -> Result<u64, ProposeError> {
    for _ in 0..limits::UPDATE_RETRIES {
        let snapshot = replica.machine.store.snapshot();
        let rotation = wanted_rotation(&snapshot) + 1;
        let (key, header) = (rotation_key(), Header::default());
        let bytes = Bytes::from(rotation.to_string());
        let op = match snapshot.get(&key) {
            None => Op::Create { key, header, bytes },
            Some(current) => Op::Update {
                key,
                pre: Precondition::revision(current.revision),
                header,
                bytes,
            },
        };
        let proposal = Proposal::batch(vec![op]);
        let results = replica.propose(proposal, Lane::System).await?;
        if results.iter().all(OpResult::is_done) {
            return Ok(rotation);
        }
    }
    Err(ProposeError::Unknown)
}

/// How this replica's disk stands.
pub(crate) async fn status(replica: &Arc<Replica>) -> Result<Encryption, ReadError> {
    let asked = Arc::clone(replica);
    let looked = blocking(move || {
        let (state, log) = (asked.machine.state.tally()?, asked.log.tally()?);
        Ok((state, log))
    });
    let (objects, entries) = looked.await.map_err(|_| ReadError::Stopping)?;
    let sealer = replica.machine.dir.sealer();
    Ok(Encryption {
        resources: sealer.resources().to_string(),
        rotation: sealer.rotation(),
        settled: sealer.is_settled(),
        keys: sealer.keys(),
        objects,
        entries,
    })
}
