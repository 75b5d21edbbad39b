//! For tests: replicas that share one store in memory, and an agent that speaks the protocol by hand.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kontiki_base::limits;
use kontiki_consensus::{
    CallError, CallHandler, CallStream, Lane, Leadership, Member, ProposeError, ReadError,
    ReplicaId,
};
use kontiki_proto::node::session_request::Message as ToServer;
use kontiki_proto::node::session_response::Message as ToAgent;
use kontiki_proto::node::{Assignment, Hello, SessionRequest, SessionResponse};
use kontiki_state::{Command, Object, Op, OpResult, Proposal, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::write::{create, kind, update};
use crate::{Backend, Dispatcher, Options, session};

type Handlers = Mutex<HashMap<(ReplicaId, &'static str), Arc<dyn CallHandler>>>;

/// What the replicas of a test share.
pub(crate) struct World {
    pub(crate) store: Store,
    handlers: Handlers,
    /// Errors that the next proposals meet.
    pub(crate) errors: Mutex<VecDeque<ProposeError>>,
    /// Run just before the next proposal is applied: another writer that comes first.
    pub(crate) before: Mutex<Option<Op>>,
    leadership: watch::Sender<Leadership>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let leadership = Leadership {
            term: 1,
            leader: Some(1),
            is_leader: false,
        };
        let world = Arc::new(Self {
            store: Store::default(),
            handlers: Mutex::default(),
            errors: Mutex::default(),
            before: Mutex::default(),
            leadership: watch::Sender::new(leadership),
        });
        world.put("namespaces", "", "default", json!({}));
        world
    }

    pub(crate) fn replica(self: &Arc<Self>, id: ReplicaId) -> Arc<Dispatcher> {
        Dispatcher::new(
            Replica {
                id,
                world: Arc::clone(self),
            },
            Options::default(),
        )
    }

    fn apply(&self, proposal: Proposal) -> Vec<OpResult> {
        let index = self.store.snapshot().index() + 1;
        let applied = self.store.apply(
            index,
            1,
            &Command::Batch {
                proposals: vec![proposal],
            },
        );
        self.store.validate().unwrap();
        applied.results.into_iter().next().unwrap()
    }

    pub(crate) fn op(&self, op: Op) {
        assert!(self.apply(Proposal::batch(vec![op]))[0].is_done());
    }

    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.store.snapshot().find(resource, namespace, name)
    }

    /// Creates an object, or merges `fields` into it (top level).
    pub(crate) fn put(&self, resource: &str, namespace: &str, name: &str, fields: Value) {
        let kind = kind(resource);
        let old = self.get(resource, namespace, name);
        let mut value = old.as_ref().map_or_else(
            || {
                let mut metadata = json!({"name": name, "uid": format!("uid-of-{name}")});
                if !namespace.is_empty() {
                    metadata["namespace"] = namespace.into();
                }
                let (version, kind) = (kind.api_version(), kind.kind());
                json!({"apiVersion": version, "kind": kind, "metadata": metadata})
            },
            |old| old.value(),
        );
        for (field, content) in fields.as_object().unwrap() {
            match (field.as_str(), content) {
                ("metadata", Value::Object(content)) => {
                    content
                        .iter()
                        .for_each(|(k, v)| value["metadata"][k] = v.clone());
                }
                _ => value[field] = content.clone(),
            }
        }
        self.op(match old {
            Some(old) => update(kind, &old, value),
            None => create(kind, namespace, name, value),
        });
    }
}

struct Replica {
    id: ReplicaId,
    world: Arc<World>,
}

impl Backend for Replica {
    fn id(&self) -> ReplicaId {
        self.id
    }

    fn cluster_id(&self) -> String {
        "test".to_owned()
    }

    fn members(&self) -> Vec<Member> {
        let member = |id: ReplicaId| Member {
            id,
            name: format!("s{id}"),
            peer_endpoint: String::new(),
            api_endpoint: format!("s{id}:6443"),
            voter: true,
            leader: id == 1,
            matched_index: None,
        };
        vec![member(1), member(2)]
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.world.leadership.subscribe()
    }

    fn store(&self) -> &Store {
        &self.world.store
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        async { Ok(()) }.boxed()
    }

