//! The controllers' loop: changes become keys, keys become plans, plans become proposals.
//!
//! Many keys are reconciled against one snapshot and their writes go into one proposal. A key is free again only when
//! its writes are applied here, so that no reconcile misses its own earlier writes.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use kontiki_api::Kinds;
use kontiki_base::metrics::METRICS;
use kontiki_consensus::{Lane, ProposeError};
use kontiki_controllers::commit::{Stamp, draft, settle};
use kontiki_controllers::{CONTROLLERS, Plan, View, WorkKey, Write, defined};
use kontiki_state::{Event, Object, Op, OpResult, Proposal, Snapshot};

use crate::backend::Backend;
use crate::feed::{Feed, News};
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::{Ended, Options, Reign};

mod bundle;
mod prepared;

use bundle::{Bundle, Share};
use prepared::Prepared;

/// Keys reconciled against one snapshot.
const BATCH: usize = 256;
/// Proposals under way at once.
const IN_FLIGHT: usize = 4;
/// Plans that wait for admission: a webhook may take its time.
const ADMITTING: usize = 256;
/// Events in one proposal.
const EVENTS: usize = 256;

/// A controller and one of its keys.
type Job = (usize, WorkKey);

/// What became of a proposal.
struct Outcome {
    shares: Vec<Share>,
    ops: Vec<OpKind>,
    results: Result<Vec<OpResult>, ProposeError>,
}

/// All that is needed to judge a result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpKind {
    Delete,
    Other,
}

struct Loop<B> {
    backend: B,
    options: Options,
    reign: Reign,
    feed: Feed,
    /// The kinds as of the last look.
    kinds: Kinds,
    queue: Queue<Job>,
    admitting: FuturesUnordered<BoxFuture<'static, Prepared>>,
    in_flight: FuturesUnordered<BoxFuture<'static, Outcome>>,
    recorder: Recorder,
    recording: Option<BoxFuture<'static, ()>>,
    overflowed: bool,
}

/// Runs until fenced.
pub async fn run<B: Backend>(backend: B, options: Options, reign: Reign) -> Ended {
    let kinds = defined(&Kinds::built_in(), &backend.store().snapshot());
    let (feed, snapshot) = Feed::start(backend.store(), &resources(&kinds));
    let mut this = Loop {
        backend,
        options,
        reign,
        feed,
        kinds,
        queue: Queue::default(),
        admitting: FuturesUnordered::new(),
        in_flight: FuturesUnordered::new(),
        recorder: Recorder::new("kube-controller-manager"),
        recording: None,
        overflowed: false,
    };
    for (idx, controller) in CONTROLLERS.iter().enumerate() {
        for key in controller.initial() {
            this.enqueue((idx, key));
        }
    }
    this.enqueue_all(&snapshot);
    drop(snapshot);
    loop {
        this.work();
        if let Some(ended) = this.wait().await {
            return ended;
        }
    }
}

/// What controllers look at.
fn resources(kinds: &Kinds) -> Vec<Arc<str>> {
    let stored = kinds.stored().map(|kind| kind.resource().clone());
    stored.collect()
}

impl<B: Backend> Loop<B> {
    fn enqueue(&mut self, job: Job) {
        self.overflowed |= !self.queue.add(job);
    }

