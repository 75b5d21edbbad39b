//! The scheduler's loop: changes of nodes and pods in, hundreds of bindings in one proposal out.
//!
//! The scheduler reserves what it decides, so the next decisions are made while earlier bindings are on their way.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kontiki_base::limits;
use kontiki_base::metrics::METRICS;
use kontiki_consensus::{Lane, ProposeError};
use kontiki_controllers::EventNote;
use kontiki_scheduler::{Decision, Scheduler};
use kontiki_state::{EventKind, Object, OpResult, Proposal, Snapshot};

use crate::backend::Backend;
use crate::controllers_loop::uid;
use crate::feed::{Feed, News};
use crate::placement::{FIELD_MANAGER, place};
use crate::recorder::Recorder;
use crate::{Ended, Options, Reign};

/// Component of the scheduler's events.
const COMPONENT: &str = "default-scheduler";
/// Proposals under way at once.
const IN_FLIGHT: usize = 3;
/// Events in one proposal.
const EVENTS: usize = 256;
const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";
/// What is looked at; pods last, for they need the rest.
const RESOURCES: [&str; 6] = ["nodes", "namespaces", CLASSES, VOLUMES, CLAIMS, "pods"];

/// One decision on its way.
struct Sent {
    /// Uid, for bindings: the scheduler is told if it fails.
    bound: Option<Arc<str>>,
    ops: std::ops::Range<usize>,
    notes: Vec<EventNote>,
}

type Outcome = (Vec<Sent>, Result<Vec<OpResult>, ProposeError>);

struct Loop<B> {
    backend: B,
    options: Options,
    reign: Reign,
    feed: Feed,
    scheduler: Scheduler,
    in_flight: FuturesUnordered<BoxFuture<'static, Outcome>>,
    recorder: Recorder,
    recording: Option<BoxFuture<'static, ()>>,
}

/// Runs until fenced.
pub async fn run<B: Backend>(backend: B, options: Options, reign: Reign) -> Ended {
    let resources = RESOURCES.map(Arc::from);
    let (feed, snapshot) = Feed::start(backend.store(), &resources);
    let mut this = Loop {
        backend,
        options,
        reign,
        feed,
        scheduler: Scheduler::new(),
        in_flight: FuturesUnordered::new(),
        recorder: Recorder::new(FIELD_MANAGER),
        recording: None,
    };
    this.load(&snapshot);
    drop(snapshot);
    loop {
        this.take_news();
        this.decide();
        this.flush_events();
        if let Some(ended) = this.wait().await {
            return ended;
        }
    }
}

impl<B: Backend> Loop<B> {
    fn load(&mut self, snapshot: &Snapshot) {
        for resource in RESOURCES {
            for object in snapshot.list(resource, None, None) {
                self.upsert(&object);
            }
        }
    }

