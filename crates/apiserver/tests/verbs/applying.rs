//! Server-side apply: create, own, share, give up, conflict, force.

use kontiki_apiserver::PatchType::Merge;
use kontiki_apiserver::testing::{self, create, deployment, object};
use kontiki_apiserver::{Body, PatchType, WriteOptions};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use super::{apply, get, patch, revision};

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .find(|e| e["manager"] == manager)
        .map_or(Value::Null, |e| e["fieldsV1"].clone())
}

#[tokio::test]
async fn the_first_apply_creates_and_the_same_again_changes_nothing() {
    let server = testing::server().await;
    let target = object("configmaps", "default", "a");
    let options = WriteOptions {
        field_manager: Some("m".into()),
        ..WriteOptions::default()
    };
    let body = Body::from(map(json!({"x": "1"})));
    let format = PatchType::Apply { force: false };
    let written = server
        .patch(&testing::admin(), &target, format, body, &options)
        .await
        .unwrap();
    assert!(written.created);
    let first = written.object.value();
    assert_eq!(owned(&first, "m"), json!({"f:data": {"f:x": {}}}));
    assert_eq!(first["metadata"]["managedFields"][0]["operation"], "Apply");
    let again = apply(&server, &target, "m", false, map(json!({"x": "1"})))
        .await
        .unwrap();
    assert_eq!(again, first);
}

#[tokio::test]
async fn what_is_no_longer_applied_goes_unless_another_owns_it() {
    let server = testing::server().await;
    let target = object("configmaps", "default", "a");
    apply(
        &server,
        &target,
        "one",
        false,
        map(json!({"x": "1", "y": "1", "z": "1"})),
    )
    .await
    .unwrap();
    let shared = apply(&server, &target, "two", false, map(json!({"y": "1"})))
        .await
        .unwrap();
    assert_eq!(owned(&shared, "two"), json!({"f:data": {"f:y": {}}}));
    let fewer = apply(&server, &target, "one", false, map(json!({"z": "2"})))
        .await
        .unwrap();
    assert_eq!(fewer["data"], json!({"y": "1", "z": "2"}));
    assert_eq!(owned(&fewer, "one"), json!({"f:data": {"f:z": {}}}));
}

#[tokio::test]
async fn a_conflict_names_manager_and_field_and_force_takes_over() {
    let server = testing::server().await;
    create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3}});
    let status = apply(&server, &web, "me", false, config.clone())
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Conflict);
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas"
    );
    let causes = status.details.unwrap().causes;
    assert_eq!(causes[0].reason, "FieldManagerConflict");
    assert_eq!(causes[0].field, ".spec.replicas");
    assert_eq!(causes[0].message, "conflict with \"kubectl\" using apps/v1");
    let forced = apply(&server, &web, "me", true, config).await.unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(owned(&forced, "me"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(
        owned(&forced, "kubectl")["f:spec"]
            .get("f:replicas")
            .is_none()
    );
}

#[tokio::test]
async fn an_update_takes_what_it_changes_and_an_applier_conflicts_then() {
    let server = testing::server().await;
    let target = object("configmaps", "default", "a");
    apply(
        &server,
        &target,
        "one",
        false,
        map(json!({"x": "1", "y": "1"})),
    )
    .await
    .unwrap();
    let patched = patch(&server, &target, Merge, json!({"data": {"x": "2"}}))
        .await
        .unwrap();
    assert_eq!(owned(&patched, "one"), json!({"f:data": {"f:y": {}}}));
    assert_eq!(owned(&patched, "kubectl"), json!({"f:data": {"f:x": {}}}));
    let status = apply(&server, &target, "one", false, map(json!({"x": "1"})))
        .await
        .unwrap_err();
    assert!(
        status
            .message
            .ends_with("conflict with \"kubectl\" using v1: .data.x"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn keyed_lists_merge_by_key() {
    let server = testing::server().await;
    let web = object("services", "default", "web");
    let service = |port: u16, name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"ports": [{"port": port, "name": name}]}})
    };
    apply(&server, &web, "one", false, service(80, "http"))
        .await
        .unwrap();
    let both = apply(&server, &web, "two", false, service(443, "https"))
        .await
        .unwrap();
    let ports: Vec<u64> = both["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["port"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [80, 443]);
    let key = "k:{\"port\":443,\"protocol\":\"TCP\"}";
    let expected = json!({"f:spec": {"f:ports": {key: {".": {}, "f:name": {}, "f:port": {}}}}});
    assert_eq!(owned(&both, "two"), expected);
}

#[tokio::test]
async fn what_cannot_be_applied_is_refused() {
    let server = testing::server().await;
    let target = object("configmaps", "default", "a");
    let mut managed = map(json!({}));
    managed["metadata"]["managedFields"] = json!([{}]);
    let mut unknown = map(json!({}));
    unknown["datum"] = json!(1);
    let cases = [
        ("", map(json!({})), "is required for apply patch"),
        ("m", managed, "metadata.managedFields must be nil"),
        ("m", unknown, ".datum: field not declared in schema"),
        (
            "m",
            json!({"apiVersion": "v2", "kind": "ConfigMap"}),
            "does not match the expected API version",
        ),
    ];
    for (manager, config, message) in cases {
        let status = apply(&server, &target, manager, false, config)
            .await
            .unwrap_err();
        assert!(status.message.contains(message), "{}", status.message);
    }
    assert!(get(&server, &target).await.is_err());
}

#[tokio::test]
async fn an_untracked_object_is_owned_before_the_first_apply() {
    let server = testing::server().await;
    let target = object("configmaps", "default", "a");
    create(&server, "configmaps", "default", map(json!({"x": "1"}))).await;
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let bare = patch(&server, &target, Merge, reset).await.unwrap();
    assert!(bare["metadata"].get("managedFields").is_none(), "{bare}");
    let applied = apply(
        &server,
        &target,
        "m",
        false,
        map(json!({"x": "1", "y": "2"})),
    )
    .await
    .unwrap();
    assert_eq!(
        owned(&applied, "before-first-apply"),
        json!({"f:data": {".": {}, "f:x": {}}})
    );
    assert_eq!(
        owned(&applied, "m"),
        json!({"f:data": {"f:x": {}, "f:y": {}}})
    );
    assert!(revision(&applied) > revision(&bare));
}
