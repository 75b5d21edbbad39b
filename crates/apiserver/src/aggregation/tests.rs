//! Aggregated API servers: what is found out of them and written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::outbound::tests::{Extension, Reply};
use crate::server::ApiServer;
use crate::testing::{create, object};

const NAME: &str = "hook.default.svc";

async fn register(server: &ApiServer, extension: &Extension, group: &str, service: &str) {
    let trusted = extension.client_config("/");
    let spec = json!({
        "group": group, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
        "caBundle": trusted["caBundle"],
        "service": {"namespace": "default", "name": service, "port": 8443},
    });
    let value = json!({"metadata": {"name": format!("v1.{group}")}, "spec": spec});
    create(server, "apiservices.apiregistration.k8s.io", "", value).await;
}

fn condition(server: &ApiServer, group: &str) -> Value {
    let target = object(
        "apiservices.apiregistration.k8s.io",
        "",
        &format!("v1.{group}"),
    );
    let found = server.find(&target).expect("registered");
    found.value()["status"]["conditions"][0].clone()
}

#[tokio::test]
async fn the_condition_tells_whether_a_server_answers() {
    let extension = Extension::start(&[NAME], |path, _| match path {
        "/apis/good.example.com/v1" => {
            Reply::Json(json!({"kind": "APIResourceList", "resources": [{"name": "widgets"}]}))
        }
        _ => Reply::Code(500, "oops"),
    })
    .await;
    let server = extension.server().await;
    for (group, service) in [
        ("good.example.com", "hook"),
        ("bad.example.com", "hook"),
        ("lost.example.com", "nobody"),
    ] {
        register(&server, &extension, group, service).await;
    }
    assert!(
        !server
            .delegation("good.example.com", "v1")
            .expect("delegated")
            .is_available
    );
    server.look_at_extensions(true).await;
    for (group, status, reason, message) in [
        ("good.example.com", "True", "Passed", "all checks passed"),
        (
            "bad.example.com",
            "False",
            "FailedDiscoveryCheck",
            "bad status from https://hook.default.svc:8443/apis/bad.example.com/v1: 500",
        ),
        (
            "lost.example.com",
            "False",
            "ServiceNotFound",
            "service \"nobody\" not found",
        ),
    ] {
        let found = condition(&server, group);
        assert_eq!(found["type"], "Available");
        assert_eq!(found["status"], status, "{group}");
        assert_eq!(found["reason"], reason, "{group}");
        assert_eq!(found["message"], message, "{group}");
    }
    let good = server
        .delegation("good.example.com", "v1")
        .expect("delegated");
    assert!(good.is_available);
    let list = server.discovered(&good).expect("it told its resources");
    assert_eq!(list["resources"][0]["name"], "widgets");
    let revision = server.store().revision();
    server.look_at_extensions(true).await;
    assert_eq!(
        server.store().revision(),
        revision,
        "nothing changed, nothing is written"
    );
    assert!(server.delegation("", "v1").is_none());
}

#[tokio::test]
async fn documents_are_fetched_when_they_are_others_than_before() {
    let fetched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetched);
    let extension = Extension::start(&[NAME], move |path, _| match path {
        "/apis/good.example.com/v1" => Reply::Json(json!({"kind": "APIResourceList"})),
        "/openapi/v3" => {
            let url = "/openapi/v3/apis/good.example.com/v1?hash=A";
            let paths = json!({"apis/good.example.com/v1": {"serverRelativeURL": url}});
            Reply::Json(json!({"paths": paths}))
        }
        path if path.starts_with("/openapi/v3/apis/good.example.com/v1") => {
            counted.fetch_add(1, Ordering::SeqCst);
            Reply::Json(json!({"openapi": "3.0.0", "paths": {}}))
        }
        _ => Reply::Code(404, "nothing"),
    })
    .await;
    let server = extension.server().await;
    register(&server, &extension, "good.example.com", "hook").await;
    assert!(server.descriptions().is_empty());
    for _ in 0..2 {
        server.look_at_extensions(false).await;
    }
    let described = server.descriptions();
    let [one] = described.as_slice() else {
        panic!("{described:?}");
    };
    assert_eq!((&*one.group, &*one.version), ("good.example.com", "v1"));
    assert!(one.json.starts_with(b"{\"openapi\""));
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}
