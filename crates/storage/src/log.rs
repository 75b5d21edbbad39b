//! The log: entries, the vote and the committed index, with one sync for everything that waits.
//!
//! `append` returns at once: entries are readable from memory (`tail`) and a thread of its own (`writer`) makes them
//! durable in order, one RocksDB batch and one sync for all that queued meanwhile, then calls back. Reads go to memory
//! first, to RocksDB otherwise. On disk, entries that name a sealed resource are sealed (`record`). What was acknowledged is also noted in a file apart (`watermark`), so that a log whose
//! end was lost is refused instead of voting and acknowledging anew.

pub(crate) mod record;
mod seal;
mod tail;
mod watermark;
mod writer;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rocksdb::{DB, Direction, IteratorMode, ReadOptions};

use crate::{DataDir, Entry, Error, LogId, Sealer, Vote, files, options};
use tail::Tail;
use watermark::Watermark;
use writer::{Request, Writer};

/// Called once what was asked for is durable.
pub type Done = Box<dyn FnOnce() + Send>;

const VOTE: &[u8] = b"m-vote";
const COMMITTED: &[u8] = b"m-committed";
const PURGED: &[u8] = b"m-purged";

/// The log of one replica. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

struct Shared {
    path: PathBuf,
    sealer: Sealer,
    /// `None` once closed.
    db: RwLock<Option<DB>>,
    memory: Mutex<Memory>,
}

/// What readers see: ahead of the disk by what is being written.
#[derive(Default)]
struct Memory {
    tail: Tail,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    bytes_appended: u64,
}

impl LogStore {
    /// Opens or makes the log. Verifies every entry, and that nothing acknowledged is missing.
    pub fn open(dir: &DataDir) -> Result<Self, Error> {
        let path = dir.log();
        let (fresh, watermark_path) = (!path.exists(), dir.watermark());
        if !fresh && !watermark_path.exists() {
            return Err(Error::damaged(&watermark_path, "missing beside a log"));
        }
        let watermark = Watermark::open(&watermark_path)?;
        files::make_dir(&path)?;
        let db = DB::open(&options::log(), &path).map_err(Error::database(&path))?;
        files::tighten(&path)?;
        let memory = recover(&db, &path, dir.sealer())?;
        watermark.check(&path, memory.last, memory.vote)?;
        let shared = Arc::new(Shared {
            path,
            sealer: dir.sealer().clone(),
            db: RwLock::new(Some(db)),
            memory: Mutex::new(memory),
        });
        let writer = Arc::new(Writer::start(Arc::clone(&shared), watermark)?);
        Ok(Self { shared, writer })
    }

    /// The last entry that left the log for good.
    pub fn purged(&self) -> Option<LogId> {
        self.shared.memory.lock().purged
    }

    /// The last entry; the last purged one when there are none.
    pub fn last(&self) -> Option<LogId> {
        self.shared.memory.lock().last
    }

    /// The vote.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.memory.lock().vote
    }

    /// The last index known to be committed when it was saved.
    pub fn committed(&self) -> Option<LogId> {
        self.shared.memory.lock().committed
    }

    /// Bytes appended since the log was opened.
    pub fn bytes_appended(&self) -> u64 {
        self.shared.memory.lock().bytes_appended
    }

    /// How long the running sync has been taking, for a watchdog.
    pub fn sync_running_for(&self) -> Option<Duration> {
        self.writer.sync_running_for()
    }

    /// Makes a vote durable.
    pub fn save_vote(&self, vote: Vote, done: Done) {
        self.shared.memory.lock().vote = Some(vote);
        self.writer.send(Request::Vote(vote, done));
    }

    /// Notes the committed index. Not synced: it may come back older after a power loss, never wrong.
    pub fn save_committed(&self, committed: Option<LogId>) {
        let mut memory = self.shared.memory.lock();
        if memory.committed != committed {
            memory.committed = committed;
            drop(memory);
            self.writer.send(Request::Committed(committed));
        }
    }

    /// Adds entries that follow the last one. Readable at once, durable when `done` is called.
    pub fn append(&self, entries: Vec<Entry>, done: Done) {
        let mut memory = self.shared.memory.lock();
        for entry in &entries {
            let expected = memory.last.map_or(entry.id.index, |last| last.index + 1);
            assert_eq!(entry.id.index, expected, "a hole in the log");
            memory.last = Some(entry.id);
            memory.bytes_appended += entry.payload.len() as u64;
            memory.tail.push(entry.clone());
        }
        // Sent under the lock: the order of requests is the order of memory.
        self.writer.send(Request::Append(entries, done));
    }

    /// Removes what follows `after`; everything for `None`.
    pub fn truncate_after(&self, after: Option<LogId>, done: Done) {
        let mut memory = self.shared.memory.lock();
        let from = after.map_or(0, |id| id.index + 1);
        memory.tail.truncate(from);
        memory.last = after.or(memory.purged);
        self.writer.send(Request::Truncate(after, done));
    }

    /// Forgets entries up to and with `upto`.
    pub fn purge(&self, upto: LogId, done: Done) {
        let mut memory = self.shared.memory.lock();
        if memory.purged < Some(upto) {
            memory.purged = Some(upto);
        }
        memory.last = memory.last.max(Some(upto));
        memory.tail.purge(upto.index);
        self.writer.send(Request::Purge(upto, done));
    }

    /// Entries of a range, in order, without holes; fewer only where the log begins or ends, or after `max_bytes`.
    pub fn entries(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        let (start, end, from_memory) = {
            let memory = self.shared.memory.lock();
            let first = memory.purged.map_or(0, |id| id.index + 1);
            let next = memory.last.map_or(first, |id| id.index + 1);
            let (start, end) = (range.start.max(first), range.end.min(next));
            if start >= end {
                return Ok(Vec::new());
            }
            (start, end, memory.tail.read(start..end, max_bytes))
        };
        match from_memory {
            Some(entries) => Ok(entries),
            None => self.shared.read(start..end, max_bytes),
        }
    }

    /// The id of the entry at an index.
    pub fn id_at(&self, index: u64) -> Result<Option<LogId>, Error> {
        Ok(self
            .entries(index..index + 1, usize::MAX)?
            .first()
            .map(|entry| entry.id))
    }

    /// Waits until everything asked for so far is durable, then closes the files. Later requests go unanswered.
    pub fn close(&self) {
        self.writer.stop();
        // Ends a compaction that runs, rather than wait for it.
        if let Some(db) = &*self.shared.db.read() {
            db.cancel_all_background_work(true);
        }
        self.shared.db.write().take();
    }
}

