//! HTTP that the agent itself answers, over a tunnel: the node's proxy.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kontiki_base::limits::TUNNEL_CHUNK_BYTES;

use super::outbound::Outbound;
use super::{Failure, Inbound, ports};
use crate::kubelet;
use crate::node::Node;

/// Serves one connection.
pub(super) async fn serve(
    node: &Arc<Node>,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let (near, far) = tokio::io::duplex(TUNNEL_CHUNK_BYTES);
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(kubelet::answer(node, &request).await) },
        );
    let connection = http1::Builder::new().serve_connection(TokioIo::new(near), service);
    let (read, write) = tokio::io::split(far);
    let (served, passed) = tokio::join!(connection, ports::pass(read, write, inbound, outbound));
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the node's proxy ended");
    }
    passed
}
