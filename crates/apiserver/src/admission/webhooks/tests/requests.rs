//! What a review says of a request: subresources with objects of their own, streams, the options as they were sent.

use kontiki_api::Subresource;

use super::*;
use crate::options::{FieldValidation, PatchType, Propagation};
use crate::testing::deployment;

fn rules(operation: &str, group: &str, resource: &str) -> Value {
    json!({"rules": [
        {"operations": [operation], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]},
    ]})
}

/// A webhook server that notes the requests it is asked about and lets them pass.
async fn witness() -> (Extension, Arc<Mutex<Vec<Value>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let extension = Extension::start(&[NAME], move |_, review| {
        log.lock().push(review["request"].clone());
        reply(&review, json!({"allowed": true}))
    })
    .await;
    (extension, seen)
}

#[tokio::test]
async fn a_scale_is_judged_as_a_scale() {
    let (extension, seen) = witness().await;
    let server = extension.server().await;
    create(&server, "deployments.apps", "default", deployment("web", 2)).await;
    let hooks = ["deployments", "deployments/scale", "*/scale"];
    let hooks = hooks.into_iter().enumerate().map(|(i, resource)| {
        hook(
            &extension,
            &format!("/h{i}"),
            rules("UPDATE", "apps", resource),
        )
    });
    validating(&server, hooks.collect()).await;
    let target = object("deployments.apps", "default", "web").with(Subresource::Scale);
    let patch = Body::from(json!({"spec": {"replicas": 5}}));
    let options = WriteOptions {
        field_manager: Some("tester".into()),
        field_validation: FieldValidation::Strict,
        ..WriteOptions::default()
    };
    let patched = server
        .patch(&admin(), &target, PatchType::Merge, patch, &options)
        .await;
    patched.expect("nobody minds");
    let seen = std::mem::take(&mut *seen.lock());
    assert_eq!(seen.len(), 2, "not the rule for deployments: {seen:?}");
    for request in seen {
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        assert_eq!(
            (&request["kind"], &request["requestKind"]),
            (&scale, &scale)
        );
        assert_eq!(
            request["resource"],
            json!({"group": "apps", "version": "v1", "resource": "deployments"})
        );
        assert_eq!(request["subResource"], "scale");
        assert_eq!(request["object"]["kind"], "Scale");
        assert_eq!(request["object"]["spec"]["replicas"], 5);
        assert_eq!(request["oldObject"]["spec"]["replicas"], 2);
        let options = json!({"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions", "fieldManager": "tester",
            "fieldValidation": "Strict"});
        assert_eq!(request["options"], options);
    }
}

#[tokio::test]
async fn a_hook_changes_a_scale_and_through_it_the_workload() {
    let extension = Extension::start(&[NAME], |_, review| {
        patched(
            &review,
            &json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]),
        )
    })
    .await;
    let server = extension.server().await;
    create(&server, "deployments.apps", "default", deployment("web", 2)).await;
    let fields = rules("UPDATE", "apps", "deployments/scale");
    mutating(&server, vec![hook(&extension, "/most", fields)]).await;
    let target = object("deployments.apps", "default", "web").with(Subresource::Scale);
    let scale = json!({"metadata": {"name": "web"}, "spec": {"replicas": 9}});
    let options = WriteOptions::default();
    let written = server
        .update(&admin(), &target, Body::from(scale), &options)
        .await;
    let written = written.expect("changed").object.value();
    assert_eq!(
        (&written["kind"], &written["spec"]["replicas"]),
        (&json!("Scale"), &json!(3))
    );
}

#[tokio::test]
async fn a_stream_is_judged_by_its_options_and_has_none_of_a_write() {
    let (extension, seen) = witness().await;
    let server = extension.server().await;
    let hooks = [("/all", "pods"), ("/exec", "pods/status")];
    let hooks =
        hooks.map(|(path, resource)| hook(&extension, path, rules("CONNECT", "", resource)));
    validating(&server, hooks.into()).await;
    let target = object("pods", "default", "a").with(Subresource::Status);
    let mut exec =
        json!({"apiVersion": "v1", "kind": "PodExecOptions", "command": ["sh"], "stdout": true});
    let admitted = server.admit_connect(&admin(), &target, &mut exec).await;
    admitted.expect("nobody minds");
    let seen = std::mem::take(&mut *seen.lock());
    let [request] = seen.as_slice() else {
        panic!("one rule is about it: {seen:?}");
    };
    assert_eq!(request["operation"], "CONNECT");
    assert_eq!(
        request["kind"],
        json!({"group": "", "version": "v1", "kind": "PodExecOptions"})
    );
    assert_eq!(request["object"], exec);
    assert_eq!(
        (&request["oldObject"], &request["options"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&request["name"], &request["namespace"]),
        (&json!("a"), &json!("default"))
    );
}

#[tokio::test]
async fn a_deletion_tells_its_options() {
    let (extension, seen) = witness().await;
    let server = extension.server().await;
    let stored = create(&server, "configmaps", "default", map("a")).await;
    validating(&server, vec![hook(&extension, "/d", json!({}))]).await;
    let target = object("configmaps", "default", "a");
    let uid = stored["metadata"]["uid"].as_str().map(str::to_owned);
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        propagation: Some(Propagation::Foreground),
        uid: uid.clone(),
        dry_run: true,
        ..DeleteOptions::default()
    };
    let deleted = server.delete(&admin(), &target, &options).await;
    deleted.expect("nobody minds");
    let request = seen.lock().pop().expect("asked");
    let expected = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "dryRun": ["All"], "gracePeriodSeconds": 0,
        "preconditions": {"uid": uid}, "propagationPolicy": "Foreground",
    });
    assert_eq!(request["options"], expected);
}

#[tokio::test]
async fn a_refusal_keeps_the_code_reason_and_details_that_it_was_given() {
    let extension = Extension::start(&[NAME], |_, review| {
        let status = json!({"code": 451, "reason": "AlreadyExists", "message": "the law",
            "details": {"causes": [{"reason": "Law", "message": "forbids"}], "retryAfterSeconds": 7}});
        reply(&review, json!({"allowed": false, "status": status}))
    })
    .await;
    let server = extension.server().await;
    validating(&server, vec![hook(&extension, "/law", json!({}))]).await;
    // Also an apply, which would take such a reason of the store for a lost race.
    let target = object("configmaps", "default", "a");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let options = WriteOptions {
        field_manager: Some("tester".into()),
        ..WriteOptions::default()
    };
    let patch = PatchType::Apply { force: false };
    let applied = server
        .patch(&admin(), &target, patch, Body::from(config), &options)
        .await;
    let refused = applied.expect_err("refused");
    assert_eq!(refused.http_code(), 451);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 451,
        "reason": "AlreadyExists",
        "message": "admission webhook \"law.example.com\" denied the request: the law",
        "details": {"causes": [{"reason": "Law", "message": "forbids"}], "retryAfterSeconds": 7},
    });
    assert_eq!(refused.to_json(), expected);
}
