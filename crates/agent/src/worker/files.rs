//! The volumes of a pod while it lives: made before its first container, then kept like what they show.
//!
//! A change of a ConfigMap or Secret, a token that is due, and an agent that finds containers of its predecessor are one
//! and the same: the files are to be looked at again.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container as Spec;

use super::act::RETRY_MS;
use super::plan::Waiting;
use super::{IDLE, Worker};
use crate::pod::volumes;

/// What a worker knows of its pod's volumes.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    is_ready: bool,
    /// When to look at them again, in Unix milliseconds.
    due_ms: Option<u64>,
}

impl Volumes {
    /// Something that they show changed.
    pub(super) fn changed(&mut self) {
        self.due_ms = Some(0);
    }
}

impl Worker {
    /// Volumes before the first container; false, with an event, when something is missing yet.
    pub(super) async fn prepare_volumes(&mut self, spec: &Spec) -> bool {
        if self.volumes.is_ready {
            return true;
        }
        if let Err(error) = self.write_volumes().await {
            let text = format!("MountVolume.SetUp failed for {error}");
            self.node
                .events
                .warning(&self.pod, None, "FailedMount", &text);
            let waiting = Waiting {
                reason: "ContainerCreating",
                message: String::new(),
            };
            let at_ms = self.node.now_ms() + RETRY_MS;
            self.memory
                .failed_starts
                .insert(spec.name.clone(), (waiting, at_ms));
            return false;
        }
        self.volumes.is_ready = true;
        true
    }

    /// Running containers see new ConfigMaps, secrets and tokens.
    pub(super) async fn keep_volumes(&mut self) {
        // Containers that run have volumes, if perhaps of an agent before.
        if !self.volumes.is_ready && self.instances.running().next().is_some() {
            self.volumes.is_ready = true;
            self.volumes.changed();
        }
        if self.until_volumes().is_zero()
            && let Err(error) = self.write_volumes().await
        {
            tracing::debug!(error, "volumes stay as they were");
        }
    }

    /// How long until the volumes are to be looked at again.
    pub(super) fn until_volumes(&self) -> Duration {
        let due_ms = self.volumes.due_ms.filter(|_| self.volumes.is_ready);
        match due_ms {
            Some(due_ms) if !self.memory.was_final => {
                Duration::from_millis(due_ms.saturating_sub(self.node.now_ms()))
            }
            _ => IDLE,
        }
    }

    async fn write_volumes(&mut self) -> Result<(), String> {
        self.volumes.due_ms = None;
        if !self.node.writes_files {
            return Ok(());
        }
        let mailbox = std::sync::Arc::clone(&self.mailbox);
        let fetched = tokio::select! {
            fetched = self.node.tokens.prepare(&self.node, &self.pod) => fetched,
            // A server that does not answer keeps no pod from ending.
            () = mailbox.wait_for_end() => Err("the pod ends".to_owned()),
        };
        let written = fetched.and_then(|()| volumes::ensure(&self.node, &self.pod, &self.place));
        self.volumes.due_ms = match &written {
            Ok(()) => self.node.tokens.renew_at_ms(&self.pod),
            Err(_) => Some(self.node.now_ms() + RETRY_MS),
        };
        written
    }
}
