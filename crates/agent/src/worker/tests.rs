//! Tests of the pod worker over the fake runtime, with the executor's time paused.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kontiki_base::clock::{Clock, SharedClock};
use kontiki_base::random::SeededRandom;
use kontiki_network::hollow::Hollow;
use kontiki_network::{NodeNetwork, PodNetwork as _};
use kontiki_proto::node::{PodStatusUpdate, RequestTokenRequest, RequestTokenResponse};
use kontiki_runtime::fake::{Fake, once_ends};
use serde_json::{Value, json};

use super::*;
use crate::config::Capacity;
use crate::events::Recorder;
use crate::images::Pulls;
use crate::mirror::Mirror;
use crate::node::ClusterSettings;
use crate::outbox::Outbox;

/// The executor's time as a wall clock, so that pausing it pauses everything.
struct ExecutorClock(tokio::time::Instant);

const EPOCH_MS: u64 = 1_800_000_000_000;

impl Clock for ExecutorClock {
    fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.0.elapsed().as_millis() as u64
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Rig {
    node: Arc<Node>,
    fake: Fake,
    mailbox: Arc<Mailbox>,
    worker: tokio::task::JoinHandle<()>,
    pod: Value,
    last: Option<PodStatusUpdate>,
}

impl Rig {
    async fn new(pod: Value) -> Self {
        Self::over(pod, None).await
    }

    /// With volumes in a folder, if there is one.
    async fn over(pod: Value, data_dir: Option<PathBuf>) -> Self {
        let clock: SharedClock = Arc::new(ExecutorClock(tokio::time::Instant::now()));
        let fake = Fake::new(Arc::clone(&clock), once_ends);
        let network = Hollow::default();
        network
            .configure(NodeNetwork {
                pod_cidr: "10.244.1.0/24".parse().unwrap(),
                cluster_cidr: "10.244.0.0/16".parse().unwrap(),
                service_cidr: "10.96.0.0/16".parse().unwrap(),
                node_ip: [192, 0, 2, 1].into(),
                peers: Vec::new(),
            })
            .await
            .unwrap();
        let outbox = Arc::new(Outbox::default());
        let node = Arc::new(Node {
            name: "n1".into(),
            cluster_id: "c".into(),
            ip: [192, 0, 2, 1].into(),
            capacity: Capacity {
                cpu_milli: 2000,
                memory_bytes: 1 << 30,
                ephemeral_storage_bytes: 1 << 30,
                pods: 110,
            },
            runtime: Arc::new(fake.clone()),
            network: Arc::new(network),
            clock: Arc::clone(&clock),
            random: Arc::new(SeededRandom::new(1)),
            writes_files: data_dir.is_some(),
            data_dir: data_dir.unwrap_or_default(),
            mirror: Mirror::default(),
            events: Recorder::new("n1".into(), clock, Arc::clone(&outbox)),
            outbox,
            pulls: Pulls::default(),
            sampler: crate::kubelet::Sampler::default(),
            tokens: crate::tokens::Tokens::default(),
            settings: parking_lot::Mutex::new(ClusterSettings::default()),
        });
        let mailbox = Arc::new(Mailbox::default());
        let worker = hire(&node, &mailbox, &pod);
        Self {
            node,
            fake,
            mailbox,
            worker,
            pod,
            last: None,
        }
    }

    /// Lets time pass, delivering the engine's events as the pod manager would.
    async fn pass(&mut self, time: Duration) -> &mut Self {
        let step = Duration::from_millis(50);
        let mut left = time;
        loop {
            self.mailbox.relist();
            tokio::time::sleep(step.min(left.max(Duration::from_millis(1)))).await;
            while let Some(batch) = self.node.outbox.take() {
                self.last = batch.pods.into_iter().last().or(self.last.take());
                self.node.outbox.restart_for_test();
            }
            left = left.saturating_sub(step);
            if left.is_zero() {
                return self;
            }
        }
    }

    fn status(&self) -> PodStatus {
        serde_json::from_slice(&self.last.as_ref().unwrap().status_json).unwrap()
    }

    fn phase(&self) -> String {
        self.status().phase.unwrap()
    }

