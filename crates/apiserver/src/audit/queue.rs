//! The queue between requests and the log: bounded in entries and in bytes, and never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kontiki_base::limits::{AUDIT_QUEUE_BYTES, AUDIT_QUEUE_ENTRIES};
use kontiki_base::metrics::METRICS;
use tokio::sync::mpsc;

use super::event::Entry;

/// Lines that are made at once.
const BATCH: usize = 256;

pub(super) struct Queue {
    sender: mpsc::Sender<Entry>,
    queued_bytes: Arc<AtomicUsize>,
}

/// What auditors hand over; whoever writes the log takes it as lines.
pub struct Entries {
    receiver: mpsc::Receiver<Entry>,
    queued_bytes: Arc<AtomicUsize>,
}

pub(super) fn bounded() -> (Queue, Entries) {
    let (sender, receiver) = mpsc::channel(AUDIT_QUEUE_ENTRIES);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        sender,
        queued_bytes: Arc::clone(&queued_bytes),
    };
    let entries = Entries {
        receiver,
        queued_bytes,
    };
    (queue, entries)
}

impl Queue {
    /// Hands an entry over, or drops it and counts that.
    pub(super) fn put(&self, entry: Entry) {
        METRICS.audit_events_total.inc();
        let size_bytes = entry.size_bytes();
        let before = self.queued_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        let has_room = before + size_bytes <= AUDIT_QUEUE_BYTES;
        if !has_room || self.sender.try_send(entry).is_err() {
            self.queued_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
            METRICS.audit_dropped_total.inc();
        }
    }
}

impl Entries {
    /// Waits for entries and renders them, one a line; none once no auditor is left.
    pub async fn lines(&mut self) -> Option<Vec<u8>> {
        let mut batch = Vec::new();
        if self.receiver.recv_many(&mut batch, BATCH).await == 0 {
            return None;
        }
        Some(self.render(batch))
    }

    /// What is there now, without a wait.
    pub fn ready_lines(&mut self) -> Vec<u8> {
        let batch = std::iter::from_fn(|| self.receiver.try_recv().ok());
        let batch: Vec<Entry> = batch.take(AUDIT_QUEUE_ENTRIES).collect();
        self.render(batch)
    }

    fn render(&self, batch: Vec<Entry>) -> Vec<u8> {
        let mut lines = Vec::new();
        for entry in batch {
            self.queued_bytes
                .fetch_sub(entry.size_bytes(), Ordering::Relaxed);
            lines.extend_from_slice(entry.render().to_string().as_bytes());
            lines.push(b'\n');
        }
        lines
    }
}
