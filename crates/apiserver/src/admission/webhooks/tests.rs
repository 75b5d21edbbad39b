//! Webhooks against a real TLS server: refusals, patches, time-outs, dry runs, reinvocation, selectors.

use std::sync::Arc;

use base64::Engine as _;
use kontiki_base::limits;
use kontiki_base::status::{Reason, Status};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::body::Body;
use crate::options::{DeleteOptions, WriteOptions, Written};
use crate::outbound::tests::{Extension, Reply};
use crate::server::ApiServer;
use crate::testing::{admin, collection, create, object};

mod requests;

const NAME: &str = "hook.default.svc";

fn reply(review: &Value, response: Value) -> Reply {
    let mut response = response;
    response["uid"] = review["request"]["uid"].clone();
    Reply::Json(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    }))
}

fn patched(review: &Value, patch: &Value) -> Reply {
    let patch = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
    let response = json!({"allowed": true, "patchType": "JSONPatch", "patch": patch});
    reply(review, response)
}

/// A webhook for ConfigMaps, with fields of the test's own.
fn hook(extension: &Extension, path: &str, fields: Value) -> Value {
    let mut hook = json!({
        "name": format!("{}.example.com", path.trim_start_matches('/')),
        "clientConfig": extension.client_config(path),
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        hook[field] = value.clone();
    }
    hook
}

async fn configure(server: &ApiServer, resource: &str, name: &str, hooks: Vec<Value>) {
    let resource = format!("{resource}.admissionregistration.k8s.io");
    let configuration = json!({"metadata": {"name": name}, "webhooks": hooks});
    create(server, &resource, "", configuration).await;
}

async fn validating(server: &ApiServer, hooks: Vec<Value>) {
    configure(server, "validatingwebhookconfigurations", "judges", hooks).await;
}

async fn mutating(server: &ApiServer, hooks: Vec<Value>) {
    configure(server, "mutatingwebhookconfigurations", "changers", hooks).await;
}

async fn try_create(server: &ApiServer, map: Value, dry_run: bool) -> Result<Written, Status> {
    let options = WriteOptions {
        dry_run,
        ..WriteOptions::default()
    };
    let target = collection("configmaps", "default");
    server
        .create(&admin(), &target, Body::from(map), &options)
        .await
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"a": "1"}})
}

