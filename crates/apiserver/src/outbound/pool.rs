//! Connections at rest, used again by the next request to the same peer. Bounded; the one longest at rest goes first.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use kontiki_base::limits;
use parking_lot::Mutex;

use super::Body;

/// How long a connection rests before it is closed.
const REST: Duration = Duration::from_secs(60);

/// Connections at rest.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    key: String,
    since: Duration,
    sender: SendRequest<Body>,
}

impl Pool {
    /// A connection to that peer that is still open.
    pub(super) fn take(&self, key: &str, now: Duration) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock();
        idle.retain(|found| now.saturating_sub(found.since) < REST && !found.sender.is_closed());
        let i = idle.iter().rposition(|found| found.key == key)?;
        idle.remove(i).map(|found| found.sender)
    }

    /// Lays a connection to rest.
    pub(super) fn put(&self, key: String, now: Duration, sender: SendRequest<Body>) {
        let mut idle = self.idle.lock();
        if idle.len() >= limits::OUTBOUND_IDLE_CONNECTIONS {
            idle.pop_front();
        }
        idle.push_back(Idle {
            key,
            since: now,
            sender,
        });
    }

    /// Whether any connection is at rest.
    #[cfg(test)]
    pub(super) fn is_resting(&self) -> bool {
        !self.idle.lock().is_empty()
    }
}
