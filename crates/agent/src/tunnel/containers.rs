//! Finding the container that a stream is about.

use kontiki_base::status::Reason;
use kontiki_runtime::{Container, Run, labels};

use super::Failure;
use crate::node::Node;

/// Ids of a container's attempts, the newest first.
pub(super) async fn attempts(
    node: &Node,
    pod_uid: &str,
    container: &str,
) -> Result<Vec<String>, Failure> {
    let mut wanted = node.pod_labels(pod_uid);
    wanted.push((labels::CONTAINER, container.to_owned()));
    let found = node.runtime.list(wanted).await;
    let mut found =
        found.map_err(|error| Failure::new(Reason::ServiceUnavailable, error.to_string()))?;
    found.sort_by_key(|line| {
        let attempt = line.labels.get(labels::ATTEMPT);
        std::cmp::Reverse(attempt.and_then(|text| text.parse::<u32>().ok()))
    });
    Ok(found.into_iter().map(|line| line.id).collect())
}

/// The running attempt of a container.
pub(super) async fn running(
    node: &Node,
    pod_uid: &str,
    container: &str,
) -> Result<Container, Failure> {
    let refuse = |why: String| Failure::new(Reason::InternalError, why);
    let attempts = attempts(node, pod_uid, container).await?;
    let newest = attempts
        .first()
        .ok_or_else(|| refuse(format!("container not found (\"{container}\")")))?;
    let found = node.runtime.inspect(newest).await?;
    let state = match found.run {
        Run::Running { .. } => return Ok(found),
        Run::Created => "CONTAINER_CREATED",
        Run::Exited { .. } => "CONTAINER_EXITED",
    };
    Err(refuse(format!("container is in {state} state")))
}