    fn upsert(&mut self, object: &Object) {
        let now_ms = self.options.clock.unix_ms();
        let scheduler = &mut self.scheduler;
        let told = match &*object.key.resource {
            "pods" => object
                .typed::<Pod>()
                .map(|pod| scheduler.pod_upserted(pod, now_ms)),
            "nodes" => object
                .typed::<Node>()
                .map(|node| scheduler.node_upserted(node, now_ms)),
            CLAIMS => object.typed::<PersistentVolumeClaim>().map(|claim| {
                let (namespace, name) = (&object.key.namespace, &object.key.name);
                scheduler.claim_changed(namespace, name, Some(claim), now_ms);
            }),
            VOLUMES => object.typed::<PersistentVolume>().map(|volume| {
                scheduler.volume_changed(&object.key.name, Some(volume), now_ms);
            }),
            CLASSES => object.typed::<StorageClass>().map(|class| {
                scheduler.class_changed(&object.key.name, Some(class), now_ms);
            }),
            _ => object.typed::<Namespace>().map(|namespace| {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                scheduler.namespace_upserted(&object.key.name, labels);
            }),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "the scheduler leaves an object out");
        }
    }

    fn take_news(&mut self) {
        let events = match self.feed.take() {
            News::Events(events) => events,
            News::Relist(snapshot) => {
                self.scheduler = Scheduler::new();
                self.load(&snapshot);
                return;
            }
        };
        for event in events {
            let object = &event.object;
            match (event.kind, &*object.key.resource) {
                (EventKind::Deleted, "pods") => {
                    let now_ms = self.options.clock.unix_ms();
                    self.scheduler.pod_removed(&object.header.uid, now_ms);
                }
                (EventKind::Deleted, CLAIMS) => {
                    let (now_ms, key) = (self.options.clock.unix_ms(), &object.key);
                    self.scheduler
                        .claim_changed(&key.namespace, &key.name, None, now_ms);
                }
                (EventKind::Deleted, VOLUMES) => {
                    let now_ms = self.options.clock.unix_ms();
                    self.scheduler
                        .volume_changed(&object.key.name, None, now_ms);
                }
                (EventKind::Deleted, CLASSES) => {
                    let now_ms = self.options.clock.unix_ms();
                    self.scheduler.class_changed(&object.key.name, None, now_ms);
                }
                (EventKind::Deleted, "nodes") => self.scheduler.node_removed(&object.key.name),
                (EventKind::Deleted, _) => {}
                _ => self.upsert(object),
            }
        }
    }

    fn decide(&mut self) {
        while self.in_flight.len() < IN_FLIGHT {
            let now_ms = self.options.clock.unix_ms();
            let decisions = self
                .scheduler
                .schedule(now_ms, limits::BINDINGS_PER_PROPOSAL);
            METRICS
                .pods_unschedulable
                .set(self.scheduler.n_unschedulable() as u64);
            if decisions.is_empty() {
                return;
            }
            self.send(&decisions, now_ms);
        }
    }

    fn send(&mut self, decisions: &[Decision], now_ms: u64) {
        let snapshot = self.backend.store().snapshot();
        let mut ops = Vec::new();
        let mut sent = Vec::new();
        for decision in decisions {
            let placement = place(&snapshot, decision, now_ms);
            let bound = match decision {
                Decision::Bind { pod, .. } => Some(pod.uid.clone()),
                Decision::Unschedulable { .. } => None,
            };
            if placement.ops.is_empty() {
                // Gone or bound meanwhile: the news will tell; until then the room is free again.
                bound
                    .iter()
                    .for_each(|uid| self.scheduler.bind_failed(uid, now_ms));
                continue;
            }
            let start = ops.len();
            ops.extend(placement.ops);
            if placement.waits {
                // Its volumes come first; where they are, the pod is tried again.
                bound
                    .iter()
                    .for_each(|uid| self.scheduler.bind_failed(uid, now_ms));
            }
            sent.push(Sent {
                bound: bound.filter(|_| !placement.waits),
                ops: start..ops.len(),
                notes: placement.notes,
            });
        }
        if ops.is_empty() {
            return;
        }
        let proposal = Proposal::batch(ops).fenced(self.reign.term);
        let proposing = self.backend.propose(proposal, Lane::System);
        self.in_flight
            .push(Box::pin(async move { (sent, proposing.await) }));
    }

    async fn wait(&mut self) -> Option<Ended> {
        let now_ms = self.options.clock.unix_ms();
        let due = self
            .scheduler
            .next_deadline_ms()
            .map(|due| due.saturating_sub(now_ms));
        let sleep = tokio::time::sleep(Duration::from_millis(due.unwrap_or(3_600_000)));
        let recording = self.recording.is_some();
        tokio::select! {
            Some((sent, results)) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                return self.settle(sent, results);
            }
            () = async { if let Some(recording) = &mut self.recording { recording.await } },
                if recording => self.recording = None,
            () = self.feed.changed() => {}
            () = sleep, if !self.scheduler.has_work() => {}
        }
        None
    }

    fn settle(
        &mut self,
        sent: Vec<Sent>,
        results: Result<Vec<OpResult>, ProposeError>,
    ) -> Option<Ended> {
        self.take_news(); // what was applied is known before what failed is tried again
        let now_ms = self.options.clock.unix_ms();
        let results = results.unwrap_or_else(|error| {
            tracing::debug!(%error, "bindings without result");
            Vec::new()
        });
        if results
            .iter()
            .any(|result| matches!(result, OpResult::Fenced { .. }))
        {
            METRICS.fenced_total.inc();
            return Some(Ended::Fenced);
        }
        for one in sent {
            let done = one
                .ops
                .clone()
                .all(|idx| results.get(idx).is_some_and(OpResult::is_done));
            if done {
                METRICS.bindings_total.add(u64::from(one.bound.is_some()));
                one.notes
                    .into_iter()
                    .for_each(|note| self.recorder.record(COMPONENT, note));
            } else if let Some(uid) = &one.bound {
                self.scheduler.bind_failed(uid, now_ms);
            }
        }
        None
    }

    fn flush_events(&mut self) {
        if self.recording.is_some() || self.recorder.is_empty() {
            return;
        }
        let snapshot = self.backend.store().snapshot();
        let random = self.options.random.clone();
        let now_ms = self.options.clock.unix_ms();
        let ops = self
            .recorder
            .take(&snapshot, now_ms, EVENTS, &mut || uid(&*random));
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
