//! A gateway in front of replicas of this process: each a REST face over one store, without gRPC in between.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use kontiki_api::Kind;
use kontiki_apiserver::ApiServer;
use kontiki_apiserver::feed::{Feed, Start};
use kontiki_apiserver::relay::{Client, Io, TakesOver};
use kontiki_apiserver::testing::{self, ADMIN_TOKEN, PLAIN_TOKEN};
use kontiki_base::status::Reason;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::{GatewayOptions, router as rest_router};

mod streams;
mod watching;

const PODS: &str = "/api/v1/namespaces/default/pods";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Replicas that share a store; one answers at a time.
struct Local {
    api: ApiServer,
    rest: Router,
    /// Nobody answers.
    is_down: AtomicBool,
    /// Feeds of pods that were begun.
    n_feeds: AtomicUsize,
    /// Each change breaks all feeds off.
    deaths: watch::Sender<usize>,
}

impl Local {
    async fn new() -> Arc<Self> {
        let api = testing::server().await;
        let rest = rest_router(api.clone(), GatewayOptions::default());
        Self::over(api, rest)
    }

    fn over(api: ApiServer, rest: Router) -> Arc<Self> {
        Arc::new(Self {
            api,
            rest,
            is_down: AtomicBool::new(false),
            n_feeds: AtomicUsize::new(0),
            deaths: watch::Sender::new(0),
        })
    }

    fn reachable(&self) -> Result<(), Status> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Status::new(Reason::ServiceUnavailable, "nobody answers"));
        }
        Ok(())
    }

    /// The replica that is followed dies.
    fn die(&self) {
        self.deaths.send_modify(|n| *n += 1);
    }
}

impl Replicas for Local {
    fn open(&self, client: Client) -> BoxFuture<'_, Result<Box<dyn Io>, Status>> {
        Box::pin(async move {
            self.reachable()?;
            let (near, far) = tokio::io::duplex(1024);
            let rest = self.rest.clone();
            let service = hyper::service::service_fn(
                move |mut request: http::Request<hyper::body::Incoming>| {
                    if client.takes_over {
                        request.extensions_mut().insert(TakesOver);
                    }
                    rest.clone().oneshot(request.map(axum::body::Body::new))
                },
            );
            kontiki_base::task::spawn(kontiki_base::task::TaskKind::Request, async move {
                let server = hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(far), service);
                let _ = server.with_upgrades().await;
            });
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }

    fn feed(&self, kind: Kind, start: Start) -> BoxFuture<'_, Result<Feed, Status>> {
        Box::pin(async move {
            self.reachable()?;
            if kind.plural() == "pods" {
                self.n_feeds.fetch_add(1, Ordering::SeqCst);
            }
            let feed = self.api.feed(&kind, start).await?;
            let mut deaths = self.deaths.subscribe();
            let death = async move { drop(deaths.changed().await) };
            Ok(Feed {
                floor: feed.floor,
                pieces: feed.pieces.take_until(Box::pin(death)).boxed(),
            })
        })
    }
}

struct Gateway {
    local: Arc<Local>,
    router: Router,
}

impl Gateway {
    async fn new() -> Self {
        Self::over(Local::new().await)
    }

    fn over(local: Arc<Local>) -> Self {
        let router = router(local.clone());
        Self { local, router }
    }

    async fn send(&self, request: Request) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str, accept: &str) -> Response {
        self.send(get(path, accept, ADMIN_TOKEN)).await
    }

    /// Until the gateway follows a replica.
    async fn ready(&self) {
        while self.get("/readyz", "*/*").await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    }
}

fn get(path: &str, accept: &str, token: &str) -> Request {
    request("GET", path, accept, token, "")
}

