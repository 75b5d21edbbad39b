//! Patch: the three formats that change a tree.

use kontiki_apiserver::PatchType::{Json, Merge, Strategic};
use kontiki_apiserver::testing::{self, create, deployment, object, pod};
use kontiki_base::status::Reason;
use serde_json::json;

use super::{patch, revision};

#[tokio::test]
async fn each_format_changes_what_it_says() {
    let server = testing::server().await;
    create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let ops = json!([{"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2}]);
    assert_eq!(
        patch(&server, &web, Json, ops.clone()).await.unwrap()["spec"]["replicas"],
        2
    );
    let status = patch(&server, &web, Json, ops).await.unwrap_err();
    assert_eq!(status.reason, Reason::Invalid);
    let merged = patch(
        &server,
        &web,
        Merge,
        json!({"metadata": {"labels": {"a": "b"}}}),
    )
    .await
    .unwrap();
    assert_eq!(merged["metadata"]["labels"], json!({"a": "b"}));
    let sidecar = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}});
    let both = patch(&server, &web, Strategic, sidecar.clone())
        .await
        .unwrap();
    let containers = both["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let names: Vec<&str> = containers
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["app", "side"]);
    let again = patch(&server, &web, Strategic, sidecar).await.unwrap();
    assert_eq!(
        revision(&again),
        revision(&both),
        "the same patch again writes nothing"
    );
}

#[tokio::test]
async fn a_patch_may_name_its_revision() {
    let server = testing::server().await;
    let old = create(
        &server,
        "configmaps",
        "default",
        json!({"metadata": {"name": "a"}}),
    )
    .await;
    let target = object("configmaps", "default", "a");
    let with = |value: &str, data: &str| json!({"metadata": {"resourceVersion": value}, "data": {"k": data}});
    let current = old["metadata"]["resourceVersion"].as_str().unwrap();
    patch(&server, &target, Merge, with(current, "1"))
        .await
        .unwrap();
    let status = patch(&server, &target, Merge, with(current, "2"))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Conflict);
}

#[tokio::test]
async fn patched_objects_are_validated_again() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let web = object("pods", "default", "web");
    let status = patch(&server, &web, Merge, json!({"spec": {"nodeName": 3}}))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Invalid, "{}", status.message);
    let none = object("pods", "default", "none");
    let status = patch(&server, &none, Merge, json!({})).await.unwrap_err();
    assert_eq!(status.message, "pods \"none\" not found");
    let status = patch(&server, &web, Strategic, json!({"metadata": {"name": "b"}}))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::BadRequest);
}
