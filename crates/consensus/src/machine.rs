//! openraft's state machine: applies commands to the store, keeps the state's database in step, answers who waits.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use kontiki_base::metrics::METRICS;
use kontiki_state::{Applied, Command, OpResult, Revision, State, Store, Term};
use kontiki_storage::{DataDir, Meta, SnapshotDir, StateStore};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::types::{self, LogId, Membership, SnapshotMeta, TypeConfig};

type RaftSnapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotDir>;

/// How far this replica has applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Entries applied: the index after the last one.
    pub next_index: u64,
    /// Term of the last entry applied.
    pub term: Term,
    /// Revision of the store.
    pub revision: Revision,
    /// Snapshots installed: entries may have been skipped.
    pub installs: u64,
}

/// What a waiting proposal watches besides its own results: it changes seldom, unlike progress, which would wake every
/// waiting proposal with every entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Era {
    /// Term of the last entry applied.
    pub term: Term,
    /// Snapshots installed: entries may have been skipped.
    pub installs: u64,
}

/// Proposals of this replica's callers, by id, until their entry is applied here.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<u64, oneshot::Sender<Vec<OpResult>>>>);

impl Waiters {
    /// Waits for a proposal until the guard is dropped.
    pub(crate) fn register(self: &Arc<Self>, id: u64) -> Waiter {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().insert(id, sender);
        Waiter {
            id,
            waiters: Arc::clone(self),
            receiver,
        }
    }

    fn resolve(&self, id: u64, results: Vec<OpResult>) {
        if let Some(sender) = self.0.lock().remove(&id) {
            let _ = sender.send(results);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// One waiting caller.
pub(crate) struct Waiter {
    id: u64,
    waiters: Arc<Waiters>,
    pub(crate) receiver: oneshot::Receiver<Vec<OpResult>>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.0.lock().remove(&self.id);
    }
}

/// What the machine shares with the rest of the replica.
#[derive(Clone)]
pub(crate) struct Shared {
    pub dir: DataDir,
    pub store: Store,
    pub state: StateStore,
    pub waiters: Arc<Waiters>,
    pub progress: Arc<watch::Sender<Progress>>,
    pub era: Arc<watch::Sender<Era>>,
    current: Arc<Mutex<Option<SnapshotDir>>>,
    /// Held while a snapshot is built and put in place: the later one then holds the later state.
    building: Arc<Mutex<()>>,
}

pub(crate) struct Machine {
    shared: Shared,
    applied: Option<LogId>,
    membership: Membership,
}

impl Machine {
    /// The machine as it was stored.
    pub(crate) fn open(dir: &DataDir) -> io::Result<(Self, Shared)> {
        let state = StateStore::open(dir).map_err(io::Error::other)?;
        let meta = state.meta();
        let objects = state.objects().map_err(io::Error::other)?;
        let store = Store::new(State::load(meta.origin, objects).map_err(io::Error::other)?);
        let current = SnapshotDir::newest(dir).map_err(io::Error::other)?;
        let shared = Shared {
            dir: dir.clone(),
            store,
            state,
            waiters: Arc::default(),
            progress: Arc::new(watch::Sender::new(progress(&meta, 0))),
            era: Arc::new(watch::Sender::new(era(&progress(&meta, 0)))),
            current: Arc::new(Mutex::new(current)),
            building: Arc::default(),
        };
        let (applied, membership) = (meta.applied.map(types::log_id), membership(&meta)?);
        Ok((
            Self {
                shared: shared.clone(),
                applied,
                membership,
            },
            shared,
        ))
    }

    fn meta(&self, origin: kontiki_state::Origin) -> Meta {
        Meta {
            origin,
            applied: self.applied.as_ref().map(types::stored_id),
            membership: types::encode(&self.membership).into(),
        }
    }

    /// Applies one entry to memory. Returns the changes, and the results for those who may wait for them.
    fn apply_entry(
        &mut self,
        id: LogId,
        payload: EntryPayload<types::EntryData, u64, types::PeerNode>,
    ) -> io::Result<Option<(Applied, Vec<u64>)>> {
        self.applied = Some(id);
        match payload {
            EntryPayload::Blank => Ok(None),
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(id), membership);
                Ok(None)
            }
            EntryPayload::Normal(data) => {
                let command = Command::decode(&data.0).map_err(io::Error::other)?;
                let ids = match &command {
                    Command::Batch { proposals } if !self.shared.waiters.is_empty() => {
                        proposals.iter().map(|proposal| proposal.id).collect()
                    }
                    _ => Vec::new(),
                };
                let applied = self
                    .shared
                    .store
                    .apply(id.index, id.leader_id.term, &command);
                Ok(Some((applied, ids)))
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotDir;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut changes, mut ids, mut responders) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            if let Some((applied, waiting)) = self.apply_entry(entry.log_id, entry.payload)? {
                ids.push(waiting);
                changes.push(applied);
            }
            responders.extend(responder);
        }
        let origin = changes.last().map_or_else(
            || self.shared.state.meta().origin,
            |applied: &Applied| applied.origin,
        );
        let meta = self.meta(origin);
        self.shared.state.apply(&changes, meta.clone());
        for (ids, applied) in ids.into_iter().zip(changes) {
            for (id, results) in ids.into_iter().zip(applied.results) {
                self.shared.waiters.resolve(id, results);
            }
        }
        let installs = self.shared.progress.borrow().installs;
        self.shared.publish(progress(&meta, installs));
        responders
            .into_iter()
            .for_each(|responder| responder.send(()));
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(self.shared.clone())
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta,
        snapshot: SnapshotDir,
    ) -> Result<(), io::Error> {
        let (meta, objects) = self
            .shared
            .state
            .install(&snapshot)
            .map_err(io::Error::other)?;
        let state = State::load(meta.origin, objects).map_err(io::Error::other)?;
        self.shared.store.replace(state);
        self.applied = meta.applied.map(types::log_id);
        self.membership = membership(&meta)?;
        self.shared.make_current(&snapshot);
        let installs = self.shared.progress.borrow().installs + 1;
        self.shared.publish(progress(&meta, installs));
        METRICS.snapshots_installed_total.inc();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let current = self.shared.current.lock().clone();
        current.map(snapshot_of).transpose()
    }
}