    fn with_view<T>(&self, snapshot: &Snapshot, look: impl FnOnce(&View<'_>) -> T) -> T {
        let settings = (self.options.settings)();
        look(&View {
            snapshot,
            now_ms: self.options.clock.unix_ms(),
            heartbeats: &*self.options.heartbeats,
            leader_since_ms: self.reign.since_ms,
            settings: &settings,
            kinds: &self.kinds,
        })
    }

    /// Takes up kinds that users define and lets go of those that are defined no more.
    fn take_kinds(&mut self) {
        let kinds = defined(&self.kinds, &self.backend.store().snapshot());
        if kinds.is_same(&self.kinds) {
            return;
        }
        let (added, snapshot) = self.feed.follow(&resources(&kinds));
        self.kinds = kinds;
        let jobs = self.with_view(&snapshot, |view| {
            let objects = added
                .iter()
                .flat_map(|resource| snapshot.list(resource, None, None));
            objects
                .flat_map(|object| concerned(view, &object))
                .collect::<Vec<_>>()
        });
        jobs.into_iter().for_each(|job| self.enqueue(job));
    }

    fn enqueue_all(&mut self, snapshot: &Snapshot) {
        let jobs = self.with_view(snapshot, |view| {
            snapshot
                .objects()
                .flat_map(|object| concerned(view, object))
                .collect::<Vec<_>>()
        });
        jobs.into_iter().for_each(|job| self.enqueue(job));
    }

    fn take_news(&mut self) {
        self.take_kinds();
        let events = match self.feed.take() {
            News::Relist(snapshot) => {
                self.enqueue_all(&snapshot);
                return;
            }
            News::Events(events) if events.is_empty() => return,
            News::Events(events) => events,
        };
        let snapshot = self.backend.store().snapshot();
        let jobs = self.with_view(&snapshot, |view| {
            events
                .iter()
                .flat_map(|event| touched(view, event))
                .collect::<Vec<_>>()
        });
        jobs.into_iter().for_each(|job| self.enqueue(job));
    }

    /// Starts what can be started.
    fn work(&mut self) {
        self.take_news();
        self.queue.tick(self.options.clock.monotonic());
        if std::mem::take(&mut self.overflowed) {
            let snapshot = self.backend.store().snapshot();
            self.enqueue_all(&snapshot);
        }
        self.take_admitted();
        while self.in_flight.len() < IN_FLIGHT
            && self.admitting.len() < ADMITTING
            && self.queue.has_ready()
        {
            self.reconcile_batch();
            self.take_admitted();
        }
        self.flush_events();
    }

    fn reconcile_batch(&mut self) {
        let snapshot = self.backend.store().snapshot();
        let jobs: Vec<Job> = std::iter::from_fn(|| self.queue.take())
            .take(BATCH)
            .collect();
        let plans = self.with_view(&snapshot, |view| {
            let reconcile = |job: Job| {
                let plan = CONTROLLERS[job.0].reconcile(view, &job.1);
                (job, plan)
            };
            jobs.into_iter().map(reconcile).collect::<Vec<_>>()
        });
        let now = self.options.clock.monotonic();
        let mut bundles = [Bundle::new(Lane::System), Bundle::new(Lane::User)];
        for (job, plan) in plans {
            METRICS.reconciles_total.inc();
            match plan {
                Ok(plan) => self.carry_out(&snapshot, job, plan, &mut bundles, now),
                Err(error) => {
                    METRICS.reconcile_errors_total.inc();
                    let controller = CONTROLLERS[job.0].name();
                    tracing::warn!(controller, key = ?job.1, %error, "reconcile failed");
                    self.queue.done(&job);
                    self.queue.failed(job, now);
                }
            }
        }
        bundles
            .into_iter()
            .for_each(|bundle| self.propose(bundle, false));
    }

    fn carry_out(
        &mut self,
        snapshot: &Snapshot,
        job: Job,
        plan: Plan,
        bundles: &mut [Bundle; 2],
        now: Duration,
    ) {
        if let Some(after) = plan.requeue_after {
            self.queue.add_at(job.clone(), now + after);
        }
        let component = CONTROLLERS[job.0].name();
        plan.events
            .into_iter()
            .for_each(|note| self.recorder.record(component, note));
        let status_only = plan.writes.iter().all(|write| {
            matches!(
                write,
                Write::Update {
                    status_only: true,
                    ..
                }
            )
        });
        let random = self.options.random.clone();
        let mut stamp = Stamp {
            now_ms: self.options.clock.unix_ms(),
            bits: &mut || random.bits(),
        };
        let manager = CONTROLLERS[job.0].field_manager();
        let prepared = Prepared {
            drafts: draft(&self.kinds, snapshot, plan.writes, manager, &mut stamp),
            job,
            status_only,
            atomic: plan.atomic,
            extra: Vec::new(),
        };
        if prepared.needs(&*self.options.admission) {
            let admission = self.options.admission.clone();
            self.admitting.push(Box::pin(prepared.admit(admission)));
        } else {
            self.carry_on(snapshot, prepared, bundles, now);
        }
    }

    /// Proposes the plans that admission is through with.
    fn take_admitted(&mut self) {
        let mut bundles = [Bundle::new(Lane::System), Bundle::new(Lane::User)];
        let now = self.options.clock.monotonic();
        while self.in_flight.len() < IN_FLIGHT
            && let Some(Some(prepared)) = self.admitting.next().now_or_never()
        {
            let snapshot = self.backend.store().snapshot();
            self.carry_on(&snapshot, prepared, &mut bundles, now);
        }
        bundles
            .into_iter()
            .for_each(|bundle| self.propose(bundle, false));
    }

    fn carry_on(
        &mut self,
        snapshot: &Snapshot,
        prepared: Prepared,
        bundles: &mut [Bundle; 2],
        now: Duration,
    ) {
        let (job, extra) = (prepared.job, prepared.extra);
        let component = CONTROLLERS[job.0].name();
        let manager = CONTROLLERS[job.0].field_manager();
        let now_ms = self.options.clock.unix_ms();
        let mut committed = settle(&self.kinds, snapshot, prepared.drafts, manager, now_ms);
        for why in &committed.refused {
            tracing::debug!(controller = component, key = ?job.1, %why, "write refused");
        }
        std::mem::take(&mut committed.complaints)
            .into_iter()
            .for_each(|note| self.recorder.record(component, note));
        if committed.ops.is_empty() {
            self.queue.done(&job);
            if committed.refused.is_empty() {
                self.queue.succeeded(&job);
            } else {
                METRICS.reconcile_errors_total.inc();
                self.queue.failed(job, now);
            }
            return;
        }
        // What admission adds holds for just these writes.
        let atomic = prepared.atomic || !extra.is_empty();
        committed.ops.extend(extra);
        let bundle = &mut bundles[usize::from(!prepared.status_only)];
        if atomic {
            let mut alone = Bundle::new(bundle.lane);
            alone.push(job, committed);
            self.propose(alone, true);
            return;
        }
        if !bundle.has_room(&committed) {
            let full = std::mem::replace(bundle, Bundle::new(bundle.lane));
            self.propose(full, false);
        }
        bundles[usize::from(!prepared.status_only)].push(job, committed);
    }

    fn propose(&mut self, bundle: Bundle, atomic: bool) {
        if bundle.ops.is_empty() {
            return;
        }
        let kind = |op: &Op| match op {
            Op::Delete { .. } => OpKind::Delete,
            _ => OpKind::Other,
        };
        let ops = bundle.ops.iter().map(kind).collect();
        let proposal = if atomic {
            Proposal::transaction(bundle.ops)
        } else {
            Proposal::batch(bundle.ops)
        };
        let proposing = self
            .backend
            .propose(proposal.fenced(self.reign.term), bundle.lane);
        let shares = bundle.shares;
        self.in_flight.push(Box::pin(async move {
            Outcome {
                shares,
                ops,
                results: proposing.await,
            }
        }));
    }

    /// Sleeps until something changes, a deadline comes, or a proposal is through.
    async fn wait(&mut self) -> Option<Ended> {
        let now = self.options.clock.monotonic();
        let due = self.queue.next_due().map(|due| due.saturating_sub(now));
        let sleep = tokio::time::sleep(due.unwrap_or(Duration::from_secs(3600)));
        let recording = self.recording.is_some();
        tokio::select! {
            Some(outcome) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                return self.settle(outcome);
            }
            Some(prepared) = self.admitting.next(), if self.in_flight.len() < IN_FLIGHT => {
                // Back among those that are ready, to share a proposal with them.
                self.admitting.push(Box::pin(std::future::ready(prepared)));
            }
            () = async { if let Some(recording) = &mut self.recording { recording.await } },
                if recording => self.recording = None,
            () = self.feed.changed() => {}
            () = sleep => {}
        }
        None
    }

