//! A pod worker: one task that brings one pod to what its spec says and reports how it is.
//!
//! ```text
//!  adopt what runs ─▶ look (inbox, touched containers) ─▶ plan ─▶ act ─▶ report ─▶ wait ─┐
//!                        ▲                                                              │
//!                        └──────────────────────────────────────────────────────────────┘
//!  deleted or removed:  end containers (hooks, SIGTERM, grace, SIGKILL) ─▶ report ─▶ remove all ─▶ done
//! ```
//!
//! A worker that dies or an agent that restarts loses nothing: the containers and their labels are the state.

mod act;
mod end;
mod files;
pub mod instances;
pub mod mailbox;
pub mod plan;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kontiki_proto::node::PodStatusUpdate;
use kontiki_runtime::{Error as RuntimeError, labels};

use self::end::Ending;
use self::instances::{Instance as _, Instances};
use self::mailbox::Mailbox;
use self::plan::{Memory, Plan, Waiting};
use crate::node::Node;
use crate::pod::PodExt as _;
use crate::pod::fields::Place;
use crate::probes::{Kind, Running, Subject};

/// Wait after a call to the engine failed.
const RETRY: Duration = Duration::from_secs(2);
/// Longest time without a look, should an event have been lost.
const IDLE: Duration = Duration::from_secs(300);

/// The worker of one pod.
pub struct Worker {
    node: Arc<Node>,
    mailbox: Arc<Mailbox>,
    pod: Arc<Pod>,
    removed: bool,
    instances: Instances,
    memory: Memory,
    probes: BTreeMap<(String, Kind), Running>,
    endings: BTreeMap<String, Ending>,
    last_words: BTreeMap<String, String>,
    waiting: BTreeMap<String, Waiting>,
    place: Place,
    /// The sandbox (id) that is connected.
    connected: Option<String>,
    volumes: files::Volumes,
    last: PodStatus,
    published: bool,
}

impl Worker {
    /// A worker that has not looked at anything yet.
    pub fn new(node: Arc<Node>, mailbox: Arc<Mailbox>, pod: Arc<Pod>) -> Self {
        let last = pod.status.clone().unwrap_or_default();
        let phase = last.phase.as_deref();
        let was_final = matches!(phase, Some("Succeeded" | "Failed"));
        let host_ip = node.ip.to_string();
        let pod_ip = if pod.on_host_network() {
            host_ip.clone()
        } else {
            String::new()
        };
        Self {
            node,
            mailbox,
            removed: false,
            instances: Instances::default(),
            memory: Memory {
                was_final,
                ..Memory::default()
            },
            probes: BTreeMap::new(),
            endings: BTreeMap::new(),
            last_words: BTreeMap::new(),
            waiting: BTreeMap::new(),
            place: Place { pod_ip, host_ip },
            connected: None,
            volumes: files::Volumes::default(),
            published: false,
            last,
            pod,
        }
    }

