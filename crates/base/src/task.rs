//! Named background tasks: no bare `tokio::spawn` anywhere else.
//!
//! Each kind says what its death means. A task that panics is a defect: the process ends rather than run on
//! without one of its parts.

use std::future::Future;

use tokio::task::JoinHandle;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// What a background task is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum TaskKind { $($(#[$doc])* $name,)* }

        impl TaskKind {
            /// Name in logs.
            pub const fn label(self) -> &'static str {
                match self { $(TaskKind::$name => $label,)* }
            }
        }
    };
}

kinds! {
    /// Accepts and serves connections of a listener.
    Listener => "listener",
    /// Serves one connection.
    Connection => "connection",
    /// Serves one request or stream beyond its handler.
    Request => "request",
    /// Groups and proposes writes.
    Proposer => "proposer",
    /// Talks to one peer.
    Peer => "peer",
    /// Storage's writer and compaction.
    Storage => "storage",
    /// One agent's session on the server.
    Session => "session",
    /// A controller's workers.
    Controller => "controller",
    /// The scheduler's loop.
    Scheduler => "scheduler",
    /// The agent's own loops.
    Agent => "agent",
    /// One pod on a node.
    PodWorker => "pod-worker",
    /// One probe of a container.
    Probe => "probe",
    /// The node's network rules.
    Network => "network",
    /// Housekeeping: certificates, tokens, metrics.
    Housekeeping => "housekeeping",
    /// A load generator or another command's work.
    Command => "command",
}

/// Starts a task of a kind.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that spawns"
)]
pub fn spawn<F>(kind: TaskKind, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(async move {
        let guard = PanicGuard(kind);
        let output = future.await;
        std::mem::forget(guard);
        output
    })
}

/// Reports a panic that unwinds through a task. Cancelling a task drops it too, without a panic.
struct PanicGuard(TaskKind);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0.label(), "task panicked; ending the process");
            std::process::abort();
        }
    }
}
