//! A server over a store in memory, without log, disk or peers: for the tests of this crate and of both faces.
//!
//! Proposals are applied at once, in order, by the real state machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use kontiki_api::custom::{DEFINITIONS, conditions_of};
use kontiki_api::{Subresource, kinds, stored};
use kontiki_base::clock::ManualClock;
use kontiki_base::random::SeededRandom;
use kontiki_consensus::{Lane, ProposeError, ReadError};
use kontiki_state::{Command, Key, Op, OpResult, Precondition, Proposal, Revision, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::body::Body;
use crate::options::{Context, Target, User, WriteOptions};
use crate::server::{ApiServer, Options};
use crate::write::header_of;

/// Bearer token of a user in `system:masters`.
pub const ADMIN_TOKEN: &str = "admin-token";
/// Bearer token of a user without rights.
pub const PLAIN_TOKEN: &str = "plain-token";
/// The moment at which the tests' clock stands.
pub const NOW_UNIX_MS: u64 = 1_767_225_600_000;

/// A store that applies what is proposed at once.
#[derive(Clone, Default)]
pub struct Memory(Arc<Inner>);

#[derive(Default)]
struct Inner {
    store: Store,
    index: AtomicU64,
    /// Failures that the next proposals meet.
    failures: Mutex<Vec<ProposeError>>,
    lanes: Mutex<Vec<Lane>>,
    /// What others commit before the next proposal.
    overtaking: Mutex<Option<Proposal>>,
    /// What others committed and this replica has not applied yet.
    unapplied: Mutex<Option<Proposal>>,
}

impl Memory {
    /// Lets the next proposal fail; the last one given comes first.
    pub fn fail_next(&self, error: ProposeError) {
        self.0.failures.lock().push(error);
    }

    /// Lets another's proposal win the race with the next one.
    pub fn overtake_next(&self, proposal: Proposal) {
        *self.0.overtaking.lock() = Some(proposal);
    }

    /// Lets others commit a proposal that this replica knows of after its next read barrier only.
    pub fn lag_behind(&self, proposal: Proposal) {
        *self.0.unapplied.lock() = Some(proposal);
    }

    /// The lanes of all proposals so far.
    pub fn lanes(&self) -> Vec<Lane> {
        self.0.lanes.lock().clone()
    }
}

impl Backend for Memory {
    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>> {
        Box::pin(async move {
            if let Some(error) = self.0.failures.lock().pop() {
                return Err(error);
            }
            // One at a time, as consensus does.
            let mut lanes = self.0.lanes.lock();
            lanes.push(lane);
            let index = self.0.index.fetch_add(1, Ordering::SeqCst) + 1;
            let mut proposals = vec![proposal];
            proposals.splice(0..0, self.0.overtaking.lock().take());
            let applied = self.0.store.apply(index, 1, &Command::Batch { proposals });
            drop(lanes);
            debug_assert_eq!(self.0.store.validate(), Ok(()));
            Ok(applied.results.into_iter().next_back().unwrap_or_default())
        })
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        let proposals: Vec<Proposal> = self.0.unapplied.lock().take().into_iter().collect();
        if !proposals.is_empty() {
            let index = self.0.index.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.store.apply(index, 1, &Command::Batch { proposals });
        }
        Box::pin(async { Ok(()) })
    }

    fn wait_revision(
        &self,
        revision: Revision,
        _: Duration,
    ) -> BoxFuture<'_, Result<(), ReadError>> {
        let is_there = self.0.store.revision() >= revision;
        Box::pin(async move {
            if is_there {
                Ok(())
            } else {
                Err(ReadError::Timeout)
            }
        })
    }

    fn store(&self) -> &Store {
        &self.0.store
    }
}

/// A server with the namespace `default` and its ServiceAccount, both tokens, and a clock that stands still.
pub async fn server() -> ApiServer {
    server_over(Memory::default()).await
}

/// The same over a backend that the test holds too.
pub async fn server_over(memory: Memory) -> ApiServer {
    server_with(memory, Arc::new(crate::NoNodes)).await
}

/// The same with nodes that have been heard of.
pub async fn server_with(memory: Memory, liveness: Arc<dyn crate::NodeLiveness>) -> ApiServer {
    let options = Options {
        liveness,
        ..Options::default()
    };
    server_with_options(memory, options).await
}

