//! Streams that a server asks for: logs. The agent opens them, so that it listens on no port.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use kontiki_base::status::Reason;
use kontiki_proto::node::node_service_client::NodeServiceClient;
use kontiki_proto::node::{
    LogRequest, OpenTunnel, TunnelEnd, TunnelHello, TunnelRequest, open_tunnel, tunnel_request,
};
use kontiki_runtime::{LogOptions, labels};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::node::Node;

/// Chunks between the engine and the server.
const CHUNKS: usize = 16;
/// Largest chunk.
const CHUNK_BYTES: usize = 256 * 1024;

struct Failure {
    reason: Reason,
    message: String,
}

/// Serves one tunnel to its end.
pub async fn serve(node: Arc<Node>, mut client: NodeServiceClient<Channel>, open: OpenTunnel) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let hello = TunnelHello {
        tunnel_id: open.tunnel_id,
        node_name: node.name.clone(),
    };
    let first = tunnel_request::Message::Hello(hello);
    if sender
        .send(TunnelRequest {
            message: Some(first),
        })
        .await
        .is_err()
    {
        return;
    }
    let mut inbound = match client.tunnel(ReceiverStream::new(receiver)).await {
        Ok(response) => response.into_inner(),
        Err(error) => {
            tracing::debug!(%error, "a tunnel was refused");
            return;
        }
    };
    // Owns the sender: the stream to the server ends with the work.
    let work = async move {
        let end = match open.request {
            Some(open_tunnel::Request::Log(request)) => send_log(&node, &request, &sender).await,
            None => Err(Failure {
                reason: Reason::BadRequest,
                message: "this agent does not know the request".into(),
            }),
        };
        let end = match end {
            Ok(()) => TunnelEnd {
                error: String::new(),
                code: 0,
            },
            Err(failure) => TunnelEnd {
                error: failure.message,
                code: u32::from(failure.reason.http_code()),
            },
        };
        let last = TunnelRequest {
            message: Some(tunnel_request::Message::End(end)),
        };
        // A server that has gone away needs no end.
        let _ = sender.send(last).await;
    };
    tokio::pin!(work);
    // The server's side ends when the client went away: then nobody reads the log.
    tokio::select! {
        () = &mut work => {
            while let Some(Ok(_)) = inbound.next().await {}
        }
        () = closed(&mut inbound) => {}
    }
}

async fn closed(inbound: &mut tonic::Streaming<kontiki_proto::node::TunnelResponse>) {
    while let Some(Ok(_)) = inbound.next().await {}
}

async fn send_log(
    node: &Node,
    request: &LogRequest,
    sender: &mpsc::Sender<TunnelRequest>,
) -> Result<(), Failure> {
    let id = container_id(node, request).await?;
    let options = LogOptions {
        follow: request.follow && !request.previous,
        timestamps: request.timestamps,
        tail_lines: request.tail_lines,
        since_unix_s: request.since_unix_ms.map(|ms| ms / 1000),
    };
    let engine = |error: kontiki_runtime::Error| Failure {
        reason: Reason::InternalError,
        message: error.to_string(),
    };
    let mut lines = node.runtime.logs(&id, &options).await.map_err(engine)?;
    let mut left = request
        .limit_bytes
        .map_or(usize::MAX, |limit| limit.max(0) as usize);
    while left > 0 {
        let Some(chunk) = lines.next().await else {
            break;
        };
        let mut chunk: Bytes = chunk.map_err(engine)?;
        chunk.truncate(left);
        left -= chunk.len();
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(CHUNK_BYTES));
            let message = TunnelRequest {
                message: Some(tunnel_request::Message::Data(part)),
            };
            if sender.send(message).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn container_id(node: &Node, request: &LogRequest) -> Result<String, Failure> {
    let engine = |error: kontiki_runtime::Error| Failure {
        reason: Reason::ServiceUnavailable,
        message: error.to_string(),
    };
    let mut wanted = node.pod_labels(&request.pod_uid);
    wanted.push((labels::CONTAINER, request.container.clone()));
    let mut found = node.runtime.list(wanted).await.map_err(engine)?;
    found.sort_by_key(|line| {
        let attempt = line
            .labels
            .get(labels::ATTEMPT)
            .and_then(|text| text.parse::<u32>().ok());
        std::cmp::Reverse(attempt)
    });
    let idx = usize::from(request.previous);
    match found.get(idx) {
        Some(line) => Ok(line.id.clone()),
        None if request.previous => Err(Failure {
            reason: Reason::BadRequest,
            message: format!(
                "previous terminated container \"{}\" not found",
                request.container
            ),
        }),
        None => Err(Failure {
            reason: Reason::BadRequest,
            message: format!(
                "container \"{}\" is waiting to start: ContainerCreating",
                request.container
            ),
        }),
    }
}
