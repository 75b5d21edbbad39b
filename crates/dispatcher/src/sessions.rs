//! Which nodes have a session here. A node has one: a second one takes the place of the first.

use std::collections::HashMap;
use std::sync::Arc;

use kontiki_base::metrics::METRICS;
use kontiki_proto::node::SessionResponse;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// Towards one agent.
pub(crate) type Outgoing = mpsc::Sender<Result<SessionResponse, tonic::Status>>;

struct Entry {
    id: u64,
    outgoing: Outgoing,
    /// Dropped when another session takes over.
    _replaced: oneshot::Sender<()>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Arc<str>, Entry>,
    next_id: u64,
}

/// All sessions of this replica.
pub(crate) struct Sessions {
    table: Arc<Mutex<Table>>,
    limit: usize,
}

/// A session's place; dropping it leaves.
pub(crate) struct Ticket {
    table: Arc<Mutex<Table>>,
    node: Arc<str>,
    id: u64,
    /// Resolves when another session of the node takes over.
    pub(crate) replaced: oneshot::Receiver<()>,
}

impl Sessions {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            table: Arc::default(),
            limit,
        }
    }

    /// Takes the node's place; none when the replica is full.
    pub(crate) fn enter(&self, node: &Arc<str>, outgoing: Outgoing) -> Option<Ticket> {
        let mut table = self.table.lock();
        if table.entries.len() >= self.limit && !table.entries.contains_key(node) {
            return None;
        }
        let id = table.next_id;
        table.next_id += 1;
        let (sender, replaced) = oneshot::channel();
        let entry = Entry {
            id,
            outgoing,
            _replaced: sender,
        };
        table.entries.insert(Arc::clone(node), entry);
        METRICS.sessions.set(table.entries.len() as u64);
        Some(Ticket {
            table: Arc::clone(&self.table),
            node: Arc::clone(node),
            id,
            replaced,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// The way to a node's agent, when its session is here.
    pub(crate) fn outgoing(&self, node: &str) -> Option<Outgoing> {
        self.table
            .lock()
            .entries
            .get(node)
            .map(|entry| entry.outgoing.clone())
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<str>> {
        self.table.lock().entries.keys().cloned().collect()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        if table
            .entries
            .get(&self.node)
            .is_some_and(|entry| entry.id == self.id)
        {
            table.entries.remove(&self.node);
        }
        METRICS.sessions.set(table.entries.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_session_replaces_the_first_and_the_limit_holds() {
        let sessions = Sessions::new(1);
        let (n1, n2): (Arc<str>, Arc<str>) = ("n1".into(), "n2".into());
        let (outgoing, _incoming) = mpsc::channel(1);
        let mut first = sessions.enter(&n1, outgoing.clone()).unwrap();
        assert!(sessions.enter(&n2, outgoing.clone()).is_none());
        let second = sessions.enter(&n1, outgoing).unwrap();
        assert!(
            first
                .replaced
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        drop(first);
        assert_eq!(
            sessions.len(),
            1,
            "the first one's end does not end the second"
        );
        drop(second);
        assert!(sessions.outgoing("n1").is_none());
    }
}