    /// Works until the pod is gone.
    pub async fn run(mut self) {
        let mut relist = true;
        loop {
            let wait = match self.turn(relist).await {
                Ok(Some(wait)) => {
                    relist = false;
                    wait
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, pod = %self.full_name(), "pod not in step; trying again");
                    relist = true;
                    RETRY
                }
            };
            tokio::select! {
                () = self.mailbox.wait() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One turn of the loop: how long to wait for the next, or `None` when the pod is gone.
    async fn turn(&mut self, relist: bool) -> Result<Option<Duration>, RuntimeError> {
        self.look(relist).await?;
        if self.ending() {
            return self.end_pod().await;
        }
        self.check_deadline();
        self.keep_volumes().await;
        let plan = plan::plan(&self.pod, &self.instances, &self.memory, self.node.now_ms());
        let again = !plan.steps.is_empty();
        let Plan {
            steps,
            waiting,
            wake_ms,
        } = plan;
        self.say_back_off(&waiting);
        self.waiting = waiting;
        self.run_probes();
        self.report(false);
        for step in steps {
            self.act(step).await?;
        }
        self.run_probes();
        if again {
            self.tidy().await?;
            self.waiting.extend(
                self.memory
                    .failed_starts
                    .iter()
                    .map(|(name, (why, _))| (name.clone(), why.clone())),
            );
        }
        self.report(false);
        let mut wait = wake_ms.map_or(IDLE, |at| {
            Duration::from_millis(at.saturating_sub(self.node.now_ms()).max(10))
        });
        if again && self.endings.is_empty() {
            // What was done may ask for more at once; a failed start says itself when.
            wait = Duration::from_millis(1);
        }
        Ok(Some(
            wait.min(self.until_deadline()).min(self.until_volumes()),
        ))
    }

    /// The event of a restart that waits, once for each wait.
    fn say_back_off(&self, waiting: &BTreeMap<String, Waiting>) {
        for (name, why) in waiting {
            if why.reason == "CrashLoopBackOff" && self.waiting.get(name) != Some(why) {
                let text = format!(
                    "Back-off restarting failed container {name} in pod {}_{}({})",
                    self.pod.name(),
                    self.pod.namespace(),
                    self.pod.uid()
                );
                self.node
                    .events
                    .warning(&self.pod, Some(name), "BackOff", &text);
            }
        }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.pod.namespace(), self.pod.name())
    }

    fn ending(&self) -> bool {
        self.removed || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Takes in what came and looks at the containers that changed.
    async fn look(&mut self, relist: bool) -> Result<(), RuntimeError> {
        let inbox = self.mailbox.take();
        if let Some(pod) = inbox.pod {
            self.pod = pod;
        }
        self.removed |= inbox.removed;
        for ((id, kind), good) in inbox.verdicts {
            self.judge(&id, kind, good);
        }
        if inbox.config {
            self.volumes.changed();
        }
        if relist || inbox.relist {
            let found = self
                .node
                .runtime
                .list(self.node.pod_labels(self.pod.uid()))
                .await?;
            let known = std::mem::take(&mut self.instances.0);
            for line in found {
                match known.iter().find(|known| known.id == line.id) {
                    // An ended container does not change any more.
                    Some(same) if same.run.is_running() == line.running && !line.running => {
                        self.instances.0.push(same.clone());
                    }
                    _ => self.inspect(&line.id).await?,
                }
            }
        } else {
            for id in inbox.touched {
                self.inspect(&id).await?;
            }
        }
        self.adopt_sandbox().await;
        Ok(())
    }

    /// Replaces what is known of a container by what is so now.
    async fn inspect(&mut self, id: &str) -> Result<(), RuntimeError> {
        let found = match self.node.runtime.inspect(id).await {
            Ok(found) => Some(found),
            Err(RuntimeError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        self.instances.0.retain(|known| known.id != id);
        let Some(found) = found else {
            self.forget(id);
            return Ok(());
        };
        if !found.run.is_running() {
            self.forget(id);
            if found.exit_code().is_some() && !self.last_words.contains_key(id) {
                let words = self.read_last_words(&found).await;
                self.last_words.insert(id.to_owned(), words);
            }
        }
        self.instances.0.push(found);
        Ok(())
    }

    /// A container that does not run has no probes, and nobody waits for its end.
    fn forget(&mut self, id: &str) {
        self.endings.remove(id);
        self.probes.retain(|(of, _), _| of != id);
        self.memory.condemned.remove(id);
        self.memory.ready.remove(id);
        self.memory.started.remove(id);
    }

    fn judge(&mut self, id: &str, kind: Kind, good: bool) {
        let running = self.instances.running().find(|found| found.id == id);
        let Some(name) = running.map(|found| found.container().to_owned()) else {
            return;
        };
        match (kind, good) {
            (Kind::Readiness, true) => {
                self.memory.ready.insert(id.to_owned());
            }
            (Kind::Readiness, false) => {
                self.memory.ready.remove(id);
            }
            (Kind::Startup, true) => {
                self.memory.started.insert(id.to_owned());
            }
            (Kind::Liveness, true) => {}
            (Kind::Startup | Kind::Liveness, false) => {
                let word = kind.word().to_lowercase();
                let text = format!("Container {name} failed {word} probe, will be restarted");
                self.memory.condemned.insert(id.to_owned(), text);
            }
        }
    }

    /// Starts the probes that running containers lack.
    fn run_probes(&mut self) {
        let mut missing = Vec::new();
        for running in self.instances.running() {
            let Some(spec) = self.pod.container(running.container()) else {
                continue;
            };
            let started = plan::is_started(spec, running, &self.memory);
            for kind in Kind::ALL {
                let key = (running.id.clone(), kind);
                // The startup probe goes first and ends with its success.
                let due = (kind == Kind::Startup) != started;
                if let Some(probe) = kind.of(spec)
                    && due
                    && !self.probes.contains_key(&key)
                    && !self.endings.contains_key(&running.id)
                {
                    missing.push((key, spec.clone(), running.run.clone(), probe.clone()));
                }
            }
        }
        for ((id, kind), container, run, probe) in missing {
            let was_good = kind == Kind::Readiness && self.was_ready(&id);
            if was_good {
                self.memory.ready.insert(id.clone());
            }
            let started_ms = match run {
                kontiki_runtime::Run::Running { started_ms } => started_ms,
                _ => 0,
            };
            let subject = Subject {
                node: Arc::clone(&self.node),
                pod: Arc::clone(&self.pod),
                container,
                container_id: id.clone(),
                started_ms,
                pod_ip: self.place.pod_ip.clone(),
                was_good,
            };
            let running = crate::probes::start(subject, kind, probe, Arc::clone(&self.mailbox));
            self.probes.insert((id, kind), running);
        }
    }

    /// Whether the last status, perhaps of the agent before its restart, says ready.
    fn was_ready(&self, id: &str) -> bool {
        let full_id = format!("docker://{id}");
        let statuses = self.last.container_statuses.iter().flatten();
        statuses
            .chain(self.last.init_container_statuses.iter().flatten())
            .any(|status| status.ready && status.container_id.as_deref() == Some(full_id.as_str()))
    }

    /// `activeDeadlineSeconds`.
    fn check_deadline(&mut self) {
        if self.until_deadline().is_zero() && self.memory.failed.is_none() {
            let message = "Pod was active on the node longer than the specified deadline";
            self.memory.failed = Some(("DeadlineExceeded", message.to_owned()));
            self.node
                .events
                .normal(&self.pod, None, "DeadlineExceeded", message);
        }
    }

    fn until_deadline(&self) -> Duration {
        let deadline = self
            .pod
            .spec()
            .active_deadline_seconds
            .zip(self.last.start_time.as_ref());
        let Some((seconds, start)) = deadline.filter(|_| self.memory.failed.is_none()) else {
            return IDLE;
        };
        let at_ms = kontiki_api::time::unix_ms(start) + seconds.max(0) as u64 * 1000;
        Duration::from_millis(at_ms.saturating_sub(self.node.now_ms()))
    }

    /// Puts the status into the outbox when it differs from the last one.
    fn report(&mut self, terminated: bool) {
        let connected = self
            .instances
            .running_sandbox()
            .is_some_and(|sandbox| self.connected.as_ref() == Some(&sandbox.id));
        let status = status::status(&status::View {
            pod: &self.pod,
            instances: &self.instances,
            memory: &self.memory,
            waiting: &self.waiting,
            last_words: &self.last_words,
            last: &self.last,
            place: &self.place,
            connected,
            ending: self.ending(),
            now_ms: self.node.now_ms(),
        });
        self.memory.was_final |= matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let changed = status != self.last || !self.published;
        let first_and_same = !self.published && self.pod.status.as_ref() == Some(&status);
        self.last = status;
        self.published = true;
        if self.removed || (!terminated && (!changed || first_and_same)) {
            return;
        }
        let status_json = match serde_json::to_vec(&self.last) {
            Ok(json) => Bytes::from(json),
            Err(error) => {
                tracing::error!(%error, "a pod status is not JSON");
                return;
            }
        };
        self.node.outbox.put_pod(PodStatusUpdate {
            namespace: self.pod.namespace().to_owned(),
            name: self.pod.name().to_owned(),
            uid: self.pod.uid().to_owned(),
            status_json,
            terminated,
        });
    }

    /// Removes containers that nobody needs any more.
    async fn tidy(&mut self) -> Result<(), RuntimeError> {
        for id in self.instances.superfluous() {
            self.node.runtime.remove(&id).await?;
            self.instances.0.retain(|found| found.id != id);
            self.last_words.remove(&id);
        }
        Ok(())
    }

    /// A sandbox that runs already (the agent restarted): its address is on its label.
    async fn adopt_sandbox(&mut self) {
        let Some(sandbox) = self.instances.running_sandbox() else {
            return;
        };
        if self.connected.as_ref() == Some(&sandbox.id) {
            return;
        }
        if self.pod.on_host_network() {
            self.connected = Some(sandbox.id.clone());
            return;
        }
        let address = sandbox
            .labels
            .get(labels::POD_IP)
            .and_then(|text| text.parse().ok());
        if let Some(address) = address {
            let (id, pid) = (sandbox.id.clone(), sandbox.pid);
            self.node.network.adopt(self.pod.uid(), address);
            self.place.pod_ip = address.to_string();
            if let Err(error) = self.attach(pid, address).await {
                tracing::warn!(%error, pod = %self.full_name(), "cannot connect the pod yet");
                return;
            }
            self.connected = Some(id);
        }
    }
}
