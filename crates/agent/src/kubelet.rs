//! The HTTP paths of a kubelet, as clients ask for them through the node's proxy. Reading only: what a kubelet's port
//! also does (exec, attach) goes through the API.

mod metrics;
mod stats;
mod usage;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use kontiki_base::metrics::METRICS;
use serde_json::json;

pub use usage::Sampler;

use crate::node::Node;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request.
pub async fn answer<B>(node: &Node, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n");
    }
    let path = request.uri().path().trim_end_matches('/');
    let (content_type, body) = match path {
        "/healthz" | "/healthz/ping" => (TEXT, "ok".to_owned()),
        "/pods" | "/runningpods" => (JSON, pods(node)),
        "/metrics" => (PROMETHEUS, METRICS.render()),
        "/stats/summary" | "/metrics/resource" | "/metrics/cadvisor" => {
            match node.sampler.take(node).await {
                Ok(usage) => match path {
                    "/stats/summary" => (JSON, stats::summary(node, &usage).to_string()),
                    "/metrics/resource" => (PROMETHEUS, metrics::resource(&usage)),
                    _ => (PROMETHEUS, metrics::cadvisor(&usage)),
                },
                Err(error) => {
                    return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error}\n"));
                }
            }
        }
        _ => return respond(StatusCode::NOT_FOUND, TEXT, "404 page not found\n"),
    };
    respond(StatusCode::OK, content_type, body)
}

fn respond(
    code: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The pods that the node was assigned, as it was last told of them.
fn pods(node: &Node) -> String {
    let items: Vec<_> = node.mirror.pods().into_values().collect();
    let items: Vec<_> = items.iter().map(|pod| &**pod).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}).to_string()
}
