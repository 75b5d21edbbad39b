//! Priority and fairness: requests are told apart by FlowSchemas, and each PriorityLevelConfiguration has its share of
//! the seats, so that no client and no kind of client keeps the others from being served (upstream `flowcontrol`).
//!
//! ```text
//! request ─▶ schema (`kontiki_api::flowcontrol::classify`) ─▶ level ─┬─ exempt ────────────────────────▶ served
//!                                                                    ├─ a seat is free ────────────────▶ served
//!                                                                    ├─ a queue of the flow has room ─▶ waits for a seat
//!                                                                    └─ else ─────────────────────────▶ 429, Retry-After
//! ```
//! One lock over all levels, held for some additions: with thousands of requests a second it is not contended, and a
//! seat that a level lends is there for others at once. Not here: what a long-running request does after its start.

mod config;
mod levels;
mod queues;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kontiki_api::request_info::{RequestInfo, Subject};
use kontiki_base::clock::SharedClock;
use kontiki_base::metrics::Metric;
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Interest, Store, Subscription};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::audit::resource_of;
use crate::options::{Context, Target};
use crate::server::ApiServer;
use config::{Config, Flow};
use levels::{Levels, Limit, Seated};

/// Longest that a request waits for a seat: a quarter of its time, as upstream.
const QUEUE_WAIT: Duration = Duration::from_secs(15);
/// Objects that a list serves per seat that it takes, and the most that it takes (upstream `DefaultWorkEstimatorConfig`).
const OBJECTS_PER_SEAT: usize = 100;
const MAX_SEATS: u32 = 10;

/// The seats of one replica.
pub(crate) struct Fairness {
    is_stale: Arc<AtomicBool>,
    config: RwLock<Arc<Config>>,
    levels: Mutex<Levels<Waiter>>,
    clock: SharedClock,
    next_ticket: std::sync::atomic::AtomicU64,
    _subscriptions: Vec<Subscription>,
}

type Waiter = oneshot::Sender<Seat>;

/// A place among the requests that are served; free again when this is dropped.
pub struct Seat {
    fairness: Arc<Fairness>,
    level_idx: usize,
    width: u32,
    /// The queue that it waited in, and since when it is served.
    queue: Option<(usize, Duration)>,
    cells: Option<[Arc<Metric>; 2]>,
}

/// Where a request belongs, as its answer tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belonging {
    /// Uid of its FlowSchema; empty where that is not stored yet.
    pub schema_uid: Arc<str>,
    /// Uid of its PriorityLevelConfiguration.
    pub level_uid: Arc<str>,
}

impl Fairness {
    /// Follows a store.
    pub(crate) fn new(store: &Store, n_seats: u32, clock: SharedClock) -> Arc<Self> {
        let is_stale = Arc::new(AtomicBool::new(true));
        let follow = |resource: &str| {
            let flag = Arc::clone(&is_stale);
            let waker = Arc::new(move || flag.store(true, Ordering::Release));
            store.subscribe(&Interest::resource(resource), waker)
        };
        let subscriptions = [config::SCHEMAS, config::LEVELS].map(follow);
        Arc::new(Self {
            is_stale,
            config: RwLock::default(),
            levels: Mutex::new(Levels::new(n_seats)),
            clock,
            next_ticket: std::sync::atomic::AtomicU64::new(0),
            _subscriptions: subscriptions.into(),
        })
    }

    fn current(&self, store: &Store) -> Arc<Config> {
        if !self.is_stale.load(Ordering::Acquire) {
            return Arc::clone(&self.config.read());
        }
        let mut config = self.config.write();
        if self.is_stale.swap(false, Ordering::AcqRel) {
            let mut levels = self.levels.lock();
            *config = Arc::new(Config::of(&store.snapshot(), &mut levels));
        }
        Arc::clone(&config)
    }

    /// Seats a request, at once or after a wait, or refuses it. None for a request that needs no seat.
    pub(crate) async fn take(
        self: &Arc<Self>,
        store: &Store,
        request: &RequestInfo<'_>,
        width: u32,
    ) -> (Belonging, Result<Option<Seat>, Status>) {
        let config = self.current(store);
        let Some(flow) = config.flow_of(request) else {
            return (Belonging::default(), Ok(None));
        };
        let belonging = flow.belonging.clone();
        if flow.limit == Limit::Exempt {
            flow.dispatched.inc();
            return (belonging, Ok(None));
        }
        let seat = self.seat(flow, request, width).await;
        let seat = seat.map(|seat| {
            flow.dispatched.inc();
            Some(seat)
        });
        (belonging, seat.map_err(|reason| refused(flow, reason)))
    }