    fn propose(
        &self,
        proposal: Proposal,
        _: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>> {
        async move {
            if let Some(error) = self.world.errors.lock().pop_front() {
                return Err(error);
            }
            if let Some(op) = self.world.before.lock().take() {
                self.world.op(op);
            }
            Ok(self.world.apply(proposal))
        }
        .boxed()
    }

    fn call(
        &self,
        to: ReplicaId,
        method: &'static str,
        payload: Bytes,
    ) -> BoxFuture<'_, Result<CallStream, CallError>> {
        let handler = self.world.handlers.lock().get(&(to, method)).cloned();
        let from = self.id;
        async move {
            handler
                .ok_or(CallError::UnknownReplica(to))?
                .call(from, payload)
                .await
        }
        .boxed()
    }

    fn handle_calls(&self, method: &'static str, handler: Arc<dyn CallHandler>) {
        self.world
            .handlers
            .lock()
            .insert((self.id, method), handler);
    }
}

/// An agent's end of a session.
pub(crate) struct Agent {
    to_server: mpsc::Sender<Result<SessionRequest, tonic::Status>>,
    responses: mpsc::Receiver<Result<SessionResponse, tonic::Status>>,
}

impl Agent {
    /// Opens a session with the certificate of `certified` and says Hello as `claimed`.
    pub(crate) async fn hello(dispatcher: &Dispatcher, certified: &str, claimed: &str) -> Self {
        let (to_server, requests) = mpsc::channel(16);
        let (outgoing, responses) = mpsc::channel(limits::SESSION_QUEUE);
        let incoming = ReceiverStream::new(requests).boxed();
        let inner = Arc::clone(&dispatcher.0);
        let serve = session::serve(inner, certified.to_owned(), incoming, outgoing);
        kontiki_base::task::spawn(kontiki_base::task::TaskKind::Session, serve);
        let mut agent = Self {
            to_server,
            responses,
        };
        let node = json!({
            "metadata": {"labels": {"zone": "a", "node-role.kubernetes.io/master": ""}},
            "spec": {"podCIDR": "1.2.3.0/24"},
            "status": node_status("True"),
        });
        let node_json = Bytes::from(node.to_string());
        let hello = Hello {
            node_name: claimed.to_owned(),
            node_json,
            ..Hello::default()
        };
        agent.send(ToServer::Hello(hello)).await;
        agent
    }

    /// Opens a session and reads up to the complete assignment, which it returns.
    pub(crate) async fn start(dispatcher: &Dispatcher, node: &str) -> (Self, Assignment) {
        let mut agent = Self::hello(dispatcher, node, node).await;
        assert!(matches!(agent.next().await, Ok(ToAgent::Welcome(_))));
        let complete = agent.assignment().await;
        assert!(complete.complete);
        (agent, complete)
    }

    pub(crate) async fn send(&mut self, message: ToServer) {
        let request = SessionRequest {
            message: Some(message),
        };
        self.to_server.send(Ok(request)).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<ToAgent, tonic::Status> {
        let response = self.responses.recv().await;
        response
            .unwrap_or_else(|| Err(tonic::Status::cancelled("closed")))?
            .message
            .ok_or_else(|| tonic::Status::internal("a response without a message"))
    }

    pub(crate) async fn assignment(&mut self) -> Assignment {
        match self.next().await {
            Ok(ToAgent::Assignment(assignment)) => assignment,
            other => panic!("{other:?}"),
        }
    }

    /// Reads assignments until all of `wanted` was named, in any order; `-` marks removals.
    pub(crate) async fn expect(&mut self, wanted: &[&str]) {
        let mut missing: Vec<&str> = wanted.to_vec();
        while !missing.is_empty() {
            for name in names(&self.assignment().await) {
                missing.retain(|wanted| *wanted != name);
            }
        }
    }
}

/// `resource/name` of each change; `-` before removals.
pub(crate) fn names(assignment: &Assignment) -> Vec<String> {
    let name = |change: &kontiki_proto::node::AssignmentChange| {
        let mark = if change.object_json.is_empty() {
            "-"
        } else {
            ""
        };
        format!("{mark}{}/{}", change.resource, change.name)
    };
    assignment.changes.iter().map(name).collect()
}

pub(crate) fn node_status(ready: &str) -> Value {
    json!({
        "capacity": {"cpu": "2"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.7"},
            {"type": "InternalIP", "address": "127.0.0.1"}],
        "conditions": [{"type": "Ready", "status": ready}],
    })
}