/// The same whose requests are recorded as the rules of an audit policy say.
pub async fn server_audited(rules: Value) -> (ApiServer, crate::audit::Entries) {
    let policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
    let policy = kontiki_api::audit::Policy::read(policy).expect("the test's policy is valid");
    let clock = ManualClock::at(NOW_UNIX_MS);
    let (auditor, entries) =
        crate::audit::Auditor::new(policy, clock, kontiki_consensus::Resources::default());
    let options = Options {
        auditor: Some(auditor),
        ..Options::default()
    };
    (
        server_with_options(Memory::default(), options).await,
        entries,
    )
}

/// The same with options of the test's own; the clock stands still and the random generator is seeded, whatever they say.
pub async fn server_with_options(memory: Memory, options: Options) -> ApiServer {
    let options = Options {
        clock: ManualClock::at(NOW_UNIX_MS),
        random: Arc::new(SeededRandom::new(7)),
        ..options
    };
    options.tokens.insert(ADMIN_TOKEN, admin().user);
    let plain = User {
        name: "jane".into(),
        ..User::default()
    };
    options.tokens.insert(PLAIN_TOKEN, plain);
    let server = ApiServer::new(memory, options);
    let namespace = json!({"metadata": {"name": "default"}});
    create(&server, "namespaces", "", namespace).await;
    // What a controller would make: pods need it.
    let account = json!({"metadata": {"name": "default"}});
    create(&server, "serviceaccounts", "default", account).await;
    server
}

/// A request of a user in `system:masters`, sent by kubectl.
pub fn admin() -> Context {
    let user = User {
        name: "kubernetes-admin".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
        ..User::default()
    };
    Context {
        user,
        timeout: None,
        user_agent: "kubectl/v1.35.0 (linux/amd64)".into(),
        audit: crate::audit::Trail::default(),
    }
}

/// A request of a user without rights.
pub fn jane() -> Context {
    let groups = vec!["system:authenticated".into()];
    let user = User {
        name: "jane".into(),
        groups,
        ..User::default()
    };
    Context { user, ..admin() }
}

/// The target of a collection; `resource` as in `deployments.apps`.
pub fn collection(resource: &str, namespace: &str) -> Target {
    Target::collection(
        kinds::by_resource(resource).expect("a known resource"),
        namespace,
    )
}

/// The target of an object.
pub fn object(resource: &str, namespace: &str, name: &str) -> Target {
    Target {
        name: name.into(),
        ..collection(resource, namespace)
    }
}

/// Creates an object and answers its tree.
pub async fn create(server: &ApiServer, resource: &str, namespace: &str, value: Value) -> Value {
    let target = collection(resource, namespace);
    let options = WriteOptions::default();
    let written = server
        .create(&admin(), &target, Body::from(value), &options)
        .await;
    written.expect("the test's object is valid").object.value()
}

/// Defines a kind and establishes it, as the controllers would.
pub async fn define(server: &ApiServer, definition: Value) {
    let mut stored = create(server, DEFINITIONS, "", definition).await;
    let status = conditions_of(&stored, &[], "2026-01-01T00:00:00Z");
    stored["status"]["acceptedNames"] = status.accepted_names;
    stored["status"]["conditions"] = status.conditions.into();
    let name = stored["metadata"]["name"].as_str().unwrap_or_default();
    let target = object(DEFINITIONS, "", name).with(Subresource::Status);
    let body = Body::from(stored.clone());
    let options = WriteOptions::default();
    let written = server.update(&admin(), &target, body, &options).await;
    written.expect("the test's definition is valid");
}

/// A pod that is valid as it is.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "nginx"}]},
    })
}

/// A deployment that is valid as it is.
pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "nginx"}]},
            },
        },
    })
}

/// The creation of an object, as it stands in a proposal.
pub fn creation(resource: &str, namespace: &str, mut value: Value) -> Op {
    let target = collection(resource, namespace);
    value["apiVersion"] = target.kind.api_version().into();
    value["kind"] = target.kind.kind().into();
    if !namespace.is_empty() {
        value["metadata"]["namespace"] = namespace.into();
    }
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    Op::Create {
        key: Key::new(target.kind.resource().clone(), namespace, name),
        header: header_of(&target.kind, &value),
        bytes: stored::canonical(value),
    }
}

/// Lets someone else's label on a stored object win the race with the next proposal.
pub fn overtake(memory: &Memory, target: &Target, object: &Value, label: &str) {
    let mut value = object.clone();
    value["metadata"]["labels"] = json!({"by": label});
    memory.overtake_next(Proposal::batch(vec![Op::Update {
        key: Key::new(
            target.kind.resource().clone(),
            target.namespace.as_str(),
            target.name.as_str(),
        ),
        pre: Precondition::NONE,
        header: header_of(&target.kind, &value),
        bytes: stored::canonical(value),
    }]));
}