    fn condition(&self, kind: &str) -> String {
        let all = self.status().conditions.unwrap();
        all.into_iter()
            .find(|condition| condition.type_ == kind)
            .unwrap()
            .status
    }

    fn delete(&mut self, grace_s: u64) {
        self.pod["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
        self.pod["metadata"]["deletionGracePeriodSeconds"] = grace_s.into();
        self.mailbox
            .pod(Arc::new(serde_json::from_value(self.pod.clone()).unwrap()));
    }

    fn count(&self, call: &str) -> usize {
        self.fake
            .calls()
            .iter()
            .filter(|made| made.starts_with(call))
            .count()
    }
}

fn hire(node: &Arc<Node>, mailbox: &Arc<Mailbox>, pod: &Value) -> tokio::task::JoinHandle<()> {
    let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod.clone()).unwrap());
    spawn_worker(Worker::new(Arc::clone(node), Arc::clone(mailbox), pod))
}

fn spawn_worker(worker: Worker) -> tokio::task::JoinHandle<()> {
    kontiki_base::task::spawn(kontiki_base::task::TaskKind::PodWorker, worker.run())
}

fn pod(spec: Value) -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "default", "uid": "u1" },
        "spec": spec,
    })
}

fn one_container(extra: Value) -> Value {
    let mut container = json!({ "name": "main", "image": "img:1" });
    for (key, value) in extra.as_object().unwrap() {
        container[key] = value.clone();
    }
    pod(json!({ "containers": [container] }))
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_pod_runs_with_an_address_and_is_ready() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.pass(SECOND).await;
    assert_eq!(rig.phase(), "Running");
    assert_eq!(rig.condition("Ready"), "True");
    let status = rig.status();
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.1.2"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    let container = &status.container_statuses.unwrap()[0];
    assert!(
        container.ready
            && container
                .container_id
                .as_ref()
                .unwrap()
                .starts_with("docker://")
    );
    assert_eq!(rig.fake.names().len(), 2, "pause and main");
}

#[tokio::test(start_paused = true)]
async fn crashes_restart_at_once_then_with_doubling_waits() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.pass(SECOND).await;
    rig.fake.finish("kontiki_main", 1);
    rig.pass(SECOND).await;
    assert!(
        rig.fake.running("kontiki_main").is_some(),
        "the first restart is immediate"
    );
    rig.fake.finish("kontiki_main", 1);
    rig.pass(SECOND).await;
    let status = rig.status().container_statuses.unwrap().remove(0);
    let waiting = status.state.unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (1, Some("Error")));
    rig.pass(8 * SECOND).await;
    assert!(rig.fake.running("kontiki_main").is_none());
    rig.pass(3 * SECOND).await;
    assert!(rig.fake.running("kontiki_main").is_some());
    assert_eq!(rig.status().container_statuses.unwrap()[0].restart_count, 2);
    assert_eq!(rig.phase(), "Running");
    let kept = rig
        .fake
        .names()
        .iter()
        .filter(|name| name.contains("_main_"))
        .count();
    assert_eq!(kept, 2, "the running one and the last one");
}

#[tokio::test(start_paused = true)]
async fn a_job_succeeds_and_gives_its_sandbox_back() {
    let mut spec = one_container(json!({ "args": ["--once"] }));
    spec["spec"]["restartPolicy"] = "Never".into();
    let mut rig = Rig::new(spec).await;
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.phase(), "Succeeded");
    assert_eq!(rig.condition("Ready"), "False");
    assert!(rig.fake.running("kontiki_POD").is_none());
    rig.pass(60 * SECOND).await;
    assert_eq!(rig.count("start kontiki_main"), 1, "it does not run again");
}

