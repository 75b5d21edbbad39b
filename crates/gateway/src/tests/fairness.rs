//! Flow control as clients meet it: who is told where it belongs, who waits, who is refused, whom nothing holds up.

use axum::body::Body;
use futures::FutureExt as _;
use http::{Request, StatusCode};
use kontiki_apiserver::testing::{self, Memory, PLAIN_TOKEN};
use kontiki_apiserver::{Options, Seat};
use serde_json::json;

use super::{Client, PODS, as_admin};
use crate::{GatewayOptions, router};

/// A server of two seats, one of them for a level without queues that all of group `dev` is in.
async fn small() -> (Client, kontiki_apiserver::ApiServer) {
    let options = Options {
        requests_in_flight: 2,
        ..Options::default()
    };
    let server = testing::server_with_options(Memory::default(), options).await;
    let level = |name: &str, response: serde_json::Value| {
        json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": response}}})
    };
    let queue =
        json!({"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 1}});
    let levels = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
    testing::create(
        &server,
        levels,
        "",
        level("rejecting", json!({"type": "Reject"})),
    )
    .await;
    testing::create(&server, levels, "", level("queuing", queue)).await;
    let schema = |name: &str, verbs: serde_json::Value, precedence: i32| {
        json!({"metadata": {"name": name}, "spec": {
            "priorityLevelConfiguration": {"name": name}, "matchingPrecedence": precedence,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{"verbs": verbs, "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}})
    };
    let schemas = "flowschemas.flowcontrol.apiserver.k8s.io";
    testing::create(
        &server,
        schemas,
        "",
        schema("queuing", json!(["list", "watch"]), 100),
    )
    .await;
    testing::create(&server, schemas, "", schema("rejecting", json!(["*"]), 200)).await;
    let client = Client(router(server.clone(), GatewayOptions::default()));
    (client, server)
}

fn by_jane(path: &str) -> Request<Body> {
    let request = Request::get(path).header("authorization", format!("Bearer {PLAIN_TOKEN}"));
    request.body(Body::empty()).unwrap()
}

/// Takes jane's one seat for a verb.
async fn seat(server: &kontiki_apiserver::ApiServer, verb: &str) -> Seat {
    let target = testing::collection("pods", "default");
    let (_, seat) = server
        .take_seat(&testing::jane(), verb, PODS, Some(&target), None)
        .await;
    seat.unwrap().unwrap()
}

#[tokio::test]
async fn answers_tell_where_a_request_belongs() {
    let (client, server) = small().await;
    let answer = client.send(by_jane(PODS)).await;
    let uid = |resource: &str| {
        let snapshot = server.store().snapshot();
        let resource = format!("{resource}.flowcontrol.apiserver.k8s.io");
        snapshot
            .find(&resource, "", "queuing")
            .unwrap()
            .header
            .uid
            .to_string()
    };
    assert_eq!(answer.code, 403);
    assert_eq!(
        answer.header("x-kubernetes-pf-flowschema-uid"),
        uid("flowschemas")
    );
    assert_eq!(
        answer.header("x-kubernetes-pf-prioritylevel-uid"),
        uid("prioritylevelconfigurations")
    );
}

#[tokio::test]
async fn a_full_level_refuses_and_others_are_served() {
    let (client, server) = small().await;
    let held = seat(&server, "get").await;
    let path = format!("{PODS}/x");
    let refused = client.send(by_jane(&path)).await;
    assert_eq!((refused.code, refused.header("retry-after")), (429, "1"));
    assert_eq!(
        refused.message(),
        "too many requests, please try again later"
    );
    assert_ne!(refused.header("x-kubernetes-pf-flowschema-uid"), "");
    // Masters are exempt, health answers everybody, and another level has its own.
    assert_eq!(client.get(&path, "*/*").await.code, 404);
    assert_eq!(client.get("/readyz", "*/*").await.code, 200);
    assert_eq!(client.send(by_jane(PODS)).await.code, 403);
    drop(held);
    assert_eq!(client.send(by_jane(&path)).await.code, 403);
    let metrics = client.get("/metrics", "*/*").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "apiserver_flowcontrol_rejected_requests_total{priority_level=\"rejecting\",flow_schema=\"rejecting\",\
         reason=\"concurrency-limit\"}",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"queuing\"}",
        "apiserver_flowcontrol_request_wait_duration_seconds_count{priority_level=\"queuing\",flow_schema=\"queuing\",\
         execute=\"true\"}",
        "apiserver_flowcontrol_dispatched_requests_total{priority_level=\"exempt\",flow_schema=\"exempt\"}",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn who_finds_a_place_in_a_queue_waits_for_a_seat() {
    let (client, server) = small().await;
    let held = seat(&server, "list").await;
    let mut waiting = Box::pin(client.send(by_jane(PODS)));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(
        client.send(by_jane(PODS)).await.code,
        429,
        "the queue is full"
    );
    drop(held);
    assert_eq!(waiting.await.code, 403);
}

#[tokio::test]
async fn a_watch_holds_its_seat_until_it_has_begun() {
    let (client, server) = small().await;
    let watch = as_admin("GET", &format!("{PODS}?watch=1"));
    let watch = client.response(watch.body(Body::empty()).unwrap()).await;
    assert_eq!(watch.status(), StatusCode::OK);
    let refused = client.send(by_jane(&format!("{PODS}?watch=1"))).await;
    assert_eq!(refused.code, 403);
    drop(seat(&server, "list").await);
}
