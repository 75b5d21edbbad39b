//! What every node needs to know: Services, EndpointSlices, and of Nodes what routes are made of. Changes are read
//! and encoded once for all sessions.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_base::limits;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::node::AssignmentChange;
use kontiki_state::{
    Event, EventKind, Interest, Object, Revision, Snapshot, Store, Subscription, TooOld, Waker,
};
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};

use crate::assignment::{change, removal};

/// Resources that go to every node, in the order of a complete assignment: the largest last.
const RESOURCES: [&str; 3] = ["services", "endpointslices.discovery.k8s.io", "nodes"];
/// Batches that a session may lag behind before it is sent everything anew.
const BATCHES: usize = 256;

/// One step of the feed.
#[derive(Debug)]
pub(crate) enum Batch {
    /// These changed.
    Changes(Vec<AssignmentChange>),
    /// History was lost: start over from a snapshot.
    Reset,
}

/// The feed of one replica.
pub(crate) struct Feed {
    batches: broadcast::Sender<Arc<Batch>>,
}

impl Feed {
    /// Follows a store until the feed is dropped.
    pub(crate) fn start(store: Store) -> Self {
        let (batches, _) = broadcast::channel(BATCHES);
        let changed = Arc::new(Notify::new());
        let subscriptions = RESOURCES.map(|resource| {
            let changed = Arc::clone(&changed);
            let waker: Waker = Arc::new(move || changed.notify_one());
            store.subscribe(&Interest::resource(resource), waker)
        });
        let cursors = [store.revision(); RESOURCES.len()];
        let follower = Follower {
            store,
            cursors,
            batches: batches.clone().downgrade(),
        };
        spawn(TaskKind::Session, follower.run(changed, subscriptions));
        Self { batches }
    }

    /// Batches from now on. Take a snapshot afterwards, and skip what it already holds.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Batch>> {
        self.batches.subscribe()
    }
}

struct Follower {
    store: Store,
    cursors: [Revision; RESOURCES.len()],
    batches: broadcast::WeakSender<Arc<Batch>>,
}

impl Follower {
    async fn run(mut self, changed: Arc<Notify>, _subscriptions: [Subscription; RESOURCES.len()]) {
        loop {
            tokio::select! {
                () = changed.notified() => {}
                // The sender is gone once the dispatcher is.
                () = tokio::time::sleep(std::time::Duration::from_secs(60)) => {}
            }
            let Some(batches) = self.batches.upgrade() else {
                return;
            };
            for at in 0..RESOURCES.len() {
                while let Some(batch) = self.step(at) {
                    // No receiver: no session, nobody to tell.
                    let _ = batches.send(Arc::new(batch));
                }
            }
        }
    }

    fn step(&mut self, at: usize) -> Option<Batch> {
        let cursor = self.cursors[at];
        loop {
            match self
                .store
                .events_since(RESOURCES[at], self.cursors[at], limits::WATCH_BATCH)
            {
                Ok(events) => {
                    self.cursors[at] = events.last()?.revision;
                    debug_assert!(self.cursors[at] > cursor, "a feed only moves on");
                    let changes: Vec<_> = events.iter().filter_map(|e| of_event(e)).collect();
                    if !changes.is_empty() {
                        return Some(Batch::Changes(changes));
                    }
                }
                Err(TooOld { .. }) => {
                    self.cursors = [self.store.revision(); RESOURCES.len()];
                    return Some(Batch::Reset);
                }
            }
        }
    }
}

/// Everything that goes to every node.
pub(crate) fn complete(snapshot: &Snapshot) -> Vec<AssignmentChange> {
    let all = RESOURCES
        .iter()
        .flat_map(|resource| snapshot.list(resource, None, None));
    all.map(|object| change(&object, shared_json(&object)))
        .collect()
}

/// What an event means to nodes; none when it is no news to them.
fn of_event(event: &Event) -> Option<AssignmentChange> {
    let object = &event.object;
    if event.kind == EventKind::Deleted {
        return Some(removal(&object.key, &object.header.uid, event.revision));
    }
    let json = shared_json(object);
    let known = event.previous.as_ref().filter(|_| is_node(object));
    let news = known.is_none_or(|previous| {
        shared_json(previous) != json || previous.header.uid != object.header.uid
    });
    news.then(|| change(object, json))
}

fn is_node(object: &Object) -> bool {
    &*object.key.resource == "nodes"
}

fn shared_json(object: &Object) -> Bytes {
    if is_node(object) {
        route_json(object)
    } else {
        object.lean_json()
    }
}

struct RouteJson(Bytes);

/// Name, pod network and addresses of a node: enough for a route, and unchanged by its heartbeats and conditions.
fn route_json(node: &Object) -> Bytes {
    let make = |node: &Object| {
        let value = node.value();
        let take = |pointer: &str| value.pointer(pointer).cloned().unwrap_or(Value::Null);
        let route = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": take("/metadata/name"), "uid": take("/metadata/uid")},
            "spec": {"podCIDR": take("/spec/podCIDR"), "podCIDRs": take("/spec/podCIDRs")},
            "status": {"addresses": take("/status/addresses")},
        });
        Ok::<_, Infallible>(RouteJson(route.to_string().into()))
    };
    match node.project(make) {
        Ok(route) => route.0.clone(),
        Err(never) => match never {},
    }
}
