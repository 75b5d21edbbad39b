//! What reaches a pod worker from outside. Level-triggered: a message that is overtaken by a newer one is gone, so
//! that nothing here can grow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::probes::{Kind, Verdict};

/// What a pod worker has not looked at yet.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The pod as assigned, when it changed.
    pub pod: Option<Arc<Pod>>,
    /// The pod is not assigned any more.
    pub removed: bool,
    /// Containers (ids) that something happened to.
    pub touched: BTreeSet<String>,
    /// Something may have happened to any container.
    pub relist: bool,
    /// ConfigMaps or secrets changed.
    pub config: bool,
    /// Latest verdicts.
    pub verdicts: BTreeMap<(String, Kind), bool>,
}

/// A pod worker's mailbox.
#[derive(Default)]
pub struct Mailbox {
    inbox: Mutex<Inbox>,
    notify: Notify,
}

impl Mailbox {
    /// A new version of the pod.
    pub fn pod(&self, pod: Arc<Pod>) {
        self.change(|inbox| inbox.pod = Some(pod));
    }

    /// The pod is gone from the assignment.
    pub fn removed(&self) {
        self.change(|inbox| inbox.removed = true);
    }

    /// A container changed.
    pub fn touched(&self, container_id: String) {
        self.change(|inbox| {
            inbox.touched.insert(container_id);
        });
    }

    /// Events may have been lost.
    pub fn relist(&self) {
        self.change(|inbox| inbox.relist = true);
    }

    /// ConfigMaps or secrets changed.
    pub fn config(&self) {
        self.change(|inbox| inbox.config = true);
    }

    /// A probe changed its mind.
    pub fn verdict(&self, verdict: Verdict) {
        self.change(|inbox| {
            inbox
                .verdicts
                .insert((verdict.container_id, verdict.kind), verdict.good);
        });
    }

    /// Look again, nothing being new.
    pub fn poke(&self) {
        self.notify.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.inbox.lock());
        self.notify.notify_one();
    }

    /// Takes what came.
    pub fn take(&self) -> Inbox {
        std::mem::take(&mut self.inbox.lock())
    }

    /// Waits for something to come.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Waits until the pod is to end, leaving everything in the box.
    pub async fn wait_for_end(&self) {
        loop {
            let ending = {
                let inbox = self.inbox.lock();
                let deleted = |pod: &Arc<Pod>| pod.metadata.deletion_timestamp.is_some();
                inbox.removed || inbox.pod.as_ref().is_some_and(deleted)
            };
            if ending {
                // For the loop that takes it out.
                self.notify.notify_one();
                return;
            }
            self.notify.notified().await;
        }
    }
}