fn request(method: &str, path: &str, accept: &str, token: &str, body: &str) -> Request {
    http::Request::builder()
        .method(method)
        .uri(path)
        .header("accept", accept)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::from(body.to_owned()))
        .unwrap()
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// The same request through the gateway and without it.
async fn both(gateway: &Gateway, make: impl Fn() -> Request) -> [(u16, String, Bytes); 2] {
    let direct = gateway.local.rest.clone().oneshot(make()).await.unwrap();
    let mut answers = Vec::new();
    for response in [gateway.send(make()).await, direct] {
        let content_type = response.headers().get("content-type");
        let content_type = content_type
            .map_or("", |it| it.to_str().unwrap())
            .to_owned();
        answers.push((
            response.status().as_u16(),
            content_type,
            bytes(response).await,
        ));
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn answers_are_those_of_a_replica() {
    let gateway = Gateway::new().await;
    testing::create(&gateway.local.api, "pods", "default", testing::pod("a")).await;
    let patch = r#"{"metadata":{"labels":{"x":"y"}}}"#;
    for (method, path, accept, token, body) in [
        (
            "GET",
            "/api/v1/namespaces/default/pods/a",
            "*/*",
            ADMIN_TOKEN,
            "",
        ),
        ("GET", PODS, "application/yaml", ADMIN_TOKEN, ""),
        ("GET", PODS, TABLE, ADMIN_TOKEN, ""),
        ("GET", PODS, PROTOBUF, ADMIN_TOKEN, ""),
        (
            "GET",
            "/api/v1/pods?limit=1&resourceVersion=0",
            "*/*",
            ADMIN_TOKEN,
            "",
        ),
        ("GET", "/apis", "*/*", ADMIN_TOKEN, ""),
        ("GET", "/openapi/v3", "*/*", ADMIN_TOKEN, ""),
        ("GET", "/version", "*/*", ADMIN_TOKEN, ""),
        (
            "GET",
            "/api/v1/namespaces/default/pods/absent",
            "*/*",
            ADMIN_TOKEN,
            "",
        ),
        ("GET", "/nonsense", "*/*", ADMIN_TOKEN, ""),
        ("GET", PODS, "*/*", PLAIN_TOKEN, ""),
        ("GET", PODS, "*/*", "unknown", ""),
        ("GET", PODS, "text/html", ADMIN_TOKEN, ""),
        ("POST", PODS, "*/*", ADMIN_TOKEN, "{"),
        ("POST", PODS, PROTOBUF, ADMIN_TOKEN, r#"{"kind":"Pod"}"#),
        (
            "PATCH",
            "/api/v1/namespaces/default/pods/a",
            "*/*",
            ADMIN_TOKEN,
            patch,
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default/pods/absent",
            "*/*",
            ADMIN_TOKEN,
            "",
        ),
        ("PUT", PODS, "*/*", ADMIN_TOKEN, "{}"),
        (
            "GET",
            "/api/v1/pods?watch=1&resourceVersion=x",
            "*/*",
            ADMIN_TOKEN,
            "",
        ),
        ("GET", "/api/v1/pods?watch=1", "*/*", PLAIN_TOKEN, ""),
        (
            "GET",
            "/api/v1/pods?watch=1",
            "application/yaml",
            ADMIN_TOKEN,
            "",
        ),
        (
            "GET",
            "/api/v1/pods?watch=1&resourceVersionMatch=Exact",
            "*/*",
            ADMIN_TOKEN,
            "",
        ),
    ] {
        let [through, direct] = both(&gateway, || request(method, path, accept, token, body)).await;
        assert_eq!(through, direct, "{method} {path} {accept}");
    }
    assert_eq!(
        gateway.local.n_feeds.load(Ordering::SeqCst),
        0,
        "nobody watched"
    );
}

#[tokio::test]
async fn writes_reach_the_store_and_users_are_told_apart() {
    let gateway = Gateway::new().await;
    let pod = testing::pod("b").to_string();
    let made = gateway
        .send(request("POST", PODS, "*/*", ADMIN_TOKEN, &pod))
        .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert!(made.headers().contains_key("audit-id"));
    let refused = gateway
        .send(request("POST", PODS, "*/*", PLAIN_TOKEN, &pod))
        .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let mut acting = request("GET", PODS, "*/*", ADMIN_TOKEN, "");
    let headers = acting.headers_mut();
    headers.insert("impersonate-user", "jane".parse().unwrap());
    assert_eq!(gateway.send(acting).await.status(), StatusCode::FORBIDDEN);
    // Nobody tells a replica by headers that a gateway asks.
    let mut forged = get("/api/v1/pods?watch=1", "*/*", PLAIN_TOKEN);
    let headers = forged.headers_mut();
    headers.insert(crate::watch::GOES_ON, "1".parse().unwrap());
    assert_eq!(gateway.send(forged).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_a_replica_clients_are_told_to_come_back() {
    let gateway = Gateway::new().await;
    gateway.ready().await;
    gateway.local.is_down.store(true, Ordering::SeqCst);
    gateway.local.die();
    let refused = gateway.get(PODS, "*/*").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    let status: Value = serde_json::from_slice(&bytes(refused).await).unwrap();
    assert_eq!(status["reason"], "ServiceUnavailable");
    let in_protobuf = gateway.get(PODS, PROTOBUF).await;
    assert_eq!(in_protobuf.headers()["content-type"], PROTOBUF);
    assert_eq!(gateway.get("/livez", "*/*").await.status(), StatusCode::OK);
    while gateway.get("/readyz", "*/*").await.status() == StatusCode::OK {
        tokio::task::yield_now().await;
    }
    gateway.local.is_down.store(false, Ordering::SeqCst);
    gateway.ready().await;
    assert_eq!(gateway.get(PODS, "*/*").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_the_gateways_own_and_need_the_right() {
    let gateway = Gateway::new().await;
    let metrics = gateway.get("/metrics", "*/*").await;
    assert_eq!(metrics.status(), StatusCode::OK);
    let text = bytes(metrics).await;
    assert!(String::from_utf8_lossy(&text).contains("kontiki_gateway_"));
    let refused = gateway.send(get("/metrics", "*/*", PLAIN_TOKEN)).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let mut call = get("/kontiki.api.v1.ObjectService/Get", "*/*", ADMIN_TOKEN);
    let headers = call.headers_mut();
    headers.insert(CONTENT_TYPE, "application/grpc".parse().unwrap());
    assert_eq!(gateway.send(call).await.headers()["grpc-status"], "12");
}
