//! One stored kind, several served versions: each verb speaks the version that it is asked in.

use futures::StreamExt as _;
use kontiki_api::kinds::by_path;
use kontiki_apiserver::testing::{admin, create, server};
use kontiki_apiserver::{
    ApiServer, DeleteOptions, ListOptions, PatchType, Target, WatchEvent, WatchOptions, shown_item,
};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use crate::{apply, delete, get, patch, post, put};

const CPU: &str = "/spec/metrics/0/resource/target/averageUtilization";

fn target(group: &str, version: &str, plural: &str, name: &str) -> Target {
    Target {
        name: name.into(),
        ..Target::collection(by_path(group, version, plural).unwrap(), "default")
    }
}

fn autoscaler(version: &str, name: &str) -> Target {
    target("autoscaling", version, "horizontalpodautoscalers", name)
}

fn v1(percent: i64) -> Value {
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": percent,
        },
    })
}

async fn server_with_autoscaler() -> ApiServer {
    let server = server().await;
    let written = post(&server, &autoscaler("v1", ""), v1(60)).await.unwrap();
    let answer = written.object.value();
    assert_eq!(answer["apiVersion"], "autoscaling/v1");
    assert_eq!(answer["spec"]["targetCPUUtilizationPercentage"], 60);
    assert_eq!(answer["spec"]["minReplicas"], 1);
    assert_eq!(answer["spec"].get("metrics"), None);
    server
}