#[tokio::test(start_paused = true)]
async fn deletion_signals_waits_kills_and_removes_all() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.fake.set_ignores_sigterm(true);
    rig.pass(SECOND).await;
    rig.delete(5);
    rig.pass(4 * SECOND).await;
    assert_eq!(rig.count("SIGTERM kontiki_main"), 1);
    assert_eq!(rig.count("SIGKILL kontiki_main"), 0);
    assert!(!rig.last.as_ref().unwrap().terminated);
    assert_eq!(rig.condition("Ready"), "True", "it may serve to the end");
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.count("SIGKILL kontiki_main"), 1);
    assert!(rig.last.as_ref().unwrap().terminated);
    assert_eq!(rig.condition("Ready"), "False");
    assert!(rig.worker.is_finished() && rig.fake.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_shortens_the_grace() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.fake.set_ignores_sigterm(true);
    rig.pass(SECOND).await;
    rig.delete(600);
    rig.pass(2 * SECOND).await;
    rig.delete(1);
    rig.pass(2 * SECOND).await;
    assert!(rig.worker.is_finished(), "{:?}", rig.fake.calls());
}

#[tokio::test(start_paused = true)]
async fn a_debugging_container_runs_once_and_changes_nothing_else() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.pass(SECOND).await;
    rig.pod["spec"]["ephemeralContainers"] = json!([
        {"name": "shell", "image": "img:1", "stdin": true, "targetContainerName": "main"},
        {"name": "once", "image": "img:1", "args": ["--once"]},
    ]);
    let pod = serde_json::from_value(rig.pod.clone()).unwrap();
    rig.mailbox.pod(Arc::new(pod));
    rig.pass(60 * SECOND).await;
    assert!(rig.fake.running("kontiki_shell").is_some());
    assert_eq!(rig.count("start kontiki_once"), 1, "it does not run again");
    let status = rig.status();
    let told = status.ephemeral_container_statuses.unwrap();
    let states: Vec<bool> = told
        .iter()
        .map(|it| {
            it.state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
        })
        .collect();
    assert_eq!(states, [true, false]);
    assert!(told.iter().all(|it| !it.ready));
    assert_eq!(rig.condition("Ready"), "True");
    assert_eq!(rig.phase(), "Running");
    rig.delete(1);
    rig.pass(5 * SECOND).await;
    assert!(rig.fake.running("kontiki_shell").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_new_agent_adopts_what_runs() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.pass(SECOND).await;
    let before = rig.fake.running("kontiki_main").unwrap();
    let n_calls = rig.fake.calls().len();
    rig.worker.abort();
    rig.node.network.release("u1");
    let mut assigned = rig.pod.clone();
    assigned["status"] = serde_json::to_value(rig.status()).unwrap();
    rig.last = None;
    rig.mailbox = Arc::new(Mailbox::default());
    rig.worker = hire(&rig.node, &rig.mailbox, &assigned);
    rig.pass(SECOND).await;
    assert_eq!(rig.fake.running("kontiki_main").unwrap(), before);
    assert_eq!(
        rig.fake.calls().len(),
        n_calls,
        "nothing was started, ended or removed"
    );
    assert!(
        rig.last.is_none(),
        "and nothing is reported, for nothing changed"
    );
    let other = rig.node.network.allocate("other").unwrap();
    assert_ne!(other.to_string(), "10.244.1.2", "the pod keeps its address");
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_its_probe_and_liveness_restarts() {
    let probe = |threshold: u32| json!({ "exec": { "command": ["x"] }, "periodSeconds": 1, "failureThreshold": threshold });
    let containers = json!({ "readinessProbe": probe(1), "livenessProbe": probe(3) });
    let mut rig = Rig::new(one_container(containers)).await;
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.condition("Ready"), "True");
    let first = rig.fake.running("kontiki_main").unwrap();
    rig.fake.set_exec_code(1);
    rig.pass(Duration::from_millis(1500)).await;
    assert_eq!(rig.condition("Ready"), "False");
    assert_eq!(rig.fake.running("kontiki_main").as_ref(), Some(&first));
    rig.pass(2 * SECOND).await;
    rig.fake.set_exec_code(0);
    rig.pass(5 * SECOND).await;
    let second = rig.fake.running("kontiki_main").unwrap();
    assert_ne!(first, second, "liveness failed three times");
    assert_eq!(rig.condition("Ready"), "True");
    assert_eq!(rig.status().container_statuses.unwrap()[0].restart_count, 1);
}

