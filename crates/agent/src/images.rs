//! Getting a container's image: pull policy, back-off, and one pull at a time per image.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use kontiki_runtime::{Error as RuntimeError, Image, Runtime};
use parking_lot::Mutex;

use crate::node::Node;

/// First wait after a failed pull.
const FIRST_MS: u64 = 10_000;
/// Longest wait between pulls.
const CAP_MS: u64 = 300_000;

/// Why a container has no image yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoImage {
    /// Reason of the waiting state.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
    /// When to try again, in Unix milliseconds; `None` for never by itself.
    pub retry_ms: Option<u64>,
}

/// Failed pulls by pod uid and image, and pulls under way.
#[derive(Default)]
pub struct Pulls {
    failed: Mutex<BTreeMap<(String, String), Failure>>,
    running: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Clone, Copy)]
struct Failure {
    delay_ms: u64,
    at_ms: u64,
}

impl Pulls {
    /// Forgets a pod's failures.
    pub fn forget(&self, pod_uid: &str) {
        self.failed.lock().retain(|(uid, _), _| uid != pod_uid);
    }
}

/// The image of a container, by its pull policy.
pub async fn ensure(node: &Node, pod: &Pod, container: &Container) -> Result<Image, NoImage> {
    let reference = container.image.clone().unwrap_or_default();
    if !is_reference(&reference) {
        let message = format!(
            "Failed to apply default image tag \"{reference}\": couldn't parse image name \
             \"{reference}\": invalid reference format"
        );
        node.events
            .warning(pod, Some(&container.name), "InspectFailed", &message);
        return Err(NoImage {
            reason: "InvalidImageName",
            message,
            retry_ms: None,
        });
    }
    let policy = container
        .image_pull_policy
        .as_deref()
        .unwrap_or("IfNotPresent");
    let local = node
        .runtime
        .image(&reference)
        .await
        .map_err(|error| unreachable(node, &error))?;
    match (policy, local) {
        ("IfNotPresent" | "Never", Some(image)) => {
            let message = format!("Container image \"{reference}\" already present on machine");
            node.events
                .normal(pod, Some(&container.name), "Pulled", &message);
            Ok(image)
        }
        ("Never", None) => {
            let message =
                format!("Container image \"{reference}\" is not present with pull policy of Never");
            node.events
                .warning(pod, Some(&container.name), "ErrImageNeverPull", &message);
            let retry_ms = Some(node.now_ms() + FIRST_MS);
            Err(NoImage {
                reason: "ErrImageNeverPull",
                message,
                retry_ms,
            })
        }
        _ => pull(node, pod, container, &reference).await,
    }
}

async fn pull(
    node: &Node,
    pod: &Pod,
    container: &Container,
    reference: &str,
) -> Result<Image, NoImage> {
    let key = (
        pod.metadata.uid.clone().unwrap_or_default(),
        reference.to_owned(),
    );
    let name = Some(container.name.as_str());
    if let Some(failure) = node.pulls.failed.lock().get(&key).copied() {
        let retry_ms = failure.at_ms + failure.delay_ms;
        if node.now_ms() < retry_ms {
            let message = format!("Back-off pulling image \"{reference}\"");
            node.events.normal(pod, name, "BackOff", &message);
            return Err(NoImage {
                reason: "ImagePullBackOff",
                message,
                retry_ms: Some(retry_ms),
            });
        }
    }
    node.events.normal(
        pod,
        name,
        "Pulling",
        &format!("Pulling image \"{reference}\""),
    );
    let started_ms = node.now_ms();
    match pull_alone(node, reference).await {
        Ok(image) => {
            node.pulls.failed.lock().remove(&key);
            let took_ms = node.now_ms().saturating_sub(started_ms);
            let message = format!(
                "Successfully pulled image \"{reference}\" in {took_ms}ms. Image size: {} bytes.",
                image.size_bytes
            );
            node.events.normal(pod, name, "Pulled", &message);
            Ok(image)
        }
        Err(error) => {
            let message = format!("failed to pull image \"{reference}\": {error}");
            let said = format!("Failed to pull image \"{reference}\": {error}");
            node.events.warning(pod, name, "Failed", &said);
            node.events
                .warning(pod, name, "Failed", "Error: ErrImagePull");
            let now_ms = node.now_ms();
            let mut failed = node.pulls.failed.lock();
            let delay_ms = failed
                .get(&key)
                .map_or(FIRST_MS, |last| (last.delay_ms * 2).min(CAP_MS));
            failed.insert(
                key,
                Failure {
                    delay_ms,
                    at_ms: now_ms,
                },
            );
            // Soon again, to show the back-off as such.
            let retry_ms = Some(now_ms + 1000);
            Err(NoImage {
                reason: "ErrImagePull",
                message,
                retry_ms,
            })
        }
    }
}

/// Pods that want the same image wait for one pull.
async fn pull_alone(node: &Node, reference: &str) -> Result<Image, RuntimeError> {
    let lock = Arc::clone(
        node.pulls
            .running
            .lock()
            .entry(reference.to_owned())
            .or_default(),
    );
    let _turn = lock.lock().await;
    let result = node.runtime.pull(reference).await;
    node.pulls.running.lock().remove(reference);
    result
}

fn unreachable(node: &Node, error: &RuntimeError) -> NoImage {
    let retry_ms = Some(node.now_ms() + 1000);
    NoImage {
        reason: "ImageInspectError",
        message: error.to_string(),
        retry_ms,
    }
}

/// A cheap check before the engine is bothered: repository in lower case, no spaces.
fn is_reference(reference: &str) -> bool {
    let (path, tag) = match reference.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (reference, None),
    };
    let repository = path.split('@').next().unwrap_or("");
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    // A registry's host may have capitals; the rest may not.
    let rest = repository
        .split_once('/')
        .map_or(repository, |(first, rest)| {
            if first.contains('.') || first.contains(':') {
                rest
            } else {
                repository
            }
        });
    !rest.is_empty()
        && rest.chars().all(ok)
        && !rest.contains("//")
        && tag.is_none_or(|tag| !tag.is_empty() && !tag.contains(char::is_whitespace))
}

/// Makes the pause image when the engine does not have it.
pub async fn ensure_pause(runtime: &dyn Runtime) -> Result<(), RuntimeError> {
    use kontiki_runtime::images::{PAUSE_IMAGE, build_pause};
    if runtime.image(PAUSE_IMAGE).await?.is_none() {
        runtime.load(build_pause()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn references_are_checked_before_the_engine_is_asked() {
        for good in [
            "nginx",
            "nginx:1.27",
            "host:5000/a/b:v1",
            "Reg.io/a@sha256:00",
            "a/b_c-d",
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "Nginx", "a b", "nginx:", "a//b"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
