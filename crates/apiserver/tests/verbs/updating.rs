//! Update: optimistic concurrency, no-ops, status and scale.

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, admin, create, deployment, object};
use kontiki_apiserver::{Body, PatchType, WriteOptions};
use kontiki_base::status::Reason;
use serde_json::json;

use super::{get, put, revision};

const MODIFIED: &str = "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please \
                        apply your changes to the latest version and try again";

#[tokio::test]
async fn a_stale_revision_is_a_conflict_and_none_overwrites() {
    let server = testing::server().await;
    let old = create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let mut two = old.clone();
    two["spec"]["replicas"] = json!(2);
    let new = put(&server, &web, two).await.unwrap();
    assert!(revision(&new) > revision(&old));
    assert_eq!(new["metadata"]["generation"], 2);
    let status = put(&server, &web, old).await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (Reason::Conflict, MODIFIED)
    );
    let forced = put(&server, &web, deployment("web", 3)).await.unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(forced["metadata"]["uid"], new["metadata"]["uid"]);
}

#[tokio::test]
async fn an_update_without_a_change_writes_nothing() {
    let server = testing::server().await;
    let old = create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let new = put(&server, &web, old.clone()).await.unwrap();
    assert_eq!(new, old);
    assert_eq!(put(&server, &web, deployment("web", 1)).await.unwrap(), old);
}

#[tokio::test]
async fn identity_is_checked() {
    let server = testing::server().await;
    let old = create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let mut other = old.clone();
    other["metadata"]["uid"] = json!("11111111-1111-4111-8111-111111111111");
    let status = put(&server, &web, other).await.unwrap_err();
    assert_eq!(status.reason, Reason::Conflict);
    assert!(
        status
            .message
            .contains("Precondition failed: UID in precondition: 11111111")
    );
    let mut renamed = old;
    renamed["metadata"]["name"] = json!("other");
    let status = put(&server, &web, renamed).await.unwrap_err();
    assert_eq!(
        status.message,
        "the name of the object (other) does not match the name on the URL (web)"
    );
    let gone = object("deployments.apps", "default", "gone");
    let status = put(&server, &gone, deployment("gone", 1))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::NotFound);
}

#[tokio::test]
async fn status_changes_status_alone_and_has_a_manager_of_its_own() {
    let server = testing::server().await;
    let old = create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(9);
    new["status"] = json!({"replicas": 1, "observedGeneration": 1});
    let new = put(&server, &web.clone().with(Subresource::Status), new)
        .await
        .unwrap();
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"]["replicas"], 1);
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    let status = entries
        .iter()
        .find(|entry| entry["subresource"] == "status")
        .unwrap();
    assert_eq!(
        status["fieldsV1"],
        json!({"f:status": {".": {}, "f:observedGeneration": {}, "f:replicas": {}}})
    );
    let mut main = get(&server, &web).await.unwrap();
    main["status"] = json!({"replicas": 7});
    main["spec"]["replicas"] = json!(2);
    assert_eq!(
        put(&server, &web, main).await.unwrap()["status"]["replicas"],
        1
    );
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let server = testing::server().await;
    create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let scale_target = object("deployments.apps", "default", "web").with(Subresource::Scale);
    let mut scale = get(&server, &scale_target).await.unwrap();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    assert_eq!(scale["status"]["selector"], "app=web");
    let stale = scale.clone();
    scale["spec"]["replicas"] = json!(4);
    let scaled = put(&server, &scale_target, scale).await.unwrap();
    assert_eq!(scaled["spec"]["replicas"], 4);
    assert_eq!(
        put(&server, &scale_target, stale).await.unwrap_err().reason,
        Reason::Conflict
    );
    let web = get(&server, &object("deployments.apps", "default", "web"))
        .await
        .unwrap();
    let entries = web["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["subresource"] == "scale")
        .unwrap();
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
}

#[tokio::test]
async fn a_patch_of_the_scale_runs_a_lost_race_again() {
    let memory = testing::Memory::default();
    let server = testing::server_over(memory.clone()).await;
    let web = object("deployments.apps", "default", "web");
    let stored = create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    testing::overtake(&memory, &web, &stored, "controller");
    let target = web.clone().with(Subresource::Scale);
    let (body, options) = (
        Body::from(json!({"spec": {"replicas": 5}})),
        WriteOptions::default(),
    );
    let patched = server
        .patch(&admin(), &target, PatchType::Merge, body, &options)
        .await;
    assert_eq!(patched.unwrap().object.value()["spec"]["replicas"], 5);
    let web = get(&server, &web).await.unwrap();
    assert_eq!(web["metadata"]["labels"], json!({"by": "controller"}));
    assert_eq!(web["spec"]["replicas"], 5);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let server = testing::server().await;
    let old = create(&server, "deployments.apps", "default", deployment("web", 1)).await;
    let web = object("deployments.apps", "default", "web");
    let options = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    let body = Body::from(deployment("web", 5));
    let written = server.update(&admin(), &web, body, &options).await.unwrap();
    assert_eq!(written.object.value()["spec"]["replicas"], 5);
    assert_eq!(get(&server, &web).await.unwrap(), old);
}

#[tokio::test]
async fn a_put_creates_where_the_kind_allows_it() {
    let server = testing::server().await;
    let lease = object("leases.coordination.k8s.io", "default", "l");
    let made = put(&server, &lease, json!({"spec": {"holderIdentity": "a"}}))
        .await
        .unwrap();
    assert_eq!(made["spec"]["holderIdentity"], "a");
    let again = json!({"spec": {"holderIdentity": "b"}});
    let refused = put(&server, &lease, again).await.unwrap_err();
    assert_eq!(
        refused.message,
        "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be \
         specified for an update"
    );
    let map = object("configmaps", "default", "m");
    let refused = put(&server, &map, json!({"data": {}})).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotFound);
}
