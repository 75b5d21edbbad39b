//! Carrying out a plan's steps: sandboxes and container starts.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Container as Spec;
use kontiki_base::metrics::METRICS;
use kontiki_network::PodPort;
use kontiki_runtime::{
    Container, ContainerSpec, Error as RuntimeError, LogOptions, Namespace, Run, labels,
};

use super::Worker;
use super::instances::Instance as _;
use super::plan::{Restarts, Step, Waiting};
use crate::images;
use crate::pod::{PodExt as _, container};
use crate::probes::check;

/// Pause after a start that failed for a reason which may go away (a missing ConfigMap, say).
pub(super) const RETRY_MS: u64 = 5_000;
/// Bytes of a termination message.
const LAST_WORDS_BYTES: usize = 4096;
/// Lines of log that stand in for a missing message.
const LAST_LINES: i64 = 80;

impl Worker {
    /// Carries out one step.
    pub(super) async fn act(&mut self, step: Step) -> Result<(), RuntimeError> {
        match step {
            Step::NewSandbox { attempt } => self.new_sandbox(attempt).await,
            Step::Start { name, attempt } => {
                let pod = std::sync::Arc::clone(&self.pod);
                let mut ephemerals = pod.ephemerals().into_iter();
                let own = pod.container(&name).cloned();
                match own.or_else(|| ephemerals.find(|spec| spec.name == name)) {
                    Some(spec) => self.start(&spec, attempt).await,
                    None => Ok(()),
                }
            }
            Step::End { id, message } => {
                self.end_container(&id, self.pod.grace_seconds(), &message);
                Ok(())
            }
            Step::EndSandbox { id } => {
                self.node.runtime.kill(&id, "SIGKILL").await?;
                self.node.network.release(self.pod.uid());
                self.connected = None;
                self.inspect(&id).await
            }
        }
    }

    async fn new_sandbox(&mut self, attempt: u32) -> Result<(), RuntimeError> {
        if !self.pod.on_host_network() {
            match self.node.network.allocate(self.pod.uid()) {
                Ok(address) => self.place.pod_ip = address.to_string(),
                Err(error) => return self.no_sandbox(&error.to_string()),
            }
        }
        if self.node.writes_files
            && let Err(error) = container::write_etc(&self.node, &self.pod, &self.place)
        {
            return self.no_sandbox(&error.to_string());
        }
        if let Err(error) = images::ensure_pause(self.node.runtime.as_ref()).await {
            return self.no_sandbox(&error.to_string());
        }
        let spec = container::pause(&self.node, &self.pod, attempt, &self.place);
        let id = self.create(&spec).await?;
        if let Err(error) = self.node.runtime.start(&id).await {
            self.node.runtime.remove(&id).await?;
            return self.no_sandbox(&error.to_string());
        }
        // Looking at it connects it.
        self.inspect(&id).await?;
        self.adopt_sandbox().await;
        if self.connected.as_ref() != Some(&id) {
            return self.no_sandbox("the pod's network could not be set up");
        }
        Ok(())
    }

    fn no_sandbox(&self, why: &str) -> Result<(), RuntimeError> {
        let message = format!("Failed to create pod sandbox: {why}");
        self.node
            .events
            .warning(&self.pod, None, "FailedCreatePodSandBox", &message);
        Err(RuntimeError::Refused(message))
    }

    /// Connects the pod of a process.
    pub(super) async fn attach(&self, pid: u32, address: Ipv4Addr) -> kontiki_network::Result<()> {
        let pod_uid = self.pod.uid().to_owned();
        self.node
            .network
            .attach(&PodPort {
                pod_uid,
                pid,
                address,
            })
            .await
    }