#[tokio::test]
async fn a_refusal_has_the_hooks_words_and_code() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let extension = Extension::start(&[NAME], move |path, review| {
        log.lock().push(review.clone());
        let status = match path {
            "/quiet" => Value::Null,
            _ => json!({"message": "not today", "code": 403}),
        };
        reply(
            &review,
            json!({"allowed": false, "status": status, "warnings": ["careful"]}),
        )
    })
    .await;
    let server = extension.server().await;
    validating(&server, vec![hook(&extension, "/deny", json!({}))]).await;
    let refused = try_create(&server, map("a"), false)
        .await
        .expect_err("denied");
    assert_eq!(refused.reason, Reason::Forbidden);
    assert_eq!(
        refused.message,
        "admission webhook \"deny.example.com\" denied the request: not today"
    );
    let review = seen.lock().pop().expect("a review");
    let request = &review["request"];
    assert_eq!(request["operation"], "CREATE");
    assert_eq!(request["name"], "a");
    assert_eq!(request["namespace"], "default");
    assert_eq!(
        request["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(request["requestResource"]["resource"], "configmaps");
    assert_eq!(request["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(request["object"]["data"]["a"], "1");
    assert_eq!(request["oldObject"], Value::Null);
    assert_eq!(request["dryRun"], false);
    assert_eq!(request["options"]["kind"], "CreateOptions");
}

#[tokio::test]
async fn deletions_are_judged_too_and_silence_is_told() {
    let extension = Extension::start(&[NAME], |_, review| {
        let is_deletion = review["request"]["operation"] == "DELETE"
            && review["request"]["object"].is_null()
            && review["request"]["oldObject"]["data"]["a"] == "1";
        reply(&review, json!({"allowed": !is_deletion}))
    })
    .await;
    let server = extension.server().await;
    mutating(&server, vec![hook(&extension, "/keep", json!({}))]).await;
    try_create(&server, map("a"), false).await.expect("allowed");
    let target = object("configmaps", "default", "a");
    let refused = server
        .delete(&admin(), &target, &DeleteOptions::default())
        .await;
    let refused = refused.expect_err("denied");
    assert_eq!(refused.reason, Reason::BadRequest);
    assert_eq!(
        refused.message,
        "admission webhook \"keep.example.com\" denied the request without explanation"
    );
}

#[tokio::test]
async fn patches_are_applied_in_order_and_must_leave_an_object_of_its_kind() {
    let extension = Extension::start(&[NAME], |path, review| {
        let data = &review["request"]["object"]["data"];
        let patch = match path {
            "/first" => json!([{"op": "add", "path": "/data/first", "value": "yes"}]),
            "/second" if data["first"] == "yes" => {
                json!([{"op": "add", "path": "/data/second", "value": "saw first"}])
            }
            "/broken" if data["a"] == "break" => {
                json!([{"op": "replace", "path": "/data", "value": 5}])
            }
            "/moves" if data["a"] == "move" => {
                json!([{"op": "add", "path": "/metadata/namespace", "value": "kube-system"}])
            }
            _ => json!([]),
        };
        patched(&review, &patch)
    })
    .await;
    let server = extension.server().await;
    let hooks = ["/first", "/second", "/broken", "/moves"];
    let hooks = hooks.map(|path| hook(&extension, path, json!({})));
    mutating(&server, hooks.into()).await;
    let written = try_create(&server, map("a"), false).await.expect("allowed");
    let data = written.object.value()["data"].clone();
    assert_eq!(
        data,
        json!({"a": "1", "first": "yes", "second": "saw first"})
    );
    for a in ["break", "move"] {
        let mut bad = map("b");
        bad["data"]["a"] = a.into();
        let refused = try_create(&server, bad, false)
            .await
            .expect_err("no ConfigMap");
        assert_eq!(refused.reason, Reason::InternalError, "{refused}");
    }
}

#[tokio::test]
async fn failures_mean_what_the_policy_says() {
    let extension = Extension::start(&[NAME], |path, review| match path {
        "/hangs" => Reply::Never,
        "/giant" => Reply::Bytes(limits::WEBHOOK_REPLY_BYTES + 1),
        "/stranger" => Reply::Json(json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": "other", "allowed": true},
        })),
        _ => Reply::Json(json!({"no": review["kind"]})),
    })
    .await;
    for (path, expected) in [
        ("/hangs", "context deadline exceeded"),
        ("/giant", "the reply is longer than"),
        (
            "/stranger",
            "received invalid webhook response: expected response.uid=",
        ),
        (
            "/absent",
            "received invalid webhook response: webhook response was absent",
        ),
    ] {
        for policy in ["Fail", "Ignore"] {
            let server = extension.server().await;
            let fields = json!({"failurePolicy": policy, "timeoutSeconds": 1});
            validating(&server, vec![hook(&extension, path, fields)]).await;
            let written = try_create(&server, map("a"), false).await;
            if policy == "Ignore" {
                written.expect("goes on without it");
                continue;
            }
            let refused = written.expect_err("must not go on");
            assert_eq!(refused.reason, Reason::InternalError);
            let start = "Internal error occurred: failed calling webhook \"";
            assert!(refused.message.starts_with(start), "{}", refused.message);
            assert!(refused.message.contains(expected), "{}", refused.message);
        }
    }
}

#[tokio::test]
async fn a_dry_run_asks_only_who_has_no_side_effects() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let extension = Extension::start(&[NAME], move |_, review| {
        log.lock().push(review["request"]["dryRun"].clone());
        reply(&review, json!({"allowed": true}))
    })
    .await;
    let server = extension.server().await;
    let fields = json!({"sideEffects": "NoneOnDryRun"});
    validating(&server, vec![hook(&extension, "/pure", fields)]).await;
    try_create(&server, map("a"), true)
        .await
        .expect("may be asked");
    assert_eq!(*seen.lock(), [true]);
}