    fn settle(&mut self, outcome: Outcome) -> Option<Ended> {
        let now = self.options.clock.monotonic();
        let results = match outcome.results {
            Ok(results) => results,
            Err(error) => {
                tracing::debug!(%error, "proposal of controllers without result");
                for share in outcome.shares {
                    self.queue.done(&share.job);
                    self.queue.failed(share.job, now);
                }
                return None;
            }
        };
        if results
            .iter()
            .any(|result| matches!(result, OpResult::Fenced { .. }))
        {
            METRICS.fenced_total.inc();
            return Some(Ended::Fenced);
        }
        for share in outcome.shares {
            let good = |idx: usize| match results.get(idx) {
                Some(OpResult::Done { .. }) => true,
                Some(OpResult::NotFound) => outcome.ops[idx] == OpKind::Delete,
                _ => false,
            };
            let component = CONTROLLERS[share.job.0].name();
            let all_good = !share.refused && share.ops.clone().all(good);
            for (idx, note) in share.announced {
                if good(share.ops.start + idx) {
                    self.recorder.record(component, note);
                }
            }
            self.queue.done(&share.job);
            if all_good {
                self.queue.succeeded(&share.job);
            } else {
                METRICS.reconcile_errors_total.inc();
                self.queue.failed(share.job, now);
            }
        }
        None
    }

    /// Events wait for nobody and nobody waits for events: one proposal at a time, lost if refused.
    fn flush_events(&mut self) {
        if self.recording.is_some() || self.recorder.is_empty() {
            return;
        }
        let snapshot = self.backend.store().snapshot();
        let random = self.options.random.clone();
        let mut uid = || uid(&*random);
        let now_ms = self.options.clock.unix_ms();
        let ops = self.recorder.take(&snapshot, now_ms, EVENTS, &mut uid);
        if ops.is_empty() {
            return;
        }
        let proposal = Proposal::batch(ops).fenced(self.reign.term);
        let proposing = self.backend.propose(proposal, Lane::Events);
        self.recording = Some(Box::pin(async move {
            if let Err(error) = proposing.await {
                tracing::debug!(%error, "events lost");
            }
        }));
    }
}

/// A uid for an Event.
pub fn uid(random: &dyn kontiki_base::random::Random) -> String {
    let bits = (u128::from(random.bits()) << 64) | u128::from(random.bits());
    uuid::Builder::from_random_bytes(bits.to_be_bytes())
        .into_uuid()
        .to_string()
}

/// Keys that an object concerns.
fn concerned(view: &View<'_>, object: &Object) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (idx, controller) in CONTROLLERS.iter().enumerate() {
        for watch in controller.watches() {
            if watch.resource.is_empty() || watch.resource == &*object.key.resource {
                jobs.extend((watch.map)(view, object).into_iter().map(|key| (idx, key)));
            }
        }
    }
    jobs
}

/// Keys that a change concerns: by what the object is, and by what it was if that differs to them.
fn touched(view: &View<'_>, event: &Event) -> Vec<Job> {
    let mut jobs = concerned(view, &event.object);
    if let Some(previous) = event
        .previous
        .as_ref()
        .filter(|it| it.header != event.object.header)
    {
        jobs.extend(concerned(view, previous));
    }
    jobs
}

#[cfg(test)]
mod tests;
