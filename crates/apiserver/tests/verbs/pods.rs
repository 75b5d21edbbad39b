//! What pods have of their own: binding and logs.

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, admin, collection, create, object, pod};
use kontiki_apiserver::{ApiServer, Body, LogOptions, PatchType, WriteOptions};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::quotas::quota;
use super::{get, post};

async fn bind(server: &ApiServer, name: &str, binding: Value) -> Result<Value, Status> {
    let target = object("pods", "default", name).with(Subresource::Binding);
    Ok(post(server, &target, binding).await?.object.value())
}

fn to(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"},
        "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    assert_eq!(
        bind(&server, "web", to("n1")).await.unwrap()["status"],
        "Success"
    );
    let web = get(&server, &object("pods", "default", "web"))
        .await
        .unwrap();
    assert_eq!(web["spec"]["nodeName"], "n1");
    let conditions = web["status"]["conditions"].as_array().unwrap();
    let scheduled = conditions
        .iter()
        .find(|c| c["type"] == "PodScheduled")
        .unwrap();
    assert_eq!(scheduled["status"], "True");
    let status = bind(&server, "web", to("n2")).await.unwrap_err();
    assert_eq!(status.reason, Reason::Conflict);
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"n1\""
    );
}

#[tokio::test]
async fn a_binding_finds_its_pod_by_name_too() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let target = collection("bindings", "default");
    let bound = post(&server, &target, to("n1")).await.unwrap();
    assert!(bound.created);
    assert_eq!(bound.object.value()["status"], "Success");
    let web = get(&server, &object("pods", "default", "web"))
        .await
        .unwrap();
    assert_eq!(web["spec"]["nodeName"], "n1");
    let nameless = json!({"target": {"name": "n1"}});
    let refused = post(&server, &target, nameless).await.unwrap_err();
    assert_eq!(refused.reason, Reason::BadRequest);
}

#[tokio::test]
async fn a_binding_is_checked() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let mut other = to("n1");
    other["metadata"]["uid"] = json!("another");
    let cases = [
        (to(""), Reason::Invalid),
        (other, Reason::Conflict),
        (json!({"kind": "Pod"}), Reason::BadRequest),
    ];
    for (binding, reason) in cases {
        assert_eq!(
            bind(&server, "web", binding).await.unwrap_err().reason,
            reason
        );
    }
    assert_eq!(
        bind(&server, "none", json!({"target": {"name": "n1"}}))
            .await
            .unwrap_err()
            .reason,
        Reason::NotFound
    );
}

#[tokio::test]
async fn logs_of_a_pod_without_a_node_are_empty_and_options_are_checked() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let web = object("pods", "default", "web");
    let logs = async |options| server.logs(&admin(), &web, options).await;
    assert!(logs(LogOptions::default()).await.is_ok());
    let bad = LogOptions {
        tail_lines: Some(-1),
        ..LogOptions::default()
    };
    let status = logs(bad).await.err().unwrap();
    assert_eq!(status.details.unwrap().causes[0].field, "tailLines");
    bind(&server, "web", to("n1")).await.unwrap();
    let status = logs(LogOptions::default()).await.err().unwrap();
    assert_eq!(status.reason, Reason::BadRequest, "{}", status.message);
}

#[tokio::test]
async fn a_container_is_added_for_debugging_and_stays() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let target = object("pods", "default", "web").with(Subresource::EphemeralContainers);
    // What kubectl debug sends.
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox", "stdin": true, "tty": true,
        "targetContainerName": "app", "resources": {}}]}});
    let options = WriteOptions {
        field_manager: Some("kubectl-debug".into()),
        ..WriteOptions::default()
    };
    let strategic = PatchType::Strategic;
    let patched = server
        .patch(&admin(), &target, strategic, Body::from(patch), &options)
        .await;
    let web = patched.unwrap().object.value();
    assert_eq!(web["kind"], "Pod");
    assert_eq!(
        web["spec"]["ephemeralContainers"][0]["imagePullPolicy"],
        "Always"
    );
    assert_eq!(web["metadata"]["generation"], 2);
    let entries = web["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["manager"] == "kubectl-debug");
    assert_eq!(entry.unwrap()["subresource"], "ephemeralcontainers");
    let mut changed = web.clone();
    changed["spec"]["ephemeralContainers"][0]["image"] = json!("other");
    let updated = server
        .update(&admin(), &target, Body::from(changed.clone()), &options)
        .await;
    let refused = updated.unwrap_err();
    assert_eq!(refused.reason, Reason::Invalid);
    let why = "existing ephemeral containers \"d\" may not be changed";
    assert!(refused.message.contains(why), "{}", refused.message);
    // Not by the pod itself either.
    let target = object("pods", "default", "web");
    let updated = server
        .update(&admin(), &target, Body::from(changed), &options)
        .await;
    let refused = updated.unwrap_err();
    let why = "pod updates may not change fields other than";
    assert!(refused.message.contains(why), "{}", refused.message);
}

#[tokio::test]
async fn a_debugging_container_is_held_to_the_namespaces_standard() {
    let server = testing::server().await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let namespace = json!({"metadata": {"name": "held", "labels": labels}});
    create(&server, "namespaces", "", namespace).await;
    create(
        &server,
        "serviceaccounts",
        "held",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    create(&server, "pods", "held", pod("web")).await;
    let target = object("pods", "held", "web").with(Subresource::EphemeralContainers);
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox",
        "securityContext": {"privileged": true}}]}});
    let options = WriteOptions::default();
    let strategic = PatchType::Strategic;
    let patched = server
        .patch(&admin(), &target, strategic, Body::from(patch), &options)
        .await;
    let refused = patched.unwrap_err();
    assert_eq!(refused.reason, Reason::Forbidden);
    assert!(
        refused
            .message
            .contains("violates PodSecurity \"baseline:latest\""),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn a_resize_is_charged_to_quotas_and_held_to_ranges() {
    let server = testing::server().await;
    quota(&server, json!({"requests.cpu": "2"})).await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "100m"}}]}});
    create(&server, "limitranges", "default", range).await;
    let mut web = pod("web");
    web["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    create(&server, "pods", "default", web).await;
    let target = object("pods", "default", "web").with(Subresource::Resize);
    let options = WriteOptions::default();
    for (cpu, refusal) in [
        ("2", None),
        (
            "3",
            Some(
                "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: requests.cpu=2",
            ),
        ),
        (
            "50m",
            Some("minimum cpu usage per Container is 100m, but request is 50m"),
        ),
    ] {
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]}});
        let patched = server
            .patch(
                &admin(),
                &target,
                PatchType::Strategic,
                Body::from(patch),
                &options,
            )
            .await;
        match refusal {
            None => assert_eq!(
                patched.unwrap().object.value()["spec"]["containers"][0]["resources"]["requests"]["cpu"],
                cpu
            ),
            Some(why) => {
                let refused = patched.unwrap_err();
                assert!(refused.message.contains(why), "{}", refused.message);
            }
        }
    }
}