    async fn seat(
        self: &Arc<Self>,
        flow: &Flow,
        request: &RequestInfo<'_>,
        width: u32,
    ) -> Result<Seat, &'static str> {
        let level_idx = flow.level_idx;
        let waiting = {
            let mut levels = self.levels.lock();
            let width = levels.fitting(level_idx, width);
            if levels.take(level_idx, width) {
                drop(levels);
                flow.waits[1].observe(Duration::ZERO);
                return Ok(self.counted(level_idx, width, None, flow));
            }
            if flow.limit == Limit::Reject {
                return Err("concurrency-limit");
            }
            let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
            let (sender, receiver) = oneshot::channel();
            let hash = hash_of(&flow.schema.name, flow.schema.flow(request));
            let queued = levels.wait(level_idx, hash, ticket, width, sender);
            queued.map_err(|_| "queue-full")?;
            flow.inqueue.inc();
            Waiting {
                fairness: self,
                level_idx,
                ticket,
                inqueue: &flow.inqueue,
                receiver,
            }
        };
        let since = self.clock.monotonic();
        let seat = waiting.seat().await;
        let waited = self.clock.monotonic().saturating_sub(since);
        flow.waits[usize::from(seat.is_some())].observe(waited);
        let mut seat = seat.ok_or("time-out")?;
        seat.count(flow);
        Ok(seat)
    }

    fn counted(
        self: &Arc<Self>,
        level_idx: usize,
        width: u32,
        queue: Option<(usize, Duration)>,
        flow: &Flow,
    ) -> Seat {
        let mut seat = Seat {
            fairness: Arc::clone(self),
            level_idx,
            width,
            queue,
            cells: None,
        };
        seat.count(flow);
        seat
    }

    /// Seats who waits, after seats became free. Not under the lock: who has left gives his seat back at once.
    fn wake(self: &Arc<Self>, seated: Vec<Seated<Waiter>>) {
        if seated.is_empty() {
            return;
        }
        let now = self.clock.monotonic();
        for one in seated {
            let seat = Seat {
                fairness: Arc::clone(self),
                level_idx: one.level_idx,
                width: one.width,
                queue: Some((one.queue_idx, now)),
                cells: None,
            };
            drop(one.item.send(seat));
        }
    }
}

impl Seat {
    fn count(&mut self, flow: &Flow) {
        flow.executing.inc();
        flow.seats.add(u64::from(self.width));
        self.cells = Some([Arc::clone(&flow.executing), Arc::clone(&flow.seats)]);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some([executing, seats]) = &self.cells {
            executing.sub(1);
            seats.sub(u64::from(self.width));
        }
        let queue = self.queue.map(|(queue_idx, since)| {
            let took = self.fairness.clock.monotonic().saturating_sub(since);
            (
                queue_idx,
                u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            )
        });
        let seated = {
            let mut levels = self.fairness.levels.lock();
            levels.give(self.level_idx, self.width, queue);
            levels.dispatch()
        };
        self.fairness.wake(seated);
    }
}

/// A request in a queue; it is taken out when this is dropped.
struct Waiting<'a> {
    fairness: &'a Arc<Fairness>,
    level_idx: usize,
    ticket: u64,
    inqueue: &'a Metric,
    receiver: oneshot::Receiver<Seat>,
}

impl Waiting<'_> {
    async fn seat(mut self) -> Option<Seat> {
        let seat = tokio::time::timeout(QUEUE_WAIT, &mut self.receiver).await;
        seat.ok()?.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inqueue.sub(1);
        // A seat that is on its way goes back with the receiver.
        self.fairness
            .levels
            .lock()
            .leave(self.level_idx, self.ticket);
    }
}

fn hash_of(schema: &str, flow: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schema, flow).hash(&mut hasher);
    hasher.finish()
}

fn refused(flow: &Flow, reason: &'static str) -> Status {
    flow.rejected(reason).inc();
    let message = "too many requests, please try again later";
    Status::new(Reason::TooManyRequests, message).with_retry_after(1)
}

impl ApiServer {
    /// Waits for a seat for a request, or refuses it; none where it needs no seat. The page size is a list's.
    pub async fn take_seat(
        &self,
        context: &Context,
        verb: &str,
        path: &str,
        target: Option<&Target>,
        page_size: Option<u64>,
    ) -> (Belonging, Result<Option<Seat>, Status>) {
        let width = match target {
            Some(target) if verb == "list" => {
                let n_objects = self.store().snapshot().count(target.kind.resource());
                width_of_list(n_objects, page_size)
            }
            _ => 1,
        };
        let request = RequestInfo {
            subject: Some(Subject {
                name: &context.user.name,
                groups: &context.user.groups,
            }),
            verb,
            path,
            resource: target.map(resource_of),
        };
        let fairness = self.0.fairness.get_or_init(|| {
            let options = self.options();
            Fairness::new(
                self.store(),
                options.requests_in_flight,
                options.clock.clone(),
            )
        });
        fairness.take(self.store(), &request, width).await
    }
}

/// Seats that a list of so many objects takes.
pub(crate) fn width_of_list(n_objects: usize, limit: Option<u64>) -> u32 {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let served = limit
        .filter(|limit| *limit > 0)
        .map_or(n_objects, |it| it.min(n_objects));
    let seats = u32::try_from(served.div_ceil(OBJECTS_PER_SEAT)).unwrap_or(MAX_SEATS);
    seats.clamp(1, MAX_SEATS)
}

#[cfg(test)]
mod tests;
