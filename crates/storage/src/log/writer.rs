//! The one thread that writes the log: it takes everything that waits, writes one batch, syncs once, calls back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use kontiki_base::clock::{SharedClock, SystemClock};
use kontiki_base::metrics::METRICS;
use parking_lot::Mutex;
use rocksdb::{WriteBatch, WriteOptions};

use super::seal::Resealed;
use super::watermark::Watermark;
use super::{COMMITTED, Done, PURGED, Shared, VOTE, record};
use crate::error::fatal;
use crate::{Entry, Error, LogId, Sealer, Vote};

/// A batch stops taking requests at this size.
const BATCH_BYTES: usize = 8 << 20;
/// The watermark lags by at most this many entries or this long.
const LAG_ENTRIES: u64 = 1024;
const LAG: Duration = Duration::from_secs(1);

pub(super) enum Request {
    Append(Vec<Entry>, Done),
    Vote(Vote, Done),
    Committed(Option<LogId>),
    Truncate(Option<LogId>, Done),
    Purge(LogId, Done),
    /// Rewrites entries from an index on whose sealing is not as wanted.
    Reseal(u64, Resealed),
    Stop,
}

/// Handle on the thread.
pub(super) struct Writer {
    requests: Sender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: SharedClock,
    /// When the running sync began, in milliseconds of `clock`, plus one; 0 for none.
    sync_began: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, watermark: Watermark) -> Result<Self, Error> {
        let (requests, inbox) = channel();
        let clock = SystemClock::shared();
        let sync_began = Arc::new(AtomicU64::new(0));
        let (last, vote) = {
            let memory = shared.memory.lock();
            (memory.last, memory.vote)
        };
        let worker = Worker {
            last,
            vote_term: vote.map_or(0, |vote| vote.term),
            path: shared.path.clone(),
            shared,
            watermark,
            clock: Arc::clone(&clock),
            sync_began: Arc::clone(&sync_began),
            noted_at: Duration::ZERO,
        };
        let name = "kontiki-log".to_owned();
        let path = worker.path.clone();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(&inbox))
            .map_err(Error::io(&path))?;
        Ok(Self {
            requests,
            thread: Mutex::new(Some(thread)),
            clock,
            sync_began,
        })
    }

    /// Queues a request. After `stop` it is dropped: its callback never comes, as after a crash.
    pub(super) fn send(&self, request: Request) {
        let _ = self.requests.send(request);
    }

    pub(super) fn sync_running_for(&self) -> Option<Duration> {
        let began_ms = self.sync_began.load(Ordering::Relaxed).checked_sub(1)?;
        Some(
            self.clock
                .monotonic()
                .saturating_sub(Duration::from_millis(began_ms)),
        )
    }

    pub(super) fn stop(&self) {
        self.send(Request::Stop);
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    path: std::path::PathBuf,
    shared: Arc<Shared>,
    watermark: Watermark,
    clock: SharedClock,
    sync_began: Arc<AtomicU64>,
    /// Last durable entry and vote, of which the watermark may lag.
    last: Option<LogId>,
    vote_term: u64,
    noted_at: Duration,
}

