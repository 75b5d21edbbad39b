//! Delete: at once, gracefully, by finalizers, of namespaces, of collections.

use kontiki_api::Subresource;
use kontiki_apiserver::PatchType::Merge;
use kontiki_apiserver::testing::{self, admin, collection, create, object, pod};
use kontiki_apiserver::{Body, DeleteOptions, ListOptions, Propagation, WriteOptions};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use super::{delete, get, patch, post, put};

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}})
}

#[tokio::test]
async fn a_plain_object_goes_at_once_with_a_status() {
    let server = testing::server().await;
    let made = create(&server, "configmaps", "default", map("a")).await;
    let target = object("configmaps", "default", "a");
    let status = delete(&server, &target).await.unwrap();
    assert_eq!(
        (&status["kind"], &status["status"]),
        (&json!("Status"), &json!("Success"))
    );
    let details = json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    assert_eq!(status["details"], details);
    assert_eq!(
        delete(&server, &target).await.unwrap_err().reason,
        Reason::NotFound
    );
}

#[tokio::test]
async fn preconditions_protect() {
    let server = testing::server().await;
    create(&server, "configmaps", "default", map("a")).await;
    let target = object("configmaps", "default", "a");
    let cases = [
        DeleteOptions {
            uid: Some("other".into()),
            ..DeleteOptions::default()
        },
        DeleteOptions {
            resource_version: Some("1".into()),
            ..DeleteOptions::default()
        },
    ];
    for options in cases {
        let status = server
            .delete(&admin(), &target, &options)
            .await
            .unwrap_err();
        assert_eq!(status.reason, Reason::Conflict);
        assert!(
            status.message.contains("in the precondition"),
            "{}",
            status.message
        );
    }
    let dry = DeleteOptions {
        dry_run: true,
        ..DeleteOptions::default()
    };
    server.delete(&admin(), &target, &dry).await.unwrap();
    assert!(get(&server, &target).await.is_ok());
}

#[tokio::test]
async fn a_running_pod_gets_its_grace_and_an_unbound_one_none() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("free")).await;
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = json!("n1");
    create(&server, "pods", "default", bound).await;
    delete(&server, &object("pods", "default", "free"))
        .await
        .unwrap();
    assert!(
        get(&server, &object("pods", "default", "free"))
            .await
            .is_err()
    );
    let target = object("pods", "default", "bound");
    let marked = delete(&server, &target).await.unwrap();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:30Z"
    );
    assert_eq!(
        delete(&server, &target).await.unwrap(),
        marked,
        "the same again changes nothing"
    );
    let shorter = DeleteOptions {
        grace_period_seconds: Some(5),
        ..DeleteOptions::default()
    };
    let sooner = server
        .delete(&admin(), &target, &shorter)
        .await
        .unwrap()
        .object
        .value();
    assert_eq!(
        sooner["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:05Z"
    );
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    server.delete(&admin(), &target, &now).await.unwrap();
    assert!(get(&server, &target).await.is_err());
}

#[tokio::test]
async fn finalizers_hold_until_the_last_is_gone() {
    let server = testing::server().await;
    let mut held = map("a");
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    create(&server, "configmaps", "default", held).await;
    let target = object("configmaps", "default", "a");
    let marked = delete(&server, &target).await.unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert!(get(&server, &target).await.is_ok());
    patch(
        &server,
        &target,
        Merge,
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .unwrap();
    assert!(get(&server, &target).await.is_err());
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let server = testing::server().await;
    for (policy, name, finalizer) in [
        (Propagation::Foreground, "f", "foregroundDeletion"),
        (Propagation::Orphan, "o", "orphan"),
    ] {
        create(&server, "configmaps", "default", map(name)).await;
        let target = object("configmaps", "default", name);
        let options = DeleteOptions {
            propagation: Some(policy),
            ..DeleteOptions::default()
        };
        let written = server.delete(&admin(), &target, &options).await.unwrap();
        assert_eq!(
            written.object.value()["metadata"]["finalizers"],
            json!([finalizer])
        );
        assert_eq!(written.accepted, policy == Propagation::Foreground);
    }
}

#[tokio::test]
async fn a_namespace_terminates_and_takes_nothing_new() {
    let server = testing::server().await;
    create(
        &server,
        "namespaces",
        "",
        json!({"metadata": {"name": "team"}}),
    )
    .await;
    let target = object("namespaces", "", "team");
    let marked = delete(&server, &target).await.unwrap();
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(marked["spec"]["finalizers"], json!(["kubernetes"]));
    let status = post(&server, &collection("pods", "team"), pod("web"))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Forbidden);
    assert_eq!(
        status.message,
        "pods \"web\" is forbidden: unable to create new content in namespace team because it is being terminated"
    );
    assert_eq!(
        status.details.unwrap().causes[0].reason,
        "NamespaceTerminating"
    );
    let mut done = marked;
    done["spec"]["finalizers"] = json!([]);
    put(&server, &target.clone().with(Subresource::Finalize), done)
        .await
        .unwrap();
    assert!(get(&server, &target).await.is_err());
}

#[tokio::test]
async fn a_collection_goes_by_selector() {
    let server = testing::server().await;
    for name in ["a", "b"] {
        create(&server, "configmaps", "default", map(name)).await;
    }
    let select = ListOptions {
        label_selector: Some("app=a".into()),
        ..ListOptions::default()
    };
    let target = collection("configmaps", "default");
    let gone = server
        .delete_collection(&admin(), &target, &DeleteOptions::default(), &select)
        .await
        .unwrap();
    assert_eq!(gone.items.len(), 1);
    assert!(
        get(&server, &object("configmaps", "default", "a"))
            .await
            .is_err()
    );
    assert!(
        get(&server, &object("configmaps", "default", "b"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_eviction_is_a_delete() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let target = object("pods", "default", "web");
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}});
    let to = target.clone().with(Subresource::Eviction);
    let options = WriteOptions::default();
    let written = server
        .create(&admin(), &to, Body::from(eviction), &options)
        .await
        .unwrap();
    assert!(written.created);
    assert_eq!(written.object.value()["status"], "Success");
    assert!(get(&server, &target).await.is_err());
}
