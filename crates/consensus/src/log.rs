//! openraft's log storage over `kontiki_storage::LogStore`.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use kontiki_storage::{Done, LogStore, StateStore};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use tokio::sync::oneshot;

use crate::types::{self, Entry, LogId, TypeConfig, Vote};

/// Entries of one replication message stop at this size.
const MESSAGE_BYTES: usize = 2 << 20;

#[derive(Clone)]
pub(crate) struct RaftLog {
    log: LogStore,
    state: StateStore,
}

impl RaftLog {
    pub(crate) fn new(log: LogStore, state: StateStore) -> Self {
        Self { log, state }
    }

    fn read(&self, range: std::ops::Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let entries = self
            .log
            .entries(range, max_bytes)
            .map_err(io::Error::other)?;
        entries.iter().map(types::entry).collect()
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start..end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, MESSAGE_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.vote().map(types::vote))
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState {
            last_purged_log_id: self.log.purged().map(types::log_id),
            last_log_id: self.log.last().map(types::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = types::stored_vote(vote);
        durable(|done| self.log.save_vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.log
            .save_committed(committed.as_ref().map(types::stored_id));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.log.committed().map(types::log_id))
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
        let entries = entries
            .into_iter()
            .map(|entry| types::stored_entry(&entry))
            .collect();
        self.log
            .append(entries, Box::new(|| callback.io_completed(Ok(()))));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let after = last.as_ref().map(types::stored_id);
        durable(|done| self.log.truncate_after(after, done)).await
    }

    /// The state is flushed first where it still needs what is purged.
    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        if upto.index >= self.state.needed_from() {
            self.state.flush();
        }
        let upto = types::stored_id(&upto);
        durable(|done| self.log.purge(upto, done)).await
    }
}

async fn durable(ask: impl FnOnce(Done)) -> io::Result<()> {
    let (sender, receiver) = oneshot::channel();
    ask(Box::new(move || {
        let _ = sender.send(());
    }));
    receiver
        .await
        .map_err(|_| io::Error::other("the log is closed"))
}