/// Requests that become durable together.
#[derive(Default)]
struct Group {
    batch: WriteBatch,
    done: Vec<Done>,
    bytes: usize,
    sync: bool,
    last: Option<LogId>,
    vote_term: Option<u64>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Request>) {
        loop {
            let mut next = match self.wait(inbox) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => {
                    self.note_watermark();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => Some(Request::Stop),
            };
            let mut group = Group::default();
            while let Some(request) = next.take() {
                match request {
                    Request::Stop => return self.finish(group),
                    Request::Truncate(after, done) => {
                        self.commit(std::mem::take(&mut group));
                        self.truncate(after, done);
                    }
                    Request::Reseal(from, resealed) => {
                        self.commit(std::mem::take(&mut group));
                        let _ = resealed.send(self.reseal(from));
                    }
                    other => group.add(&self.shared.sealer, other),
                }
                if group.bytes < BATCH_BYTES {
                    next = inbox.try_recv().ok();
                }
            }
            self.commit(group);
        }
    }

    /// An idle log sleeps without a timer once the watermark has caught up.
    fn wait(&self, inbox: &Receiver<Request>) -> Result<Request, RecvTimeoutError> {
        if self.watermark_lags() {
            inbox.recv_timeout(LAG)
        } else {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        }
    }

    fn finish(&mut self, group: Group) {
        self.commit(group);
        self.note_watermark();
    }

    fn commit(&mut self, group: Group) {
        if group.is_empty() {
            return;
        }
        self.write(group.batch, group.sync);
        if let Some(last) = group.last {
            self.last = Some(last);
            self.shared.memory.lock().tail.flushed(last.index + 1);
        }
        self.vote_term = group.vote_term.unwrap_or(self.vote_term);
        METRICS.log_bytes_total.add(group.bytes as u64);
        group.done.into_iter().for_each(|done| done());
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
        let lag = index(self.last).saturating_sub(index(self.watermark.promise().last));
        let long_ago = self.clock.monotonic().saturating_sub(self.noted_at) >= LAG;
        if lag >= LAG_ENTRIES || (long_ago && self.watermark_lags()) {
            self.note_watermark();
        }
    }

    /// Lowers the promise before the entries go: a crash in between must not look like a loss.
    fn truncate(&mut self, after: Option<LogId>, done: Done) {
        let keep = after.or_else(|| self.shared.memory.lock().purged);
        self.last = self.last.min(keep);
        self.note_watermark();
        let mut batch = WriteBatch::default();
        let from = after.map_or(0, |id| id.index + 1);
        batch.delete_range(record::key(from), [record::ENTRY + 1; 9]);
        self.write(batch, true);
        done();
    }

    /// A bounded part of the log; between what is appended and truncated, so that no entry comes back.
    fn reseal(&self, from: u64) -> Result<Option<u64>, Error> {
        let (batch, next) = self.shared.stale(from)?;
        if !batch.is_empty() {
            self.write(batch, true);
        }
        Ok(next)
    }

    fn write(&self, batch: WriteBatch, sync: bool) {
        let mut write = WriteOptions::default();
        write.set_sync(sync);
        self.sync_began.store(
            self.clock.monotonic().as_millis() as u64 + 1,
            Ordering::Relaxed,
        );
        let db = self.shared.db.read();
        if let Some(Err(error)) = db.as_ref().map(|db| db.write_opt(batch, &write)) {
            fatal("writing the log", &self.path, &error);
        }
        drop(db);
        self.sync_began.store(0, Ordering::Relaxed);
        METRICS.log_syncs_total.add(u64::from(sync));
    }

    fn watermark_lags(&self) -> bool {
        let promise = self.watermark.promise();
        (promise.last, promise.vote_term) != (self.last, self.vote_term)
    }

    fn note_watermark(&mut self) {
        if self.watermark_lags()
            && let Err(error) = self.watermark.write(self.last, self.vote_term)
        {
            fatal("writing the watermark", &self.path, &error);
        }
        self.noted_at = self.clock.monotonic();
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.done.is_empty()
    }

    fn add(&mut self, sealer: &Sealer, request: Request) {
        match request {
            Request::Append(entries, done) => {
                for entry in &entries {
                    let value = record::encode(sealer, entry);
                    self.bytes += value.len();
                    self.batch.put(record::key(entry.id.index), value);
                    self.last = Some(entry.id);
                }
                self.sync = true;
                self.done.push(done);
            }
            Request::Vote(vote, done) => {
                self.batch.put(VOTE, record::encode_meta(&vote));
                self.vote_term = Some(vote.term);
                self.sync = true;
                self.done.push(done);
            }
            Request::Committed(committed) => match committed {
                Some(committed) => self.batch.put(COMMITTED, record::encode_meta(&committed)),
                None => self.batch.delete(COMMITTED),
            },
            Request::Purge(upto, done) => {
                self.batch.put(PURGED, record::encode_meta(&upto));
                self.batch
                    .delete_range(record::key(0), record::key(upto.index + 1));
                self.last = self.last.max(Some(upto));
                self.done.push(done);
            }
            Request::Truncate(..) | Request::Reseal(..) | Request::Stop => {}
        }
    }
}