/// Makes snapshots while the machine goes on.
pub(crate) struct Builder(Shared);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotDir;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let shared = self.0.clone();
        let built = tokio::task::spawn_blocking(move || shared.rebuild_snapshot())
            .await
            .map_err(io::Error::other)?;
        let snapshot = built.map_err(io::Error::other)?;
        METRICS.snapshots_total.inc();
        snapshot_of(snapshot)
    }
}

impl Shared {
    fn publish(&self, now: Progress) {
        let now_era = era(&now);
        self.era.send_if_modified(|known| {
            let changed = *known != now_era;
            *known = now_era;
            changed
        });
        self.progress.send_replace(now);
    }

    /// The newest snapshot takes the place of the one before, which goes when nobody reads it any more.
    fn make_current(&self, snapshot: &SnapshotDir) {
        let mut current = self.current.lock();
        if let Some(old) = current.replace(snapshot.clone())
            && old.path() != snapshot.path()
        {
            old.retire();
        }
    }
}

/// Tells apart what is built at the same time.
static BUILDS: AtomicU64 = AtomicU64::new(0);

impl Shared {
    /// A snapshot for an archive; it goes with its last holder.
    pub(crate) fn archive(&self) -> io::Result<SnapshotDir> {
        let snapshot = self.build().map_err(io::Error::other)?;
        snapshot.retire();
        Ok(snapshot)
    }

    /// Puts a snapshot of the present state in the place of the one before.
    pub(crate) fn rebuild_snapshot(&self) -> Result<SnapshotDir, kontiki_storage::Error> {
        let _alone = self.building.lock();
        let snapshot = self.build()?;
        self.make_current(&snapshot);
        Ok(snapshot)
    }

    fn build(&self) -> Result<SnapshotDir, kontiki_storage::Error> {
        let tag = format!("build-{}", BUILDS.fetch_add(1, Ordering::Relaxed));
        SnapshotDir::build(&self.dir, &self.state, &tag)
    }
}

fn snapshot_of(dir: SnapshotDir) -> io::Result<RaftSnapshot> {
    Ok(Snapshot {
        meta: snapshot_meta(dir.manifest())?,
        snapshot: dir,
    })
}

pub(crate) fn snapshot_meta(manifest: &kontiki_storage::Manifest) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        last_log_id: manifest.applied.map(types::log_id),
        last_membership: if manifest.membership.is_empty() {
            Membership::default()
        } else {
            types::decode(&manifest.membership)?
        },
    })
}

fn membership(meta: &Meta) -> io::Result<Membership> {
    if meta.membership.is_empty() {
        Ok(Membership::default())
    } else {
        types::decode(&meta.membership)
    }
}

fn era(progress: &Progress) -> Era {
    Era {
        term: progress.term,
        installs: progress.installs,
    }
}

fn progress(meta: &Meta, installs: u64) -> Progress {
    Progress {
        next_index: meta.applied.map_or(0, |id| id.index + 1),
        term: meta.applied.map_or(0, |id| id.term),
        revision: meta.origin.revision,
        installs,
    }
}
