//! Watches through a gateway: begun by a replica, gone on with out of one ring, across the death of what feeds it.

use std::time::Duration;

use kontiki_api::Subresource;
use kontiki_apiserver::{Body, DeleteOptions, PatchType, WriteOptions};

use super::*;

/// The lines of a watch.
struct Watch {
    body: axum::body::BodyDataStream,
    rest: Vec<u8>,
}

impl Watch {
    async fn open(gateway: &Gateway, path: &str, accept: &str) -> Self {
        let response = gateway.get(path, accept).await;
        let code = response.status();
        if code != StatusCode::OK {
            panic!("{code}: {:?}", bytes(response).await);
        }
        assert!(!response.headers().contains_key(crate::watch::GOES_ON));
        Self {
            body: response.into_body().into_data_stream(),
            rest: Vec::new(),
        }
    }

    /// The next event.
    async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.body.next());
            let chunk = chunk.await.unwrap().expect("the watch goes on");
            self.rest.extend_from_slice(&chunk.unwrap());
        }
    }

    /// Type and name of the next event.
    async fn told(&mut self) -> (String, String) {
        let event = self.next().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

fn told(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

async fn create(gateway: &Gateway, name: &str) -> Value {
    testing::create(&gateway.local.api, "pods", "default", testing::pod(name)).await
}

async fn label(gateway: &Gateway, name: &str, value: Value) {
    let patch = Body::from(json!({"metadata": {"labels": {"app": value}}}));
    let target = testing::object("pods", "default", name);
    let options = WriteOptions::default();
    let (api, admin) = (&gateway.local.api, testing::admin());
    let patched = api.patch(&admin, &target, PatchType::Merge, patch, &options);
    patched.await.unwrap();
}

async fn delete(gateway: &Gateway, name: &str) {
    let target = testing::object("pods", "default", name);
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    let (api, admin) = (&gateway.local.api, testing::admin());
    let deleted = api.delete(&admin, &target, &options);
    deleted.await.unwrap();
}

#[tokio::test]
async fn a_watch_has_all_events_and_many_watches_are_one_feed() {
    let gateway = Gateway::new().await;
    create(&gateway, "a").await;
    let mut all = Watch::open(&gateway, "/api/v1/pods?watch=1", "*/*").await;
    let mut others = Vec::new();
    for _ in 0..50 {
        others.push(Watch::open(&gateway, &format!("{PODS}?watch=1"), "*/*").await);
    }
    let selected = format!("{PODS}?watch=1&labelSelector=app%3Da");
    let mut selected = Watch::open(&gateway, &selected, "*/*").await;
    let one = format!("{PODS}?watch=1&fieldSelector=metadata.name%3Db");
    let mut one = Watch::open(&gateway, &one, "*/*").await;
    create(&gateway, "b").await;
    label(&gateway, "a", json!("z")).await;
    delete(&gateway, "b").await;
    let expected = [
        told("ADDED", "a"),
        told("ADDED", "b"),
        told("MODIFIED", "a"),
        told("DELETED", "b"),
    ];
    for watch in others.iter_mut().chain([&mut all]) {
        for event in &expected {
            assert_eq!(&watch.told().await, event);
        }
    }
    assert_eq!(selected.told().await, told("ADDED", "a"));
    let left = selected.next().await;
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["app"], "a");
    assert_eq!(one.told().await, told("ADDED", "b"));
    assert_eq!(one.told().await, told("DELETED", "b"));
    assert_eq!(gateway.local.n_feeds.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision_before_its_ring_began() {
    let gateway = Gateway::new().await;
    let first = create(&gateway, "a").await;
    create(&gateway, "b").await;
    let from = first["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{PODS}?watch=1&resourceVersion={from}");
    let mut watch = Watch::open(&gateway, &path, "*/*").await;
    assert_eq!(watch.told().await, told("ADDED", "b"));
    let path = "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                &allowWatchBookmarks=true";
    let mut list = Watch::open(&gateway, path, TABLE).await;
    for name in ["a", "b"] {
        let event = list.next().await;
        let row = &event["object"]["rows"][0];
        assert_eq!(row["object"]["metadata"]["name"], name, "{event}");
    }
    assert_eq!(list.told().await.0, "BOOKMARK");
    create(&gateway, "c").await;
    let event = list.next().await;
    assert_eq!(event["object"]["kind"], "Table");
    assert_eq!(event["object"]["rows"][0]["cells"][0], "c");
}

#[tokio::test]
async fn a_dead_replica_is_not_seen_by_watchers() {
    let gateway = Gateway::new().await;
    let mut watch = Watch::open(&gateway, "/api/v1/pods?watch=1", "*/*").await;
    for round in 0..5 {
        let name = format!("pod-{round}");
        gateway.local.is_down.store(true, Ordering::SeqCst);
        gateway.local.die();
        create(&gateway, &name).await;
        gateway.local.is_down.store(false, Ordering::SeqCst);
        assert_eq!(watch.told().await, told("ADDED", &name));
    }
    assert!(gateway.local.n_feeds.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn kinds_of_users_have_rings_in_each_version() {
    let gateway = Gateway::new().await;
    gateway.ready().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [
                {"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}},
                {"name": "v2", "served": true, "storage": false,
                    "schema": {"openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    testing::define(&gateway.local.api, definition).await;
    let path = "/apis/stable.example.com/v2/crontabs?watch=1";
    // A replica serves the watch while the gateway does not know the kind.
    let mut early = Watch::open(&gateway, path, "*/*").await;
    let crontab = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "c"}, "spec": {"cron": "*"}});
    let made = gateway
        .send(request(
            "POST",
            "/apis/stable.example.com/v1/namespaces/default/crontabs",
            "*/*",
            ADMIN_TOKEN,
            &crontab.to_string(),
        ))
        .await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let mut late = Watch::open(&gateway, path, "*/*").await;
    for watch in [&mut early, &mut late] {
        let event = watch.next().await;
        assert_eq!(event["object"]["apiVersion"], "stable.example.com/v2");
        assert_eq!(event["object"]["metadata"]["name"], "c");
    }
}

#[tokio::test]
async fn a_status_is_no_watch_and_protobuf_is_framed() {
    let gateway = Gateway::new().await;
    let pod = create(&gateway, "a").await;
    let target = testing::object("pods", "default", "a").with(Subresource::Status);
    let response = gateway
        .get(
            "/api/v1/pods?watch=1",
            "application/vnd.kubernetes.protobuf;stream=watch",
        )
        .await;
    assert_eq!(
        response.headers()["content-type"],
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    let mut body = response.into_body().into_data_stream();
    let mut read = Vec::new();
    let mut n_frames = 0;
    let mut status = pod.clone();
    status["status"]["phase"] = json!("Running");
    let options = WriteOptions::default();
    let (api, admin) = (&gateway.local.api, testing::admin());
    let updated = api.update(&admin, &target, Body::from(status), &options);
    updated.await.unwrap();
    while n_frames < 2 {
        read.extend_from_slice(&body.next().await.unwrap().unwrap());
        while read.len() >= 4 {
            let length = u32::from_be_bytes(read[..4].try_into().unwrap()) as usize;
            if read.len() < 4 + length {
                break;
            }
            read.drain(..4 + length);
            n_frames += 1;
        }
    }
    assert!(read.is_empty());
    let path = format!("{PODS}/a/status?watch=1");
    let got = gateway.get(&path, "*/*").await;
    let object: Value = serde_json::from_slice(&bytes(got).await).unwrap();
    assert_eq!(object["status"]["phase"], "Running");
}