#[tokio::test]
async fn objects_are_read_in_each_version() {
    let server = server_with_autoscaler().await;
    let new = get(&server, &autoscaler("v2", "web")).await.unwrap();
    assert_eq!(new["apiVersion"], "autoscaling/v2");
    assert_eq!(new.pointer(CPU), Some(&json!(60)));
    let old = get(&server, &autoscaler("v1", "web")).await.unwrap();
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 60);
    assert_eq!(old["metadata"]["uid"], new["metadata"]["uid"]);
    assert_eq!(
        old["metadata"]["resourceVersion"],
        new["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn writes_in_the_old_version_keep_what_only_the_new_one_knows() {
    let server = server_with_autoscaler().await;
    let (old, new) = (autoscaler("v1", "web"), autoscaler("v2", "web"));
    let mut tree = get(&server, &new).await.unwrap();
    tree["spec"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    tree["spec"]["metrics"].as_array_mut().unwrap().push(json!(
        {"type": "Pods", "pods": {"metric": {"name": "rps"},
            "target": {"type": "AverageValue", "averageValue": "10"}}}
    ));
    put(&server, &new, tree).await.unwrap();
    let change = json!({"spec": {"targetCPUUtilizationPercentage": 70}});
    let answer = patch(&server, &old, PatchType::Strategic, change)
        .await
        .unwrap();
    assert_eq!(answer["spec"]["targetCPUUtilizationPercentage"], 70);
    assert_eq!(answer["spec"].get("behavior"), None);
    let tree = get(&server, &new).await.unwrap();
    let metrics = tree["spec"]["metrics"].as_array().unwrap();
    assert_eq!(metrics[0]["pods"]["target"]["averageValue"], "10");
    assert_eq!(metrics[1]["resource"]["target"]["averageUtilization"], 70);
    let down = &tree["spec"]["behavior"]["scaleDown"];
    assert_eq!(down["stabilizationWindowSeconds"], 60);
    assert_eq!(tree["metadata"].get("annotations"), None);
}

#[tokio::test]
async fn every_version_is_checked_by_the_same_rules() {
    let server = server().await;
    let mut tree = v1(50);
    tree["spec"]["maxReplicas"] = json!(0);
    let refused = post(&server, &autoscaler("v1", ""), tree)
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "HorizontalPodAutoscaler.autoscaling \"web\" is invalid: [spec.maxReplicas: Invalid value: 0: must \
         be greater than 0, spec.maxReplicas: Invalid value: 0: must be greater than or equal to \
         `minReplicas`]"
    );
    let mut tree = v1(50);
    tree["spec"]["metrics"] = json!([]);
    let written = post(&server, &autoscaler("v1", ""), tree).await.unwrap();
    assert_eq!(written.warnings, ["unknown field \"spec.metrics\""]);
}

#[tokio::test]
async fn apply_speaks_the_asked_version() {
    let server = server().await;
    let old = autoscaler("v1", "web");
    let answer = apply(&server, &old, "me", false, v1(40)).await.unwrap();
    assert_eq!(answer["spec"]["targetCPUUtilizationPercentage"], 40);
    let entry = &answer["metadata"]["managedFields"][0];
    assert_eq!(entry["apiVersion"], "autoscaling/v1");
    assert!(entry["fieldsV1"]["f:spec"]["f:targetCPUUtilizationPercentage"].is_object());
    let answer = apply(&server, &old, "me", false, v1(45)).await.unwrap();
    assert_eq!(answer["spec"]["targetCPUUtilizationPercentage"], 45);
    let stored = get(&server, &autoscaler("v2", "web")).await.unwrap();
    assert_eq!(stored.pointer(CPU), Some(&json!(45)));
}

#[tokio::test]
async fn statuses_are_written_in_each_version() {
    let server = server_with_autoscaler().await;
    let status = |version| Target {
        subresource: Some(kontiki_api::Subresource::Status),
        ..autoscaler(version, "web")
    };
    let change = json!({"status": {"currentReplicas": 2, "desiredReplicas": 3,
        "currentCPUUtilizationPercentage": 12}});
    let answer = patch(&server, &status("v1"), PatchType::Merge, change)
        .await
        .unwrap();
    assert_eq!(answer["status"]["currentCPUUtilizationPercentage"], 12);
    let tree = get(&server, &autoscaler("v2", "web")).await.unwrap();
    assert_eq!(tree["status"]["desiredReplicas"], 3);
    let current = &tree["status"]["currentMetrics"][0]["resource"]["current"];
    assert_eq!(current["averageUtilization"], 12);
}

#[tokio::test]
async fn lists_and_watches_speak_the_asked_version() {
    let server = server_with_autoscaler().await;
    let old = autoscaler("v1", "");
    let page = server
        .list(&admin(), &old, &ListOptions::default())
        .await
        .unwrap();
    let item = shown_item(&old.kind, &page.items[0]).unwrap().value();
    assert_eq!(item["apiVersion"], "autoscaling/v1");
    assert_eq!(item["spec"]["targetCPUUtilizationPercentage"], 60);
    let mut watch = server
        .watch(&admin(), &old, &WatchOptions::default())
        .await
        .unwrap();
    let Some(Ok(WatchEvent::Added(object))) = watch.next().await else {
        panic!("no initial event");
    };
    assert_eq!(object.value()["apiVersion"], "autoscaling/v1");
    delete(&server, &autoscaler("v2", "web")).await.unwrap();
    let Some(Ok(WatchEvent::Deleted(object))) = watch.next().await else {
        panic!("no deletion");
    };
    assert_eq!(object.value()["spec"]["targetCPUUtilizationPercentage"], 60);
    let gone = get(&server, &autoscaler("v1", "web")).await.unwrap_err();
    assert_eq!(
        gone.message,
        "horizontalpodautoscalers.autoscaling \"web\" not found"
    );
}

#[tokio::test]
async fn events_are_one_store_with_two_views() {
    let server = server().await;
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
        "message": "hello",
        "reason": "Started",
        "type": "Normal",
    });
    create(&server, "events", "default", event).await;
    let view = target("events.k8s.io", "v1", "events", "e");
    let tree = get(&server, &view).await.unwrap();
    assert_eq!(tree["apiVersion"], "events.k8s.io/v1");
    assert_eq!(
        (&tree["note"], &tree["regarding"]["name"]),
        (&json!("hello"), &json!("p"))
    );
    // The stricter rules of the newer version hold for what comes through it.
    let loose = json!({"metadata": {"name": "f"}, "regarding": {"namespace": "default"}});
    let collection = target("events.k8s.io", "v1", "events", "");
    let refused = post(&server, &collection, loose).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Invalid);
    assert!(
        refused.message.contains("eventTime: Required value"),
        "{}",
        refused.message
    );
    let options = ListOptions {
        field_selector: Some("regarding.name=p,reason=Started".into()),
        ..ListOptions::default()
    };
    let page = server.list(&admin(), &collection, &options).await.unwrap();
    let shown = shown_item(&collection.kind, &page.items[0]).unwrap();
    assert_eq!(shown.value()["note"], "hello");
    let options = ListOptions {
        field_selector: Some("involvedObject.name=p".into()),
        ..ListOptions::default()
    };
    let refused = server.list(&admin(), &collection, &options).await;
    assert_eq!(
        refused.unwrap_err().message,
        "field label not supported: involvedObject.name"
    );
    let selected = ListOptions::default();
    let deleted = server
        .delete_collection(&admin(), &collection, &DeleteOptions::default(), &selected)
        .await
        .unwrap();
    let shown = shown_item(&collection.kind, &deleted.items[0]).unwrap();
    assert_eq!(shown.value()["note"], "hello");
    let core = target("", "v1", "events", "e");
    assert!(get(&server, &core).await.is_err());
}