impl Shared {
    /// Entries from disk. The unflushed end of the range, if any, is in memory only; the tail always holds it whole,
    /// so a range that reaches the disk lies before it or overlaps entries that are in both.
    fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, Error> {
        let mut read = ReadOptions::default();
        read.set_verify_checksums(true);
        read.set_iterate_upper_bound(record::key(range.end).to_vec());
        let key = record::key(range.start);
        let mode = IteratorMode::From(&key, Direction::Forward);
        let (mut entries, mut bytes) = (Vec::<Entry>::new(), 0);
        let mut next = range.start;
        let db = self.db.read();
        let db = db
            .as_ref()
            .ok_or_else(|| Error::Closed(self.path.clone()))?;
        for item in db.iterator_opt(mode, read) {
            let (key, value) = item.map_err(Error::database(&self.path))?;
            let entry = record::decode(&self.sealer, &self.path, &key, &value)?;
            if entry.id.index != next {
                break;
            }
            next += 1;
            bytes += entry.payload.len();
            entries.push(entry);
            if bytes >= max_bytes {
                return Ok(entries);
            }
        }
        if next < range.end {
            let memory = self.memory.lock();
            let Some(rest) = memory
                .tail
                .read(next..range.end, max_bytes.saturating_sub(bytes))
            else {
                let reason = format!("entry {next} of {range:?} is missing");
                return Err(Error::damaged(&self.path, reason));
            };
            entries.extend(rest);
        }
        Ok(entries)
    }
}

/// Reads everything once: a damaged or missing entry shows at the start, not in the middle of an election.
fn recover(db: &DB, path: &Path, sealer: &Sealer) -> Result<Memory, Error> {
    let get = |key| db.get(key).map_err(Error::database(path));
    let mut memory = Memory {
        vote: get(VOTE)?
            .map(|v| record::decode_meta(path, &v))
            .transpose()?,
        committed: get(COMMITTED)?
            .map(|v| record::decode_meta(path, &v))
            .transpose()?,
        purged: get(PURGED)?
            .map(|v| record::decode_meta(path, &v))
            .transpose()?,
        ..Memory::default()
    };
    memory.last = memory.purged;
    let mut as_wanted = true;
    let mut read = ReadOptions::default();
    read.set_iterate_upper_bound(vec![record::ENTRY + 1]);
    let start = record::key(0);
    for item in db.iterator_opt(IteratorMode::From(&start, Direction::Forward), read) {
        let (key, value) = item.map_err(Error::database(path))?;
        let entry = record::decode(sealer, path, &key, &value)?;
        as_wanted = as_wanted && record::is_as_wanted(sealer, &entry, &value);
        if memory
            .purged
            .is_some_and(|purged| entry.id.index <= purged.index)
        {
            continue;
        }
        let (expected, term) = memory
            .last
            .map_or((0, 0), |last| (last.index + 1, last.term));
        if entry.id.index != expected || entry.id.term < term {
            let found = format!("entry {:?} follows {:?}", entry.id, memory.last);
            return Err(Error::damaged(path, found));
        }
        memory.last = Some(entry.id);
    }
    if !as_wanted {
        sealer.unsettle();
    }
    Ok(memory)
}

#[cfg(test)]
mod tests;