#[tokio::test(start_paused = true)]
async fn an_absent_image_backs_off_and_comes_when_it_is_there() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.fake.set_absent("img:1", true);
    rig.pass(Duration::from_millis(500)).await;
    let waiting = |rig: &Rig| {
        let status = rig.status().container_statuses.unwrap().remove(0);
        status
            .state
            .unwrap()
            .waiting
            .and_then(|waiting| waiting.reason)
    };
    assert_eq!(waiting(&rig).as_deref(), Some("ErrImagePull"));
    rig.pass(3 * SECOND).await;
    assert_eq!(waiting(&rig).as_deref(), Some("ImagePullBackOff"));
    assert_eq!((rig.count("pull"), rig.phase().as_str()), (1, "Pending"));
    rig.fake.set_absent("img:1", false);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.phase(), "Running");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_changes_nothing() {
    let mut rig = Rig::new(one_container(json!({}))).await;
    rig.pass(SECOND).await;
    let n_calls = rig.fake.calls().len();
    rig.fake.set_unreachable(true);
    rig.pass(30 * SECOND).await;
    assert_eq!(rig.phase(), "Running");
    rig.fake.set_unreachable(false);
    rig.pass(5 * SECOND).await;
    assert_eq!(rig.fake.calls().len(), n_calls);
}

/// Numbers its tokens, which live for ten minutes; fails while it is told to.
#[derive(Clone, Default)]
struct Numbers {
    n_issued: Arc<std::sync::atomic::AtomicU64>,
    is_away: Arc<std::sync::atomic::AtomicBool>,
}

const LIFE_MS: u64 = 600_000;

impl crate::tokens::Issuer for (Numbers, SharedClock) {
    fn issue(
        &self,
        request: RequestTokenRequest,
    ) -> BoxFuture<'_, Result<RequestTokenResponse, tonic::Status>> {
        assert_eq!(request.expiration_seconds as u64 * 1000, LIFE_MS);
        assert_eq!(
            (request.pod_uid.as_str(), request.service_account.as_str()),
            ("u1", "robot")
        );
        let answer = match self.0.is_away.load(Ordering::SeqCst) {
            true => Err(tonic::Status::unavailable("away")),
            false => Ok(RequestTokenResponse {
                token: format!("t{}", self.0.n_issued.fetch_add(1, Ordering::SeqCst) + 1),
                expires_unix_ms: (self.1.unix_ms() + LIFE_MS) as i64,
            }),
        };
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_while_its_pod_lives_also_by_the_next_agent() {
    let folder = std::env::temp_dir().join(format!("kontiki-tokens-{}", std::process::id()));
    let mut spec = one_container(json!({}));
    spec["spec"]["serviceAccountName"] = "robot".into();
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 600}});
    spec["spec"]["volumes"] = json!([{"name": "v", "projected": {"sources": [source]}}]);
    let mut rig = Rig::over(spec, Some(folder.clone())).await;
    let file = folder.join("pods/u1/volumes/v/token");
    let token = || std::fs::read_to_string(&file).unwrap_or_default();
    rig.pass(SECOND).await;
    assert_eq!(token(), "", "nobody to ask");
    assert!(rig.fake.running("kontiki_main").is_none());

    let numbers = Numbers::default();
    rig.node
        .tokens
        .connected((numbers.clone(), Arc::clone(&rig.node.clock)));
    rig.pass(6 * SECOND).await;
    assert_eq!(token(), "t1");
    assert!(rig.fake.running("kontiki_main").is_some());
    rig.pass(460 * SECOND).await;
    assert_eq!(token(), "t1");
    numbers.is_away.store(true, Ordering::SeqCst);
    rig.pass(30 * SECOND).await;
    assert_eq!(token(), "t1", "still good");
    numbers.is_away.store(false, Ordering::SeqCst);
    rig.pass(35 * SECOND).await;
    assert_eq!(token(), "t2");

    rig.worker.abort();
    rig.node.tokens.forget("u1");
    rig.worker = hire(&rig.node, &rig.mailbox, &rig.pod);
    rig.pass(SECOND).await;
    assert_eq!(token(), "t3");
    assert_eq!(rig.count("start kontiki_main"), 1);
    rig.delete(0);
    rig.pass(SECOND).await;
    assert!(!file.exists());
    std::fs::remove_dir_all(&folder).unwrap();
}
