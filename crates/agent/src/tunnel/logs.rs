//! A container's log.

use futures::StreamExt as _;
use kontiki_base::status::Reason;
use kontiki_proto::node::LogRequest;
use kontiki_runtime::LogOptions;

use super::outbound::Outbound;
use super::{Failure, Inbound, containers};
use crate::node::Node;

/// Sends the log, up to its end or until nobody reads.
pub(super) async fn serve(
    node: &Node,
    request: &LogRequest,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let closed = async { while let Some(Ok(_)) = inbound.next().await {} };
    tokio::select! {
        ended = send(node, request, outbound) => ended,
        () = closed => Ok(()),
    }
}

async fn send(node: &Node, request: &LogRequest, outbound: &Outbound) -> Result<(), Failure> {
    let id = container_id(node, request).await?;
    let options = LogOptions {
        follow: request.follow && !request.previous,
        timestamps: request.timestamps,
        tail_lines: request.tail_lines,
        since_unix_s: request.since_unix_ms.map(|ms| ms / 1000),
    };
    let engine =
        |error: kontiki_runtime::Error| Failure::new(Reason::InternalError, error.to_string());
    let mut lines = node.runtime.logs(&id, &options).await.map_err(engine)?;
    let mut left = request
        .limit_bytes
        .map_or(usize::MAX, |limit| limit.max(0) as usize);
    while left > 0 {
        let Some(chunk) = lines.next().await else {
            break;
        };
        let mut chunk = chunk.map_err(engine)?;
        chunk.truncate(left);
        left -= chunk.len();
        if outbound.data(0, chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn container_id(node: &Node, request: &LogRequest) -> Result<String, Failure> {
    let container = &request.container;
    let mut attempts = containers::attempts(node, &request.pod_uid, container).await?;
    let idx = usize::from(request.previous);
    if idx < attempts.len() {
        return Ok(attempts.swap_remove(idx));
    }
    let why = if request.previous {
        format!("previous terminated container \"{container}\" not found")
    } else {
        format!("container \"{container}\" is waiting to start: ContainerCreating")
    };
    Err(Failure::new(Reason::BadRequest, why))
}