    /// Creates a container, or finds the one that an agent before its restart created under the name.
    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        match self.node.runtime.create(spec).await {
            Err(RuntimeError::Conflict(_)) => {
                let found = self.node.runtime.inspect(&spec.name).await?;
                let ours = found.labels.get(labels::POD_UID) == spec.labels.get(labels::POD_UID);
                if ours && found.run == Run::Created {
                    return Ok(found.id);
                }
                self.node.runtime.remove(&found.id).await?;
                self.node.runtime.create(spec).await
            }
            other => other,
        }
    }

    async fn start(&mut self, spec: &Spec, attempt: u32) -> Result<(), RuntimeError> {
        let Some(sandbox) = self
            .instances
            .running_sandbox()
            .map(|sandbox| sandbox.id.clone())
        else {
            return Ok(());
        };
        if self.connected.as_ref() != Some(&sandbox) {
            return Err(RuntimeError::Refused("the pod is not connected yet".into()));
        }
        if !self.prepare_volumes(spec).await {
            return Ok(());
        }
        // A pull may take long: a pod that is to end does not wait for it.
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        let image = tokio::select! {
            image = images::ensure(&self.node, &self.pod, spec) => image,
            () = mailbox.wait_for_end() => return Ok(()),
        };
        let image = match image {
            Ok(image) => image,
            Err(none) => {
                let waiting = Waiting {
                    reason: none.reason,
                    message: none.message,
                };
                let at_ms = none.retry_ms.unwrap_or(u64::MAX);
                self.memory
                    .failed_starts
                    .insert(spec.name.clone(), (waiting, at_ms));
                return Ok(());
            }
        };
        let made = container::container(
            &self.node,
            &self.pod,
            spec,
            attempt,
            &sandbox,
            &self.place,
            &image,
        );
        match made {
            Ok(mut made) => {
                if made.pid == Namespace::Private
                    && let Some(id) = self.debugged(&spec.name)
                {
                    made.pid = Namespace::Of(id);
                }
                self.launch(spec, &made).await
            }
            Err(message) => {
                self.failed_start(spec, "CreateContainerConfigError", &message);
                Ok(())
            }
        }
    }

    /// The running container whose processes a debugging container is to see.
    fn debugged(&self, name: &str) -> Option<String> {
        let target = self.pod.debugged_by(name)?;
        let found = self.instances.newest(target)?;
        found.run.is_running().then(|| found.id.clone())
    }

    async fn launch(&mut self, spec: &Spec, made: &ContainerSpec) -> Result<(), RuntimeError> {
        let name = Some(spec.name.as_str());
        let id = match self.create(made).await {
            Ok(id) => id,
            Err(error @ RuntimeError::Unreachable(_)) => return Err(error),
            Err(error) => {
                self.failed_start(spec, "CreateContainerError", &error.to_string());
                return Ok(());
            }
        };
        let text = format!("Created container: {}", spec.name);
        self.node.events.normal(&self.pod, name, "Created", &text);
        let again = self
            .instances
            .newest(&spec.name)
            .is_some_and(|last| last.exit_code().is_some());
        if again {
            METRICS.agent_container_restarts_total.inc();
            let previous = self.memory.restarts.get(&spec.name).copied();
            let waits = Restarts::after_restart(previous, self.node.now_ms());
            self.memory.restarts.insert(spec.name.clone(), waits);
        }
        match self.node.runtime.start(&id).await {
            Ok(()) => {
                METRICS.agent_containers_started_total.inc();
                let text = format!("Started container {}", spec.name);
                self.node.events.normal(&self.pod, name, "Started", &text);
                self.memory.failed_starts.remove(&spec.name);
            }
            Err(error @ RuntimeError::Unreachable(_)) => return Err(error),
            Err(error) => {
                // The container stays as ended: restarts and back-off follow from that.
                let text = format!("failed to start container \"{}\": {error}", spec.name);
                self.inspect(&id).await?;
                let ended = self.instances.newest(&spec.name);
                if ended.is_some_and(|ended| ended.exit_code().is_none()) {
                    self.node.runtime.remove(&id).await?;
                    self.inspect(&id).await?;
                }
                self.failed_start(spec, "RunContainerError", &text);
                return Ok(());
            }
        }
        self.inspect(&id).await?;
        self.after_start(spec, &id).await;
        Ok(())
    }

    /// The postStart hook; its failure ends the container.
    async fn after_start(&mut self, spec: &Spec, id: &str) {
        let lifecycle = spec.lifecycle.as_ref();
        let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return;
        };
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        let result = tokio::select! {
            result = check::hook(&self.node, spec, id, &self.place.pod_ip, hook) => result,
            () = mailbox.wait_for_end() => Ok(()),
        };
        if let Err(error) = result {
            let text = format!("PostStartHook failed: {error}");
            self.node
                .events
                .warning(&self.pod, Some(&spec.name), "FailedPostStartHook", &text);
            let message = "FailedPostStartHook".to_owned();
            self.memory.condemned.insert(id.to_owned(), message);
        }
    }

    fn failed_start(&mut self, spec: &Spec, reason: &'static str, message: &str) {
        let text = format!("Error: {message}");
        self.node
            .events
            .warning(&self.pod, Some(&spec.name), "Failed", &text);
        let waiting = Waiting {
            reason,
            message: message.to_owned(),
        };
        let at_ms = self.node.now_ms() + RETRY_MS;
        self.memory
            .failed_starts
            .insert(spec.name.clone(), (waiting, at_ms));
    }

    /// What an ended container left as its last words, by its policy.
    pub(super) async fn read_last_words(&self, found: &Container) -> String {
        let name = found.container();
        let Some(spec) = self.pod.container(name).filter(|_| self.node.writes_files) else {
            return String::new();
        };
        let file = container::message_file(&self.node, &self.pod, name, found.attempt());
        let words = std::fs::read(&file).unwrap_or_default();
        let policy = spec.termination_message_policy.as_deref();
        let failed = found.exit_code() != Some(0);
        if words.is_empty() && failed && policy == Some("FallbackToLogsOnError") {
            return self.last_lines(&found.id).await;
        }
        let kept = &words[..words.len().min(LAST_WORDS_BYTES)];
        String::from_utf8_lossy(kept).into_owned()
    }

    async fn last_lines(&self, id: &str) -> String {
        use futures::StreamExt as _;
        let options = LogOptions {
            tail_lines: Some(LAST_LINES),
            ..LogOptions::default()
        };
        let Ok(mut lines) = self.node.runtime.logs(id, &options).await else {
            return String::new();
        };
        let mut kept = Vec::new();
        while let Some(Ok(chunk)) = lines.next().await {
            kept.extend_from_slice(&chunk);
        }
        let from = kept.len().saturating_sub(2048);
        String::from_utf8_lossy(&kept[from..]).into_owned()
    }
}
