//! Ending containers and whole pods: preStop hook, the stop signal, grace, SIGKILL; then removal.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Spec, LifecycleHandler};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_runtime::Error as RuntimeError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Worker;
use super::instances::Instance as _;
use crate::node::Node;
use crate::pod::{PodExt as _, folder, is_sidecar};
use crate::probes::{Kind, check};

/// What a container gets for its signal even when its hook took all the time (upstream's minimum).
const AFTER_HOOK: Duration = Duration::from_secs(2);
/// A kill that had no effect is repeated.
const AGAIN: Duration = Duration::from_secs(10);

/// A container that is being ended; dropping it stops the effort.
pub struct Ending {
    task: JoinHandle<()>,
    deadline: watch::Sender<Instant>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    /// Begins to end a container, or shortens its grace when it is ending already.
    pub(super) fn end_container(&mut self, id: &str, grace_s: u64, message: &str) {
        let deadline = Instant::now() + Duration::from_secs(grace_s);
        if let Some(ending) = self.endings.get(id) {
            ending.deadline.send_if_modified(|at| {
                let earlier = deadline < *at;
                *at = deadline.min(*at);
                earlier
            });
            return;
        }
        let Some(found) = self.instances.0.iter().find(|found| found.id == id) else {
            return;
        };
        let name = found.container().to_owned();
        self.node
            .events
            .normal(&self.pod, Some(&name), "Killing", message);
        let spec = self.pod.container(&name).cloned();
        let (sender, receiver) = watch::channel(deadline);
        let task = spawn(
            TaskKind::PodWorker,
            end(End {
                node: Arc::clone(&self.node),
                id: id.to_owned(),
                stop_signal: found.stop_signal.clone(),
                pod_ip: self.place.pod_ip.clone(),
                spec,
                deadline: receiver,
            }),
        );
        // Readiness goes on: while it serves, an ending endpoint may still be the only one (KEP-1669).
        self.probes
            .retain(|(of, kind), _| of != id || *kind == Kind::Readiness);
        self.endings.insert(
            id.to_owned(),
            Ending {
                task,
                deadline: sender,
            },
        );
    }

    /// One turn of a pod that is to end; `None` once nothing is left of it.
    pub(super) async fn end_pod(&mut self) -> Result<Option<Duration>, RuntimeError> {
        let grace_s = self.pod.grace_seconds();
        let is_sidecar_id = |name: &str| self.pod.container(name).is_some_and(is_sidecar);
        let running: Vec<(String, String)> = self
            .instances
            .running()
            .map(|found| (found.id.clone(), found.container().to_owned()))
            .collect();
        let mains = running.iter().any(|(_, name)| !is_sidecar_id(name));
        let now: Vec<(String, String)> = running
            .iter()
            .filter(|(_, name)| !mains || !is_sidecar_id(name))
            .cloned()
            .collect();
        for (id, name) in now {
            self.end_container(&id, grace_s, &format!("Stopping container {name}"));
        }
        self.waiting.clear();
        self.report(false);
        if !running.is_empty() {
            return Ok(Some(super::IDLE));
        }
        self.remove_all().await?;
        self.report(true);
        Ok(None)
    }

    async fn remove_all(&mut self) -> Result<(), RuntimeError> {
        // Listed afresh: a create that was under way when the worker was told to end may have finished since.
        let uid = self.pod.uid().to_owned();
        let found = self.node.runtime.list(self.node.pod_labels(&uid)).await?;
        for line in &found {
            self.node.runtime.remove(&line.id).await?;
        }
        self.connected = None;
        self.probes.clear();
        self.node.network.release(&uid);
        self.node.pulls.forget(&uid);
        self.node.tokens.forget(&uid);
        if self.node.writes_files {
            let folder = self.node.pod_dir(&uid);
            if let Err(error) = folder::remove(&folder) {
                tracing::warn!(%error, folder = %folder.display(), "a pod's folder stays behind");
            }
        }
        Ok(())
    }
}

struct End {
    node: Arc<Node>,
    id: String,
    stop_signal: String,
    pod_ip: String,
    spec: Option<Spec>,
    deadline: watch::Receiver<Instant>,
}

/// Ends a container; the worker drops this task when the container is gone.
async fn end(mut this: End) {
    let mut had_hook = false;
    if let Some(hook) = pre_stop(this.spec.as_ref()) {
        had_hook = true;
        let spec = this.spec.clone().unwrap_or_default();
        let (node, id) = (Arc::clone(&this.node), this.id.clone());
        let hook = check::hook(&node, &spec, &id, &this.pod_ip, &hook);
        tokio::select! {
            result = hook => {
                if let Err(error) = result {
                    tracing::info!(error, container = %spec.name, "preStop hook failed");
                }
            }
            () = passed(&mut this.deadline) => {}
        }
    }
    signal(&this.node, &this.id, &this.stop_signal).await;
    let signalled = Instant::now();
    passed(&mut this.deadline).await;
    if had_hook {
        tokio::time::sleep_until(signalled + AFTER_HOOK).await;
    }
    loop {
        signal(&this.node, &this.id, "SIGKILL").await;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn signal(node: &Node, id: &str, signal: &str) {
    if let Err(error) = node.runtime.kill(id, signal).await {
        tracing::warn!(%error, signal, container = id, "signal not delivered");
    }
}

/// Waits for the deadline, which may move closer meanwhile.
async fn passed(deadline: &mut watch::Receiver<Instant>) {
    loop {
        let at = *deadline.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(at) => return,
            changed = deadline.changed() => if changed.is_err() {
                tokio::time::sleep_until(at).await;
                return;
            }
        }
    }
}

fn pre_stop(spec: Option<&Spec>) -> Option<LifecycleHandler> {
    spec?.lifecycle.as_ref()?.pre_stop.clone()
}
