//! The router as clients meet it: requests in, codes and bodies out, over a server in memory.

mod protobuf;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use kontiki_apiserver::testing::{self, ADMIN_TOKEN};
use kontiki_base::limits::REQUEST_BYTES;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{GatewayOptions, router};

mod access;
mod audit;
mod components;
mod connections;
mod custom;
mod extensions;
mod fairness;

const PODS: &str = "/api/v1/namespaces/default/pods";

struct Client(Router);

#[derive(Debug)]
struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    fn message(&self) -> String {
        let json = self.json();
        assert_eq!(
            json["kind"],
            "Status",
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(json["code"], self.code, "{json}");
        json["message"].as_str().unwrap_or("").to_owned()
    }
}

impl Client {
    async fn new() -> Self {
        Self(router(testing::server().await, GatewayOptions::default()))
    }

    async fn response(&self, request: Request<Body>) -> crate::respond::Response {
        self.0.clone().oneshot(request).await.unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.response(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn get(&self, path: &str, accept: &str) -> Answer {
        self.send(
            as_admin("GET", path)
                .header("accept", accept)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    async fn write(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = as_admin(method, path).header("content-type", content_type);
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn create_pod(&self, name: &str) -> Answer {
        self.write(
            "POST",
            PODS,
            "application/json",
            testing::pod(name).to_string(),
        )
        .await
    }
}

fn as_admin(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
}

#[tokio::test]
async fn an_object_lives_and_dies() {
    let client = Client::new().await;
    let created = client.create_pod("a").await;
    assert_eq!(created.code, 201, "{}", created.json());
    assert_eq!(created.header("content-type"), "application/json");
    assert!(!created.header("audit-id").is_empty());
    assert_eq!(created.header("cache-control"), "no-cache, private");
    assert_eq!(client.create_pod("a").await.code, 409);

    let path = format!("{PODS}/a");
    let got = client.get(&path, "application/json").await;
    assert_eq!(
        (got.code, &got.json()["metadata"]["name"]),
        (200, &json!("a"))
    );
    assert!(got.json()["metadata"]["resourceVersion"].is_string());
    let yaml = client.get(&path, "application/yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(String::from_utf8_lossy(&yaml.body).contains("kind: Pod"));

    let patch = r#"{"metadata":{"labels":{"x":"y"}}}"#;
    let patched = client
        .write("PATCH", &path, "application/merge-patch+json", patch)
        .await;
    assert_eq!(
        patched.json()["metadata"]["labels"]["x"],
        "y",
        "{}",
        patched.json()
    );
    let options = r#"{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}"#;
    assert_eq!(
        client
            .write("DELETE", &path, "application/json", options)
            .await
            .code,
        200
    );
    let gone = client.get(&path, "application/json").await;
    assert_eq!(
        (gone.code, gone.message().as_str()),
        (404, "pods \"a\" not found")
    );
}

#[tokio::test]
async fn tables_and_metadata_say_the_version_that_was_asked_for() {
    let client = Client::new().await;
    client.create_pod("a").await;
    for version in ["v1", "v1beta1"] {
        let expected = format!("meta.k8s.io/{version}");
        let accept = format!("application/json;as=Table;v={version};g=meta.k8s.io");
        let table = client.get(PODS, &accept).await.json();
        assert_eq!(table["apiVersion"], expected);
        assert_eq!(table["rows"][0]["object"]["apiVersion"], expected);
        let accept =
            format!("application/json;as=PartialObjectMetadataList;v={version};g=meta.k8s.io");
        let list = client.get(PODS, &accept).await.json();
        assert_eq!(list["apiVersion"], expected);
        assert_eq!(list["items"][0]["apiVersion"], expected);
    }
}

#[tokio::test]
async fn lists_are_spliced_paged_and_reshaped() {
    let client = Client::new().await;
    for name in ["a", "b", "c"] {
        client.create_pod(name).await;
    }
    let list = client.get(PODS, "application/json").await.json();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("PodList"), &json!("v1"))
    );
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(items[0].get("kind").is_none() && items[0].get("apiVersion").is_none());
    assert!(items[0]["metadata"]["resourceVersion"].is_string());
    assert_eq!(
        client.get("/api/v1/pods", "*/*").await.json()["items"],
        list["items"]
    );

    let page = client
        .get(&format!("{PODS}?limit=2"), "application/json")
        .await
        .json();
    assert_eq!(page["metadata"]["remainingItemCount"], 1);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = client
        .get(&format!("{PODS}?limit=2&continue={token}"), "*/*")
        .await
        .json();
    assert_eq!(rest["items"][0]["metadata"]["name"], "c");
    assert!(rest["metadata"].get("continue").is_none());

    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = client.get(PODS, accept).await.json();
    assert_eq!(
        (&table["kind"], &table["rows"][1]["cells"][0]),
        (&json!("Table"), &json!("b"))
    );
    assert_eq!(table["rows"][1]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    let bare = client
        .get(&format!("{PODS}?includeObject=None"), accept)
        .await
        .json();
    assert!(bare["rows"][0]["object"].is_null());
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = client.get(PODS, partial).await.json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("spec").is_none());
}

#[tokio::test]
async fn long_lists_are_streamed_and_compressed_when_asked() {
    let client = Client::new().await;
    for index in 0..40 {
        let mut pod = testing::pod(&format!("p{index:02}"));
        pod["metadata"]["annotations"] = json!({"long": "x".repeat(8 * 1024)});
        let created = client
            .write("POST", PODS, "application/json", pod.to_string())
            .await;
        assert_eq!(created.code, 201);
    }
    let plain = client.get(PODS, "application/json").await;
    assert_eq!(plain.json()["items"].as_array().unwrap().len(), 40);
    let request = as_admin("GET", PODS)
        .header("accept-encoding", "gzip")
        .body(Body::empty());
    let packed = client.send(request.unwrap()).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&*packed.body);
    std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn watches_send_frames_bookmarks_and_errors() {
    let client = Client::new().await;
    client.create_pod("a").await;
    let path = format!(
        "{PODS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let request = as_admin("GET", &path).body(Body::empty()).unwrap();
    let response = client.response(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut chunks = response.into_body().into_data_stream();
    let mut text = String::new();
    while text.lines().count() < 2 {
        text += &String::from_utf8(chunks.next().await.unwrap().unwrap().into()).unwrap();
    }
    let frames: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&frames[0]["type"], &frames[0]["object"]["kind"]),
        (&json!("ADDED"), &json!("Pod"))
    );
    assert_eq!(frames[1]["type"], "BOOKMARK");
    let annotations = &frames[1]["object"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
    client.create_pod("b").await;
    let frame = chunks.next().await.unwrap().unwrap();
    assert!(frame.starts_with(b"{\"type\":\"ADDED\"") && frame.ends_with(b"}\n"));
}

#[tokio::test]
async fn refusals_are_upstreams() {
    let client = Client::new().await;
    client.create_pod("a").await;
    let not_there = "the server could not find the requested resource";
    let not_allowed = "the server does not allow this method on the requested resource";
    for (method, path, code, message) in [
        ("GET", "/api/v1/foos", 404, not_there),
        (
            "GET",
            "/apis/apps/v1/namespaces/default/pods",
            404,
            not_there,
        ),
        ("GET", "/api/v1/namespaces/default/nodes/x", 404, not_there),
        ("POST", "/api/v1/pods", 405, not_allowed),
        ("PUT", PODS, 405, not_allowed),
        ("DELETE", "/api/v1/namespaces", 405, not_allowed),
        (
            "POST",
            "/api/v1/namespaces/default/pods/a/log",
            405,
            not_allowed,
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default/pods/a/status",
            405,
            not_allowed,
        ),
        ("POST", "/version", 405, not_allowed),
        (
            "GET",
            "/api/v1/pods?limit=x",
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("GET", "/api/v1/pods?x=%zz", 400, "invalid URL escape"),
        (
            "GET",
            "/api/v1/pods?timeout=soon",
            400,
            "invalid timeout specified in the request URL: \"soon\"",
        ),
    ] {
        let answer = client
            .write(method, path, "application/json", Body::empty())
            .await;
        assert_eq!(
            (answer.code, answer.message().as_str()),
            (code, message),
            "{method} {path}"
        );
    }
    for path in [
        "/",
        "/nope",
        "/apis/nope.io/v1/things",
        "/api/v2",
        "/openapi/v3/nope",
        "/livez/nope",
    ] {
        let answer = client.get(path, "*/*").await;
        assert_eq!(
            (answer.code, &*answer.body),
            (404, &b"404 page not found\n"[..]),
            "{path}"
        );
    }
    assert_eq!(client.get(PODS, "text/html").await.code, 406);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    assert_eq!(
        client
            .get(&format!("{PODS}?includeObject=x"), table)
            .await
            .code,
        400
    );
}

#[tokio::test]
async fn bodies_within_reason_only() {
    let client = Client::new().await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(REQUEST_BYTES));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let duplicate = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"d","name":"d"},"spec":{"containers":[{"name":"a","image":"i"}]}}"#;
    for (content_type, body, code) in [
        ("application/json", large, 413),
        ("application/json", deep.clone(), 400),
        ("application/yaml", deep, 400),
        ("application/json", "{".to_owned(), 400),
        ("application/json", String::new(), 400),
        ("application/json", "\u{0}".to_owned(), 400),
        (
            "application/vnd.kubernetes.protobuf",
            "k8s\0".to_owned(),
            400,
        ),
        ("text/plain", "{}".to_owned(), 415),
        (
            "application/json",
            r#"{"kind":"Service","apiVersion":"v1"}"#.to_owned(),
            400,
        ),
        ("application/json", duplicate.to_owned(), 400),
    ] {
        let start: String = body.chars().take(20).collect();
        let path = format!("{PODS}?fieldValidation=Strict");
        let answer = client.write("POST", &path, content_type, body).await;
        assert_eq!(
            answer.code,
            code,
            "{content_type} {start}: {}",
            answer.message()
        );
    }
    let warned = client
        .write("POST", PODS, "application/json", duplicate)
        .await;
    assert_eq!(warned.code, 201);
    assert!(
        warned.header("warning").starts_with("299 - \""),
        "{:?}",
        warned.headers
    );

    let request = as_admin("POST", PODS).header("content-encoding", "gzip");
    assert_eq!(
        client
            .send(request.body(Body::from("x")).unwrap())
            .await
            .code,
        415
    );
    let request = as_admin("POST", PODS).header("content-length", "99999999");
    assert_eq!(
        client
            .send(request.body(Body::from("{}")).unwrap())
            .await
            .code,
        413
    );
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: from-yaml}\nspec: {containers: [{name: a, image: i}]}\n";
    assert_eq!(
        client
            .write("POST", PODS, "application/yaml", yaml)
            .await
            .code,
        201
    );
}

#[tokio::test]
async fn patches_by_content_type() {
    let client = Client::new().await;
    client.create_pod("a").await;
    let path = format!("{PODS}/a");
    let refused = client.write("PATCH", &path, "application/json", "{}").await;
    assert_eq!(refused.code, 415);
    assert!(refused.message().ends_with("application/apply-patch+yaml"));
    let merge = "application/merge-patch+json";
    let forced = client
        .write("PATCH", &format!("{path}?force=true"), merge, "{}")
        .await;
    assert!(
        forced
            .message()
            .ends_with("force: Forbidden: may not be specified for non-apply patch")
    );
    let apply = "application/apply-patch+yaml";
    let managed = client.write("PATCH", &path, apply, "{}").await;
    assert!(
        managed
            .message()
            .ends_with("fieldManager: Required value: is required for apply patch")
    );
    let json = r#"[{"op":"add","path":"/metadata/labels/j","value":"1"}]"#;
    let json = client
        .write("PATCH", &path, "application/json-patch+json", json)
        .await;
    assert_eq!(
        json.json()["metadata"]["labels"]["j"],
        "1",
        "{}",
        json.json()
    );
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n";
    let path = "/api/v1/namespaces/default/configmaps/c?fieldManager=me";
    let applied = client.write("PATCH", path, apply, config).await;
    assert_eq!(
        (applied.code, &applied.json()["data"]["a"]),
        (201, &json!("b"))
    );
    assert_eq!(client.write("PATCH", path, apply, config).await.code, 200);
}

#[tokio::test]
async fn discovery_in_both_forms() {
    let client = Client::new().await;
    let version = client.get("/version", "*/*").await.json();
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("35"))
    );
    assert_eq!(
        client.get("/api", "application/json").await.json()["kind"],
        "APIVersions"
    );
    assert_eq!(
        client.get("/apis", "application/json").await.json()["kind"],
        "APIGroupList"
    );
    assert_eq!(
        client.get("/apis/apps", "application/json").await.json()["name"],
        "apps"
    );
    let resources = client.get("/api/v1", "application/json").await.json();
    let names = resources["resources"].as_array().unwrap();
    assert!(names.iter().any(|resource| resource["name"] == "pods/log"));

    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let aggregated = client.get("/apis", accept).await;
    assert_eq!(aggregated.json()["kind"], "APIGroupDiscoveryList");
    assert_eq!(
        aggregated.header("content-type"),
        accept.split(',').next().unwrap()
    );
    let etag = aggregated.header("etag").to_owned();
    let request = as_admin("GET", "/apis")
        .header("accept", accept)
        .header("if-none-match", etag);
    let known = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((known.code, known.body.len()), (304, 0));
}

#[tokio::test]
async fn openapi_documents_are_found_by_their_hash() {
    let client = Client::new().await;
    let index = client.get("/openapi/v3", "application/json").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = client.get(url, "application/json").await;
    assert_eq!(document.code, 200);
    assert_eq!(document.header("cache-control"), "public, immutable");
    let stale = client
        .get("/openapi/v3/apis/apps/v1?hash=old", "application/json")
        .await;
    assert_eq!((stale.code, stale.header("location")), (301, url));
}

#[tokio::test]
async fn grpc_and_rest_share_a_port() {
    let grpc = Router::new().fallback(|| async { "grpc" });
    let both = crate::with_grpc(
        router(testing::server().await, GatewayOptions::default()),
        grpc,
    );
    let both = Client(both);
    let call = Request::post("/kontiki.api.v1.ObjectService/Get");
    let call = call
        .header("content-type", "application/grpc+proto")
        .body(Body::empty())
        .unwrap();
    assert_eq!(both.send(call).await.body, "grpc");
    assert_eq!(both.get(PODS, "*/*").await.json()["kind"], "PodList");
}
