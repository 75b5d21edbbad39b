//! Create: identity, namespaces, names, field validation, dry runs.

use kontiki_apiserver::testing::{self, admin, collection, deployment, object, pod};
use kontiki_apiserver::{Body, FieldValidation, WriteOptions};
use kontiki_base::status::Reason;
use serde_json::json;

use super::{get, post};

#[tokio::test]
async fn a_created_object_has_identity_defaults_and_managers() {
    let server = testing::server().await;
    let written = post(&server, &collection("pods", "default"), pod("web"))
        .await
        .unwrap();
    assert!(written.created);
    let pod = written.object.value();
    assert_eq!(pod["metadata"]["namespace"], "default");
    assert_eq!(pod["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(pod["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(pod["spec"]["restartPolicy"], "Always");
    assert_eq!(pod["status"]["phase"], "Pending");
    let entry = &pod["metadata"]["managedFields"][0];
    assert_eq!(entry["manager"], "kubectl");
    assert_eq!(entry["operation"], "Update");
    assert_eq!(
        entry["fieldsV1"]["f:metadata"],
        json!({"f:labels": {".": {}, "f:app": {}}})
    );
    let containers = &entry["fieldsV1"]["f:spec"]["f:containers"]["k:{\"name\":\"app\"}"];
    assert_eq!(containers["f:image"], json!({}));
    assert!(entry["fieldsV1"].get("f:status").is_none());
    assert_eq!(
        get(&server, &object("pods", "default", "web"))
            .await
            .unwrap(),
        pod
    );
}

#[tokio::test]
async fn names_are_taken_once_and_generated_with_upstreams_letters() {
    let server = testing::server().await;
    let pods = collection("pods", "default");
    post(&server, &pods, pod("web")).await.unwrap();
    let status = post(&server, &pods, pod("web")).await.unwrap_err();
    assert_eq!(status.reason, Reason::AlreadyExists);
    assert_eq!(status.message, "pods \"web\" already exists");
    let mut template = pod("x");
    template["metadata"] = json!({"generateName": "job-"});
    let made = post(&server, &pods, template).await.unwrap().object.value();
    let name = made["metadata"]["name"].as_str().unwrap();
    let suffix = name.strip_prefix("job-").unwrap();
    assert_eq!(suffix.len(), 5);
    assert!(
        suffix
            .chars()
            .all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)),
        "{name}"
    );
}

#[tokio::test]
async fn the_namespace_has_to_be_there_and_to_agree() {
    let server = testing::server().await;
    let status = post(&server, &collection("pods", "none"), pod("web"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (Reason::NotFound, "namespaces \"none\" not found")
    );
    let mut other = pod("web");
    other["metadata"]["namespace"] = json!("other");
    let status = post(&server, &collection("pods", "default"), other)
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[tokio::test]
async fn bodies_of_another_kind_or_type_are_refused() {
    let server = testing::server().await;
    let target = collection("deployments.apps", "default");
    let mut wrong_version = deployment("web", 1);
    wrong_version["apiVersion"] = json!("apps/v1beta1");
    let mut wrong_type = deployment("web", 1);
    wrong_type["spec"]["replicas"] = json!("three");
    let cases = [
        (
            pod("web"),
            "Pod in version \"v1\" cannot be handled as a Deployment",
        ),
        (
            wrong_version,
            "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)",
        ),
        (
            wrong_type,
            "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string",
        ),
    ];
    for (body, message) in cases {
        let status = post(&server, &target, body).await.unwrap_err();
        assert_eq!(status.reason, Reason::BadRequest);
        assert!(status.message.starts_with(message), "{}", status.message);
    }
}

#[tokio::test]
async fn unknown_and_duplicate_fields_follow_field_validation() {
    let server = testing::server().await;
    let target = collection("configmaps", "default");
    let json = br#"{"metadata":{"name":"a"},"data":{"k":"v"},"datum":1,"data":{"k":"w"}}"#;
    let send = async |field_validation, dry_run| {
        let options = WriteOptions {
            field_validation,
            dry_run,
            ..WriteOptions::default()
        };
        server
            .create(&admin(), &target, Body::from_json(json).unwrap(), &options)
            .await
    };
    let status = send(FieldValidation::Strict, false).await.unwrap_err();
    assert_eq!(
        status.message,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \
         \"datum\", duplicate field \"data\""
    );
    let warned = send(FieldValidation::Warn, true).await.unwrap();
    assert_eq!(
        warned.warnings,
        ["unknown field \"datum\"", "duplicate field \"data\""]
    );
    assert!(
        get(&server, &object("configmaps", "default", "a"))
            .await
            .is_err(),
        "a dry run"
    );
    let ignored = send(FieldValidation::Ignore, false).await.unwrap();
    assert!(ignored.warnings.is_empty());
    assert_eq!(ignored.object.value()["data"], json!({"k": "w"}));
    assert!(ignored.object.value().get("datum").is_none());
}

#[tokio::test]
async fn broken_rules_come_with_causes() {
    let server = testing::server().await;
    let target = collection("deployments.apps", "default");
    let status = post(&server, &target, deployment("web", -1))
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Invalid);
    let details = status.details.unwrap();
    assert_eq!(
        (details.kind.as_str(), details.group.as_str()),
        ("Deployment", "apps")
    );
    assert_eq!(details.causes[0].field, "spec.replicas");
    let status = post(&server, &collection("pods", "default"), json!({"spec": {}}))
        .await
        .unwrap_err();
    assert!(
        status
            .message
            .contains("metadata.name: Required value: name or generateName is required")
    );
}

#[tokio::test]
async fn a_jobs_pods_are_labelled_with_its_uid_and_its_generated_name() {
    let server = testing::server().await;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "once-"},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": "i"}]}}}});
    let made = post(&server, &collection("jobs.batch", "default"), job)
        .await
        .unwrap()
        .object
        .value();
    let metadata = &made["metadata"];
    let labels = &made["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["batch.kubernetes.io/job-name"], metadata["name"]);
    assert_eq!(
        labels["batch.kubernetes.io/controller-uid"],
        metadata["uid"]
    );
    assert_eq!(
        made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"],
        metadata["uid"]
    );
}
