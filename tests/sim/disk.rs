//! A disk that forgets what was not synced, and a log store over it that may crash around every sync.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use kontiki_state::{Object, Origin};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::types::{Entry, Id, LogId, Membership, TypeConfig, Vote};
use crate::world::World;

/// The whole state at one log index.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub origin: Origin,
    pub objects: Vec<Arc<Object>>,
    pub applied: Option<LogId>,
    pub membership: Membership,
}

/// What survives a crash.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    pub vote: Option<Vote>,
    pub log: BTreeMap<u64, Entry>,
    pub purged: Option<LogId>,
    pub machine: Image,
    pub snapshot: Option<Image>,
}

/// A change of what survives, and whom to tell.
type Write = (
    Box<dyn FnOnce(&mut Durable) + Send>,
    Box<dyn FnOnce() + Send>,
);

/// One life of one replica's disk: it ends with the crash.
#[derive(Clone)]
pub struct Disk {
    pub world: Arc<World>,
    pub id: Id,
    pub durable: Arc<Mutex<Durable>>,
    /// What readers see: written, perhaps not synced.
    seen: Arc<Mutex<Durable>>,
    writes: mpsc::UnboundedSender<Write>,
}

impl Disk {
    /// The disk after a crash or at the first start.
    pub fn open(world: Arc<World>, id: Id, life: u64, durable: Arc<Mutex<Durable>>) -> Self {
        let (writes, mut queue) = mpsc::unbounded_channel::<Write>();
        let seen = Arc::new(Mutex::new(durable.lock().clone()));
        let disk = Self {
            world,
            id,
            durable,
            seen,
            writes,
        };
        let (world, durable) = (disk.world.clone(), disk.durable.clone());
        crate::world::spawn(async move {
            while let Some((write, tell)) = queue.recv().await {
                tokio::time::sleep(Duration::from_micros(world.below(3000))).await;
                if world.crash_point(id, life) {
                    return;
                }
                write(&mut durable.lock());
                if world.crash_point(id, life) {
                    return;
                }
                tell();
            }
        });
        disk
    }

    /// Makes a change visible now and durable later; `tell` runs once it is durable, never after a crash.
    pub fn write(
        &self,
        change: impl Fn(&mut Durable) + Send + 'static,
        tell: impl FnOnce() + Send + 'static,
    ) {
        change(&mut self.seen.lock());
        let _ = self.writes.send((Box::new(change), Box::new(tell)));
    }

    /// As `write`, and waits until it is durable; for ever when this life ends before.
    pub async fn write_durable(&self, change: impl Fn(&mut Durable) + Send + 'static) {
        let (done, wait) = oneshot::channel();
        self.write(change, move || {
            let _ = done.send(());
        });
        if wait.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What readers see.
    pub fn read<T>(&self, read: impl FnOnce(&Durable) -> T) -> T {
        read(&self.seen.lock())
    }
}

impl RaftLogReader<TypeConfig> for Disk {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(|disk| {
            disk.log
                .range(range)
                .map(|(_, entry)| entry.clone())
                .collect()
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.read(|disk| disk.vote))
    }
}

impl RaftLogStorage<TypeConfig> for Disk {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(self.read(|disk| LogState {
            last_purged_log_id: disk.purged,
            last_log_id: disk
                .log
                .values()
                .next_back()
                .map(|entry| entry.log_id)
                .or(disk.purged),
        }))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.write_durable(move |disk| disk.vote = Some(vote)).await;
        Ok(())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let change = move |disk: &mut Durable| {
            for entry in &entries {
                disk.log.insert(entry.log_id.index, entry.clone());
            }
        };
        self.write(change, || callback.io_completed(Ok(())));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |id| id.index + 1);
        self.write_durable(move |disk| {
            disk.log.split_off(&from);
        })
        .await;
        Ok(())
    }

    /// The machine is made durable first where it still needs what is purged.
    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let newest = self.world.machine_image(self.id);
        self.write_durable(move |disk| {
            if disk
                .machine
                .applied
                .is_none_or(|applied| applied.index < upto.index)
                && let Some(newest) = &newest
            {
                disk.machine = newest.clone();
            }
            disk.log = disk.log.split_off(&(upto.index + 1));
            disk.purged = Some(upto);
        })
        .await;
        Ok(())
    }
}
