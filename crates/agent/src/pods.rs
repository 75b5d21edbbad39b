//! All pods of the node: a worker for each assigned pod, an end for each that is not assigned any more, and a sweep
//! for containers that belong to no pod at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_base::metrics::METRICS;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_runtime::{Error as RuntimeError, labels};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::mirror::Touched;
use crate::node::Node;
use crate::pod::{claims, folder as pod_folder};
use crate::worker::Worker;
use crate::worker::mailbox::Mailbox;

/// Everything is listed again so often, should the engine's events have been lost.
const RELIST: Duration = Duration::from_secs(60);
/// Wait before the engine's events are asked for again.
const RECONNECT: Duration = Duration::from_secs(1);

/// The workers of a node.
pub struct Pods {
    node: Arc<Node>,
    workers: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    mailbox: Arc<Mailbox>,
    pod: Arc<Pod>,
    task: JoinHandle<()>,
}

impl Drop for Pods {
    fn drop(&mut self) {
        // The agent ends; containers go on.
        self.workers
            .get_mut()
            .values()
            .for_each(|entry| entry.task.abort());
    }
}

impl Pods {
    /// No workers yet.
    pub fn new(node: Arc<Node>) -> Arc<Self> {
        Arc::new(Self {
            node,
            workers: Mutex::default(),
        })
    }

    /// Brings the workers in line with what is assigned.
    pub fn assigned(&self, touched: Touched) {
        let mut workers = self.workers.lock();
        if touched.pods {
            let wanted = self.node.mirror.pods();
            for (uid, entry) in workers.iter() {
                if !wanted.contains_key(uid) {
                    entry.mailbox.removed();
                }
            }
            // A worker that is done stays until its pod leaves the assignment: the pod must not start again.
            workers.retain(|uid, entry| wanted.contains_key(uid) || !entry.task.is_finished());
            for (uid, pod) in wanted {
                self.assign(&mut workers, uid, pod);
            }
            METRICS.agent_pods.set(workers.len() as u64);
        }
        if touched.volumes {
            let gone = self.node.mirror.take_gone();
            gone.iter()
                .for_each(|volume| claims::remove(&self.node, volume));
        }
        if touched.config {
            workers.values().for_each(|entry| entry.mailbox.config());
        }
    }

    fn assign(&self, workers: &mut BTreeMap<String, Entry>, uid: String, pod: Arc<Pod>) {
        if let Some(entry) = workers.get_mut(&uid) {
            if !Arc::ptr_eq(&entry.pod, &pod) {
                entry.pod = Arc::clone(&pod);
                entry.mailbox.pod(pod);
            }
            return;
        }
        let entry = self.employ(pod);
        workers.insert(uid, entry);
    }

    fn employ(&self, pod: Arc<Pod>) -> Entry {
        let mailbox = Arc::new(Mailbox::default());
        let worker = Worker::new(
            Arc::clone(&self.node),
            Arc::clone(&mailbox),
            Arc::clone(&pod),
        );
        let task = spawn(TaskKind::PodWorker, worker.run());
        Entry { mailbox, pod, task }
    }

    /// Pods that have a worker which is not done.
    pub fn running_uids(&self) -> Vec<String> {
        let workers = self.workers.lock();
        let busy = workers
            .iter()
            .filter(|(_, entry)| !entry.task.is_finished());
        busy.map(|(uid, _)| uid.clone()).collect()
    }

    /// Ends the containers of this node that belong to no assigned pod, and nothing else. To be called only after a
    /// complete assignment.
    pub async fn sweep(&self) -> Result<(), RuntimeError> {
        let found = self.node.runtime.list(self.node.own_labels()).await?;
        for line in found {
            let Some(uid) = line.labels.get(labels::POD_UID) else {
                continue;
            };
            let mut workers = self.workers.lock();
            if workers.contains_key(uid) {
                continue;
            }
            tracing::info!(pod = uid, "ending containers of a pod that is not assigned");
            let entry = self.employ(Arc::new(remains(uid, &line.labels)));
            entry.mailbox.removed();
            workers.insert(uid.clone(), entry);
        }
        self.remove_stale_folders();
        Ok(())
    }

    /// Folders of pods that nobody works on.
    fn remove_stale_folders(&self) {
        if !self.node.writes_files {
            return;
        }
        let workers = self.workers.lock();
        let entries = std::fs::read_dir(self.node.data_dir.join("pods"));
        for entry in entries.into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if !workers.contains_key(&uid)
                && let Err(error) = pod_folder::remove(&entry.path())
            {
                tracing::warn!(%error, pod = uid, "a pod's folder stays behind");
            }
        }
    }

    /// Brings the engine's events to the workers, for ever.
    pub async fn watch_engine(self: Arc<Self>) {
        loop {
            match self.node.runtime.events(self.node.own_labels()).await {
                Ok(mut events) => {
                    // What happened before the stream was open is found by listing.
                    self.relist();
                    while let Some(event) = events.next().await {
                        let workers = self.workers.lock();
                        if let Some(entry) = workers.get(&event.pod_uid) {
                            entry.mailbox.touched(event.id);
                        }
                    }
                    tracing::warn!("the container engine's events ended; listing again");
                }
                Err(error) => tracing::debug!(%error, "no events from the container engine"),
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Lists now and then, should something have been missed. One list for all pods: only those that differ look.
    pub async fn relist_slowly(self: Arc<Self>) {
        let mut strays = BTreeSet::new();
        loop {
            tokio::time::sleep(RELIST).await;
            self.relist();
            strays = claims::sweep(&self.node, &strays);
            if let Err(error) = self.sweep().await {
                tracing::debug!(%error, "no sweep");
            }
        }
    }

    fn relist(&self) {
        let workers = self.workers.lock();
        workers
            .values()
            .filter(|entry| !entry.task.is_finished())
            .for_each(|entry| {
                entry.mailbox.relist();
            });
    }
}

/// What can be known of a pod from a container's labels: enough to end it decently.
fn remains(uid: &str, labels_found: &BTreeMap<String, String>) -> Pod {
    let label = |name: &str| labels_found.get(name).cloned();
    Pod {
        metadata: ObjectMeta {
            uid: Some(uid.to_owned()),
            name: label(labels::POD_NAME),
            namespace: label(labels::POD_NAMESPACE),
            deletion_grace_period_seconds: label(labels::GRACE).and_then(|text| text.parse().ok()),
            ..ObjectMeta::default()
        },
        ..Pod::default()
    }
}

/// Removes every container of a node, and its pods' folders; for a node that is taken down for good.
pub async fn remove_everything(node: &Node) -> Result<(), RuntimeError> {
    for line in node.runtime.list(node.own_labels()).await? {
        node.runtime.remove(&line.id).await?;
        if let Some(uid) = line.labels.get(labels::POD_UID) {
            node.network.release(uid);
        }
    }
    let folder = node.data_dir.join("pods");
    if node.writes_files {
        let removed = pod_folder::remove(&folder);
        removed.map_err(|error| RuntimeError::Refused(error.to_string()))?;
    }
    Ok(())
}