#[tokio::test]
async fn hooks_are_asked_again_when_a_later_one_changes_the_object() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let extension = Extension::start(&[NAME], move |path, review| {
        log.lock().push(path.to_owned());
        let data = &review["request"]["object"]["data"];
        let patch = match path {
            "/late" if data["late"].is_null() => {
                json!([{"op": "add", "path": "/data/late", "value": "1"}])
            }
            "/early" if data["late"] == "1" => {
                json!([{"op": "add", "path": "/data/early", "value": "saw late"}])
            }
            _ => json!([]),
        };
        patched(&review, &patch)
    })
    .await;
    let server = extension.server().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let hooks = vec![
        hook(&extension, "/early", again),
        hook(&extension, "/once", json!({})),
        hook(&extension, "/late", json!({})),
    ];
    mutating(&server, hooks).await;
    let written = try_create(&server, map("a"), false).await.expect("allowed");
    assert_eq!(written.object.value()["data"]["early"], "saw late");
    assert_eq!(*calls.lock(), ["/early", "/once", "/late", "/early"]);
}

#[tokio::test]
async fn selectors_rules_and_conditions_choose_the_requests() {
    let extension = Extension::start(&[NAME], |_, review| {
        reply(
            &review,
            json!({"allowed": false, "status": {"message": "seen"}}),
        )
    })
    .await;
    let rule = |fields: Value| {
        let mut rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]});
        for (field, value) in fields.as_object().into_iter().flatten() {
            rule[field] = value.clone();
        }
        json!({"rules": [rule]})
    };
    let condition =
        |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
    for (fields, is_seen) in [
        (rule(json!({})), true),
        (rule(json!({"operations": ["UPDATE"]})), false),
        (rule(json!({"resources": ["*"]})), true),
        (rule(json!({"resources": ["*/*"]})), true),
        (rule(json!({"resources": ["configmaps/status"]})), false),
        (rule(json!({"apiGroups": ["apps"]})), false),
        (rule(json!({"scope": "Cluster"})), false),
        (rule(json!({"scope": "Namespaced"})), true),
        (
            json!({"objectSelector": {"matchLabels": {"app": "a"}}}),
            true,
        ),
        (
            json!({"objectSelector": {"matchLabels": {"app": "b"}}}),
            false,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}),
            true,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"x": "y"}}}),
            false,
        ),
        (
            condition("object.data.a == '1' && request.operation == 'CREATE'"),
            true,
        ),
        (condition("object.data.a == '2'"), false),
        (
            condition("request.userInfo.username.startsWith('system:')"),
            false,
        ),
        (
            condition("authorizer.requestResource.check('create').allowed()"),
            true,
        ),
        (
            condition("authorizer.group('').resource('pods').check('get').allowed()"),
            true,
        ),
    ] {
        let server = extension.server().await;
        validating(&server, vec![hook(&extension, "/deny", fields.clone())]).await;
        let written = try_create(&server, map("a"), false).await;
        assert_eq!(written.is_err(), is_seen, "{fields}");
    }
}

#[tokio::test]
async fn an_equal_resource_is_shown_in_the_version_that_the_rule_names() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let extension = Extension::start(&[NAME], move |_, review| {
        log.lock().push(review["request"].clone());
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": "true"}}]);
        patched(&review, &patch)
    })
    .await;
    let server = extension.server().await;
    let rules = json!({"rules": [
        {"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]},
    ]});
    mutating(&server, vec![hook(&extension, "/v1", rules)]).await;
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3},
    });
    let resource = "horizontalpodautoscalers.autoscaling";
    let stored = create(&server, resource, "default", scaler).await;
    assert_eq!(stored["apiVersion"], "autoscaling/v2");
    assert_eq!(stored["metadata"]["labels"]["seen"], "true");
    let request = seen.lock().pop().expect("asked");
    assert_eq!(request["kind"]["version"], "v1");
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
}

#[tokio::test]
async fn nobody_locks_himself_out() {
    let extension = Extension::start(&[NAME], |_, review| {
        reply(&review, json!({"allowed": false}))
    })
    .await;
    let server = extension.server().await;
    let all = json!({"rules": [
        {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]},
    ]});
    validating(&server, vec![hook(&extension, "/all", all)]).await;
    try_create(&server, map("a"), false)
        .await
        .expect_err("denied");
    let resource = "validatingwebhookconfigurations.admissionregistration.k8s.io";
    let target = object(resource, "", "judges");
    let deleted = server
        .delete(&admin(), &target, &DeleteOptions::default())
        .await;
    deleted.expect("stays possible");
    try_create(&server, map("a"), false)
        .await
        .expect("nobody is asked");
}
