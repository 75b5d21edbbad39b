//! LimitRanges, Pod Security, external addresses and the namespaces that stay.

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, Memory, collection, create, object, pod};
use kontiki_apiserver::{ApiServer, Options};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use super::{delete, get, post, put};

fn namespace(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}})
}

/// Makes a namespace, and the account that its pods run as.
async fn make(server: &ApiServer, name: &str, labels: Value) {
    create(server, "namespaces", "", namespace(name, labels)).await;
    let account = json!({"metadata": {"name": "default"}});
    create(server, "serviceaccounts", name, account).await;
}

fn privileged(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const WARN: &str = "pod-security.kubernetes.io/warn";

#[tokio::test]
async fn ranges_give_defaults_and_bounds() {
    let server = testing::server().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}, "max": {"cpu": "2"}}]}});
    create(&server, "limitranges", "default", range).await;
    let made = create(&server, "pods", "default", pod("a")).await;
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container app; cpu limit for container app"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "3"}});
    let status = post(&server, &collection("pods", "default"), large)
        .await
        .unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (
            Reason::Forbidden,
            "pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
        )
    );
}

#[tokio::test]
async fn pods_are_held_to_the_standard_of_their_namespace() {
    let server = testing::server().await;
    let labels = json!({ENFORCE: "baseline", WARN: "restricted"});
    make(&server, "safe", labels).await;
    let pods = collection("pods", "safe");
    let status = post(&server, &pods, privileged("a")).await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (
            Reason::Forbidden,
            "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"app\" must not \
             set securityContext.privileged=true)"
        )
    );
    let made = post(&server, &pods, pod("a")).await.unwrap();
    assert!(
        made.warnings[0].starts_with("would violate PodSecurity \"restricted:latest\": allowPriv")
    );
    let mut changed = made.object.value();
    changed["spec"]["containers"][0]["image"] = json!("other");
    put(&server, &object("pods", "safe", "a"), changed)
        .await
        .unwrap();
    // Elsewhere nobody minds.
    create(&server, "pods", "default", privileged("a")).await;
}

#[tokio::test]
async fn a_change_of_images_is_judged_anew() {
    let server = testing::server().await;
    make(&server, "later", json!({})).await;
    let made = create(&server, "pods", "later", privileged("a")).await;
    let mut strict = get(&server, &object("namespaces", "", "later"))
        .await
        .unwrap();
    strict["metadata"]["labels"][ENFORCE] = json!("baseline");
    put(&server, &object("namespaces", "", "later"), strict)
        .await
        .unwrap();
    let target = object("pods", "later", "a");
    let mut labelled = made.clone();
    labelled["metadata"]["labels"]["more"] = json!("labels");
    let labelled = put(&server, &target, labelled).await.unwrap();
    let mut status = labelled.clone();
    status["status"]["phase"] = json!("Running");
    put(&server, &target.clone().with(Subresource::Status), status)
        .await
        .unwrap();
    let mut changed = get(&server, &target).await.unwrap();
    changed["spec"]["containers"][0]["image"] = json!("other");
    let refused = put(&server, &target, changed).await.unwrap_err();
    assert!(
        refused.message.contains("violates PodSecurity"),
        "{refused}"
    );
}

#[tokio::test]
async fn of_templates_the_client_is_warned() {
    let server = testing::server().await;
    create(
        &server,
        "namespaces",
        "",
        namespace("safe", json!({ENFORCE: "baseline"})),
    )
    .await;
    let mut template = privileged("x");
    template.as_object_mut().unwrap().remove("kind");
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": template["spec"]});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}}, "template": template}});
    let made = post(&server, &collection("deployments.apps", "safe"), deployment)
        .await
        .unwrap();
    assert_eq!(
        made.warnings,
        [
            "would violate PodSecurity \"baseline:latest\": privileged (container \"app\" must not set \
          securityContext.privileged=true)"
        ]
    );
}

#[tokio::test]
async fn labels_are_checked_and_a_stricter_standard_tells_whom_it_hits() {
    let server = testing::server().await;
    let odd = namespace("odd", json!({ENFORCE: "strict"}));
    let status = post(&server, &collection("namespaces", ""), odd)
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Invalid);
    assert!(
        status
            .message
            .contains("must be one of privileged, baseline, restricted"),
        "{status}"
    );
    for name in ["b", "a", "c"] {
        create(&server, "pods", "default", privileged(name)).await;
    }
    create(&server, "pods", "default", pod("fine")).await;
    let mut strict = get(&server, &object("namespaces", "", "default"))
        .await
        .unwrap();
    strict["metadata"]["labels"][ENFORCE] = json!("baseline");
    let written = server
        .update(
            &testing::admin(),
            &object("namespaces", "", "default"),
            kontiki_apiserver::Body::from(strict),
            &kontiki_apiserver::WriteOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(
        written.warnings,
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 2 other pods): privileged",
        ]
    );
}

#[tokio::test]
async fn external_addresses_need_to_be_allowed() {
    let server = testing::server().await;
    let services = collection("services", "default");
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["203.0.113.9"]}});
    let status = post(&server, &services, service.clone()).await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (
            Reason::Forbidden,
            "services \"s\" is forbidden: Use of external IPs is denied by admission control"
        )
    );
    let options = Options {
        allow_service_external_ips: true,
        ..Options::default()
    };
    let server = testing::server_with_options(Memory::default(), options).await;
    post(&server, &services, service).await.unwrap();
}

#[tokio::test]
async fn some_namespaces_stay() {
    let server = testing::server().await;
    let status = delete(&server, &object("namespaces", "", "default"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (
            Reason::Forbidden,
            "namespaces \"default\" is forbidden: this namespace may not be deleted"
        )
    );
}

#[tokio::test]
async fn a_pod_gets_the_overhead_of_its_runtime_class() {
    let server = testing::server().await;
    let class = json!({"metadata": {"name": "gvisor"}, "handler": "runsc", "overhead": {"podFixed": {"cpu": "10m"}}});
    create(&server, "runtimeclasses.node.k8s.io", "", class).await;
    let mut sandboxed = pod("a");
    sandboxed["spec"]["runtimeClassName"] = json!("gvisor");
    let made = create(&server, "pods", "default", sandboxed).await;
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "10m"}));
    let mut lost = pod("b");
    lost["spec"]["runtimeClassName"] = json!("kata");
    let status = post(&server, &collection("pods", "default"), lost)
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "pods \"b\" is forbidden: pod rejected: RuntimeClass \"kata\" not found"
    );
}
