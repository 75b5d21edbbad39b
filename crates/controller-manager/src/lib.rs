//! Runs the controllers and the scheduler on the leader, and nowhere else.
//!
//! Leadership starts the two loops and its loss drops them in mid-step. Everything that they propose carries the term
//! in which it was computed: what a deposed leader still has under way is refused by apply.
//!
//! Deliberately absent: what to do (`kontiki-controllers`, `kontiki-scheduler`); timers that poll: the loops sleep
//! until the store changes or a deadline comes.

mod backend;
mod controllers_loop;
mod feed;
mod placement;
mod queue;
mod recorder;
mod scheduler_loop;

use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_base::clock::SharedClock;
use kontiki_base::random::Random;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_consensus::{Consensus, Leadership};
use kontiki_controllers::{Settings, Write};
use kontiki_state::{Op, Term};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use backend::Backend;

/// When each node was last heard of, in Unix milliseconds.
pub type Heartbeats = Arc<dyn Fn(&str) -> Option<u64> + Send + Sync>;

/// Admission of what controllers write, by the API server's plugins.
pub trait Admission: Send + Sync {
    /// Whether any plugin looks at such a write. Cheap.
    fn handles(&self, controller: &str, write: &Write) -> bool;

    /// Lets a write through, perhaps changed, or says why not. Operations that belong into the same transaction are
    /// added to `ops`, which all writes of a plan share.
    fn admit<'a>(
        &'a self,
        controller: &'a str,
        write: &'a mut Write,
        ops: &'a mut Vec<Op>,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Nothing stands between controllers and the store: for tests.
pub struct Unadmitted;

impl Admission for Unadmitted {
    fn handles(&self, _: &str, _: &Write) -> bool {
        false
    }

    fn admit<'a>(
        &'a self,
        _: &'a str,
        _: &'a mut Write,
        _: &'a mut Vec<Op>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the loops need besides consensus.
#[derive(Clone)]
pub struct Options {
    /// Time.
    pub clock: SharedClock,
    /// Randomness, for uids and generated names.
    pub random: Arc<dyn Random>,
    /// Facts of the cluster; asked before each step, as members come and go.
    pub settings: Arc<dyn Fn() -> Settings + Send + Sync>,
    /// Heartbeats, from the dispatcher.
    pub heartbeats: Heartbeats,
    /// What stands between controllers and the store.
    pub admission: Arc<dyn Admission>,
}

/// One term of leadership.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reign {
    pub(crate) term: Term,
    pub(crate) since_ms: u64,
}

/// Why a loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Apply refused our term: somebody else leads.
    Fenced,
}

/// Starts the manager; it ends when consensus does.
pub fn start(consensus: Consensus, options: Options) -> JoinHandle<()> {
    let leadership = consensus.leadership();
    spawn(TaskKind::Controller, run(consensus, leadership, options))
}

async fn run<B: Backend>(
    backend: B,
    mut leadership: watch::Receiver<Leadership>,
    options: Options,
) {
    loop {
        let now = *leadership.borrow_and_update();
        if now.is_leader {
            let reign = Reign {
                term: now.term,
                since_ms: options.clock.unix_ms(),
            };
            tracing::info!(term = now.term, "leading: controllers and scheduler start");
            tokio::select! {
                () = reign_over(&backend, &options, reign) => {}
                () = deposed(&mut leadership, now.term) => {}
            }
            tracing::info!(term = now.term, "controllers and scheduler stopped");
        }
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

/// Runs both loops until one is fenced. They are tasks of their own, so that a long scheduling step does not hold the
/// controllers up; dropping this ends both.
async fn reign_over<B: Backend>(backend: &B, options: &Options, reign: Reign) {
    let controllers = controllers_loop::run(backend.clone(), options.clone(), reign);
    let scheduler = scheduler_loop::run(backend.clone(), options.clone(), reign);
    let mut controllers = AbortOnDrop(spawn(TaskKind::Controller, controllers));
    let mut scheduler = AbortOnDrop(spawn(TaskKind::Scheduler, scheduler));
    tokio::select! {
        _ = &mut controllers.0 => {}
        _ = &mut scheduler.0 => {}
    }
}

struct AbortOnDrop(JoinHandle<Ended>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn deposed(leadership: &mut watch::Receiver<Leadership>, term: Term) {
    loop {
        if leadership.changed().await.is_err() {
            return;
        }
        let now = *leadership.borrow();
        if !now.is_leader || now.term != term {
            leadership.mark_changed(); // the caller looks at it again
            return;
        }
    }
}
