//! What the audit log tells of REST requests: those that are served, refused, impersonated, long.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use kontiki_apiserver::audit::Entries;
use kontiki_apiserver::testing::{self, ADMIN_TOKEN, PLAIN_TOKEN};
use serde_json::{Value, json};

use super::{Client, PODS, as_admin};
use crate::{GatewayOptions, router};

async fn audited(rules: Value) -> (Client, Entries) {
    let (server, entries) = testing::server_audited(rules).await;
    (Client(router(server, GatewayOptions::default())), entries)
}

fn events(entries: &mut Entries) -> Vec<Value> {
    let lines = String::from_utf8(entries.ready_lines()).unwrap();
    let read = |line| serde_json::from_str(line).unwrap();
    lines.lines().map(read).collect()
}

/// User, verb, resource, stage, code, decision.
fn told(event: &Value) -> String {
    format!(
        "{} {} {} {} {} {}",
        event["user"]["username"].as_str().unwrap_or("nobody"),
        event["verb"].as_str().unwrap_or_default(),
        event["objectRef"]["resource"].as_str().unwrap_or("-"),
        event["stage"].as_str().unwrap_or_default(),
        event["responseStatus"]["code"],
        event["annotations"]["authorization.k8s.io/decision"]
            .as_str()
            .unwrap_or("-"),
    )
}

fn by(token: &str, path: &str) -> Request<Body> {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn requests_are_told_whether_served_or_refused() {
    let rules = json!([{"level": "Metadata", "omitStages": ["RequestReceived"]}]);
    let (client, mut entries) = audited(rules).await;
    client.create_pod("a").await;
    client.send(by("wrong", PODS)).await;
    client.send(by(PLAIN_TOKEN, PODS)).await;
    client.send(by(ADMIN_TOKEN, "/version")).await;
    let path = format!("{PODS}/none");
    client.send(by(ADMIN_TOKEN, &path)).await;
    let events = events(&mut entries);
    let all: Vec<String> = events.iter().map(told).collect();
    assert_eq!(
        all,
        [
            "kubernetes-admin create pods ResponseComplete 201 allow",
            "nobody list pods ResponseStarted 401 -",
            "jane list pods ResponseComplete 403 forbid",
            "kubernetes-admin get - ResponseComplete 200 allow",
            "kubernetes-admin get pods ResponseComplete 404 allow",
        ]
    );
    assert_eq!(events[4]["responseStatus"]["reason"], "NotFound");
    assert_eq!(events[4]["objectRef"]["name"], "none");
    assert_eq!(events[0]["requestURI"], PODS);
    let reason = &events[0]["annotations"]["authorization.k8s.io/reason"];
    assert_eq!(reason, "");
}

#[tokio::test]
async fn an_id_that_is_sent_comes_back_and_is_recorded() {
    let (client, mut entries) = audited(json!([{"level": "Metadata"}])).await;
    let request = as_admin("GET", PODS).header("audit-id", "mine");
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("audit-id"), "mine");
    let answer = client.get(PODS, "*/*").await;
    let own = answer.header("audit-id").to_owned();
    let ids: Vec<Value> = events(&mut entries)
        .iter()
        .map(|event| event["auditID"].clone())
        .collect();
    assert_eq!(ids, ["mine", "mine", &own, &own]);
}

#[tokio::test]
async fn who_acts_as_another_is_told_by_both_names() {
    let rules = json!([{"level": "Metadata", "omitStages": ["RequestReceived"]}]);
    let (client, mut entries) = audited(rules).await;
    let request = as_admin("GET", PODS).header("impersonate-user", "jane");
    client.send(request.body(Body::empty()).unwrap()).await;
    let mut refused = by(PLAIN_TOKEN, PODS);
    let name = http::HeaderValue::from_static("bob");
    refused.headers_mut().insert("impersonate-user", name);
    client.send(refused).await;
    let events = events(&mut entries);
    assert_eq!(
        told(&events[0]),
        "kubernetes-admin list pods ResponseComplete 403 forbid"
    );
    assert_eq!(events[0]["impersonatedUser"]["username"], "jane");
    assert_eq!(told(&events[1]), "jane list pods ResponseComplete 403 -");
    assert_eq!(events[1].get("impersonatedUser"), None);
}

#[tokio::test]
async fn bodies_are_kept_where_the_policy_says_so() {
    let rules = json!([
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets"]}]},
        {"level": "RequestResponse", "omitStages": ["RequestReceived"]},
    ]);
    let (client, mut entries) = audited(rules).await;
    client.create_pod("a").await;
    client.get(PODS, "*/*").await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"key": "hidden"}}).to_string();
    let secrets = "/api/v1/namespaces/default/secrets";
    client
        .write("POST", secrets, "application/json", secret)
        .await;
    client.get(&format!("{secrets}/s"), "*/*").await;
    let path = format!("{PODS}/a");
    let patch = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    client
        .write("PATCH", &path, "application/merge-patch+json", patch)
        .await;
    let delete = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    client
        .write("DELETE", &path, "application/json", delete.to_string())
        .await;
    let events = events(&mut entries);
    assert!(
        !events
            .iter()
            .any(|event| event.to_string().contains("hidden"))
    );
    let complete: Vec<&Value> = events
        .iter()
        .filter(|event| event["stage"] == "ResponseComplete")
        .collect();
    let (created, listed, deleted) = (complete[0], complete[1], complete[5]);
    assert_eq!(created["requestObject"]["metadata"]["name"], "a");
    assert_eq!(created["responseObject"]["kind"], "Pod");
    assert_eq!(listed["responseObject"]["kind"], "PodList");
    assert_eq!(
        listed["responseObject"]["items"][0]["metadata"]["name"],
        "a"
    );
    assert_eq!(complete[4]["requestObject"]["metadata"]["labels"]["a"], "b");
    assert_eq!(deleted["requestObject"]["gracePeriodSeconds"], 0);
    assert_eq!(deleted["verb"], "delete");
}

#[tokio::test]
async fn a_watch_is_told_at_its_start_and_at_its_end() {
    let rules = json!([{"level": "Metadata", "omitStages": ["RequestReceived"]}]);
    let (client, mut entries) = audited(rules).await;
    let watch = format!("{PODS}?watch=1");
    let response = client.response(by(ADMIN_TOKEN, &watch)).await;
    let started = events(&mut entries);
    let expected = "kubernetes-admin watch pods ResponseStarted 200 allow";
    assert_eq!(started.iter().map(told).collect::<Vec<_>>(), [expected]);
    drop(response);
    let ended = events(&mut entries);
    let expected = "kubernetes-admin watch pods ResponseComplete 200 allow";
    assert_eq!(ended.iter().map(told).collect::<Vec<_>>(), [expected]);
    // Ends by itself as well.
    let watch = format!("{PODS}?watch=1&timeoutSeconds=0&resourceVersion=99999999");
    let response = client.response(by(ADMIN_TOKEN, &watch)).await;
    drop(response.into_body().collect().await);
    assert!(!events(&mut entries).is_empty());
}
