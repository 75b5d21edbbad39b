//! Parsers behind the REST face, with all that comes after them: a router over a server in memory gets every input, and
//! answers it with no failure of its own, in a size that bears a proportion to what it was sent.

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use kontiki_apiserver::testing::{self, ADMIN_TOKEN};
use kontiki_gateway::{GatewayOptions, router};
use serde_json::json;
use tower::ServiceExt as _;

use crate::driver::{Verdict, fuzz};

const PODS: &str = "/api/v1/namespaces/default/pods";
const ROUNDS: u64 = 1500;
/// What an answer may have beyond the objects that are stored and several times the input.
const ANSWER_BYTES: usize = 64 * 1024;

/// A server with one pod, `a`.
struct Server {
    runtime: tokio::runtime::Runtime,
    router: Router,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.unwrap();
        let router = runtime.block_on(async {
            let server = testing::server().await;
            let mut pod = testing::pod("a");
            pod["metadata"]["finalizers"] = json!(["hostile.example/a"]);
            testing::create(&server, "pods", "default", pod).await;
            router(server, GatewayOptions::default())
        });
        Self { runtime, router }
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Verdict {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
            .header("content-type", content_type)
            .body(Body::from(body.to_vec()));
        // What is no URL never comes to the server.
        let Ok(request) = request else {
            return Ok(());
        };
        let answering = async {
            let response = self.router.clone().oneshot(request).await;
            let (parts, body) = response.unwrap().into_parts();
            (
                parts.status.as_u16(),
                body.collect().await.unwrap().to_bytes(),
            )
        };
        let (code, answer) = self.runtime.block_on(answering);
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(2000)]).into_owned();
        // Upstream's own answer to a configuration that does not fit the schema.
        if code >= 500 && !shown.contains("failed to create typed patch object") {
            return Err(format!("{code}: {shown}"));
        }
        if answer.len() > ANSWER_BYTES + 8 * (body.len() + path.len()) {
            return Err(format!("{} bytes: {shown}", answer.len()));
        }
        Ok(())
    }
}

fn bodies(name: &str, method: &str, path: &str, content_type: &str) {
    let server = Server::new();
    fuzz(name, ROUNDS, |input| {
        server.send(method, path, content_type, input)
    });
}

#[test]
fn json_creates() {
    bodies(
        "object",
        "POST",
        &format!("{PODS}?dryRun=All"),
        "application/json",
    );
}

#[test]
fn yaml_creates() {
    let path = format!("{PODS}?dryRun=All&fieldValidation=Strict");
    bodies("yaml", "POST", &path, "application/yaml");
}

#[test]
fn json_patches() {
    let path = format!("{PODS}/a?dryRun=All");
    bodies("json-patch", "PATCH", &path, "application/json-patch+json");
}

#[test]
fn merge_patches() {
    let path = format!("{PODS}/a?dryRun=All&fieldValidation=Warn");
    bodies(
        "merge-patch",
        "PATCH",
        &path,
        "application/merge-patch+json",
    );
}

#[test]
fn strategic_merge_patches() {
    let path = format!("{PODS}/a?dryRun=All");
    let content_type = "application/strategic-merge-patch+json";
    bodies("strategic-merge-patch", "PATCH", &path, content_type);
}

#[test]
fn applies() {
    let path = format!("{PODS}/a?dryRun=All&fieldManager=m&force=true");
    bodies("apply", "PATCH", &path, "application/apply-patch+yaml");
}

/// Field paths come in as what an object says of its managers.
#[test]
fn managed_fields() {
    let path = format!("{PODS}/a?dryRun=All");
    bodies(
        "managed-fields",
        "PATCH",
        &path,
        "application/merge-patch+json",
    );
}

#[test]
fn queries() {
    let server = Server::new();
    fuzz("query", ROUNDS, |input| {
        let query: String = input.iter().map(|byte| escaped(*byte)).collect();
        server.send("GET", &format!("{PODS}?{query}"), "", b"")
    });
}

/// As a client writes it: what may stand in a query stands, the rest is escaped.
fn escaped(byte: u8) -> String {
    let stands = byte.is_ascii_alphanumeric() || b"=&%-._~+".contains(&byte);
    match stands {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02x}"),
    }
}

#[test]
fn continue_tokens() {
    let server = Server::new();
    fuzz("continue-token", ROUNDS, |input| {
        let token: String = input.iter().map(|byte| escaped(*byte)).collect();
        server.send("GET", &format!("{PODS}?limit=1&continue={token}"), "", b"")
    });
}
