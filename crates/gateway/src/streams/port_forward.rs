//! port-forward: connections to ports of a pod, several over one connection of the client.
//!
//! Three ways: pairs of SPDY streams; the same SPDY inside a WebSocket; and channels of a WebSocket, two for each port
//! that the query names. Each connection has a tunnel of its own to the pod's agent, so that one that stalls stops no
//! other on the way.

mod over_spdy;
mod over_websocket;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use kontiki_apiserver::{ApiServer, Context, NodeRequest, OnNode, PodPort, Target, Tunnel};
use kontiki_base::status::Status;

use super::upgrade::{self, Asked, Refused};
use super::websocket;
use crate::query::Query;
use crate::respond::Response;
use crate::route::Parsed;
use crate::router::Gateway;

/// SPDY inside a WebSocket.
const TUNNELED: &str = "SPDY/3.1+portforward.k8s.io";
/// WebSocket protocols.
const WEBSOCKET: &[&str] = &[
    TUNNELED,
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "",
];
/// Stream protocols over SPDY.
const SPDY: &[&str] = &["portforward.k8s.io"];
/// Ports of one WebSocket: each has two of its 256 channels.
const PORTS: usize = 127;

/// Opens connections to a pod. A trait, so that tests need no node.
trait Dial: Clone + Send + Sync + 'static {
    /// Connects to a port.
    fn dial(&self, port: u16) -> impl Future<Output = Result<Tunnel, Status>> + Send;
}

/// The pod, through its node.
#[derive(Clone)]
struct Pod {
    api: ApiServer,
    node: String,
    uid: String,
}

impl Dial for Pod {
    async fn dial(&self, port: u16) -> Result<Tunnel, Status> {
        let asked = OnNode {
            node: self.node.clone(),
            request: NodeRequest::PortForward(PodPort {
                pod_uid: self.uid.clone(),
                port,
            }),
        };
        let opened = self.api.connect_node(asked).await;
        opened.map_err(|mut status| {
            status.message = format!(
                "error forwarding port {port} to pod {}, uid : {}",
                self.uid, status.message
            );
            status
        })
    }
}

/// Serves a request.
pub async fn serve(
    gateway: &Arc<Gateway>,
    target: &Target,
    parsed: &Parsed,
    context: Context,
    request: Request,
) -> Result<Response, Status> {
    let verb = parsed.verb(request.method());
    // Admission sees what can be read; what cannot is refused later, in upstream's order.
    let named = ports(&parsed.query).unwrap_or_default();
    let api = &gateway.api;
    let on_node = api.port_forward(&context, target, verb, &named).await?;
    let NodeRequest::PortForward(PodPort { pod_uid, .. }) = on_node.request else {
        return Err(Status::internal("a request for something else"));
    };
    let pod = Pod {
        api: gateway.api.clone(),
        node: on_node.node,
        uid: pod_uid,
    };
    let switched = switch(pod, &parsed.query, context, request);
    Ok(switched.unwrap_or_else(Refused::into_response))
}

fn switch(
    pod: Pod,
    query: &Query,
    context: Context,
    mut request: Request,
) -> Result<Response, Refused> {
    let asked = upgrade::asked(request.method(), request.headers())?;
    let protocol = asked.protocol(WEBSOCKET, SPDY)?;
    let ports = match asked {
        Asked::WebSocket(..) if protocol != TUNNELED => ports(query)?,
        _ => Vec::new(),
    };
    let connection = upgrade::connection(&mut request)?;
    let serve = move |asked, io, early: Bytes| async move {
        match asked {
            Asked::Spdy(_) => over_spdy::run(io, &early, pod).await,
            Asked::WebSocket(..) if protocol == TUNNELED => {
                websocket::carry(io, &early, |inner| over_spdy::run(inner, b"", pod)).await;
            }
            Asked::WebSocket(..) => {
                let is_base64 = protocol.contains("base64.");
                over_websocket::run(io, &early, is_base64, &ports, pod).await;
            }
        }
    };
    Ok(upgrade::switch(connection, asked, protocol, context, serve))
}

/// The ports that a WebSocket's channels are for, as upstream reads them.
fn ports(query: &Query) -> Result<Vec<u16>, Refused> {
    let refuse = |why: String| Refused::text(StatusCode::BAD_REQUEST, &why);
    let mut ports = Vec::new();
    for text in query.all("ports").flat_map(|text| text.split(',')) {
        let port: u16 = text
            .parse()
            .map_err(|error| refuse(format!("unable to parse {text:?} as a port: {error}")))?;
        if port == 0 {
            return Err(refuse(format!("port {text:?} must be > 0")));
        }
        ports.push(port);
    }
    match ports.len() {
        0 => Err(refuse("query parameter \"port\" is required".to_owned())),
        1..=PORTS => Ok(ports),
        _ => Err(refuse(format!(
            "at most {PORTS} ports can be forwarded at once"
        ))),
    }
}
