//! The newest entries in memory: all that are not on disk yet, and some that are, for replication and apply.

use std::collections::VecDeque;
use std::ops::Range;

use crate::Entry;

/// Bytes kept of entries that are on disk already.
const KEEP_BYTES: usize = 2 << 20;

#[derive(Default)]
pub(super) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries below this index are on disk and may be dropped.
    flushed: u64,
}

impl Tail {
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        self.trim();
    }

    /// Entries below `index` are on disk.
    pub(super) fn flushed(&mut self, index: u64) {
        self.flushed = self.flushed.max(index);
        self.trim();
    }

    /// Drops entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self
            .entries
            .back()
            .is_some_and(|entry| entry.id.index >= from)
        {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, cost);
        }
        self.flushed = self.flushed.min(from);
    }

    /// Drops entries up to and with `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.id.index <= upto)
        {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, cost);
        }
    }

    /// The range, when all of it is here.
    pub(super) fn read(&self, range: Range<u64>, max_bytes: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.id.index;
        let skip = usize::try_from(range.start.checked_sub(first)?).ok()?;
        let count = (range.end - range.start) as usize;
        if skip + count > self.entries.len() {
            return None;
        }
        let (mut entries, mut bytes) = (Vec::with_capacity(count.min(1024)), 0);
        for entry in self.entries.range(skip..skip + count) {
            bytes += entry.payload.len();
            entries.push(entry.clone());
            if bytes >= max_bytes {
                break;
            }
        }
        Some(entries)
    }

    fn trim(&mut self) {
        while self.bytes > KEEP_BYTES
            && self
                .entries
                .front()
                .is_some_and(|entry| entry.id.index < self.flushed)
        {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, cost);
        }
    }
}

fn cost(entry: &Entry) -> usize {
    entry.payload.len() + size_of::<Entry>()
}
