//! Admission that looks beyond the object: priorities, default classes, who asks for a certificate.

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, admin, collection, create, jane, object, pod};
use kontiki_apiserver::{Body, DeleteOptions, WriteOptions};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use super::{get, post, put};

/// Asks for a certificate of `system:node:n1` in `system:nodes`.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVI1enJ3eGh0RytZdkowCmNDd2EwTXhmRCtjbFB1NmphMndwWmErN0FNNHV0UG1HbGUyUzdzYXJ3WlJwdDVOWEFxNTRZdUNBN0kvOTVONHYKVWtjQS80d01vQUF3Q2dZSUtvWkl6ajBFQXdJRFJ3QXdSQUlnT2xBUXduNVk5dEtuV3hYMjRFZ2R2RkxPTkNRKwp5TkxQNWFKVE9XSGNmOThDSUhNM2V1V3NwT0VXMTlVN3JrVUE2WGVqY3I2TTljU3gzbUd2dDZTRGljRU0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

fn class(name: &str, value: i64) -> Value {
    json!({"metadata": {"name": name}, "value": value})
}

#[tokio::test]
async fn a_pod_gets_the_priority_of_its_class() {
    let server = testing::server().await;
    let classes = "priorityclasses.scheduling.k8s.io";
    create(&server, classes, "", class("high", 1000)).await;
    let mut high = pod("high");
    high["spec"]["priorityClassName"] = json!("high");
    let high = create(&server, "pods", "default", high).await;
    assert_eq!(high["spec"]["priority"], 1000);
    assert_eq!(high["spec"]["preemptionPolicy"], "PreemptLowerPriority");
    let plain = create(&server, "pods", "default", pod("plain")).await;
    assert_eq!(plain["spec"]["priority"], 0);
    let mut lost = pod("lost");
    lost["spec"]["priorityClassName"] = json!("none");
    let pods = collection("pods", "default");
    let status = post(&server, &pods, lost).await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (
            Reason::Forbidden,
            "pods \"lost\" is forbidden: no PriorityClass with name none was found"
        )
    );
}

#[tokio::test]
async fn one_priority_class_is_the_default_and_the_systems_own_stay() {
    let server = testing::server().await;
    let classes = collection("priorityclasses.scheduling.k8s.io", "");
    for (name, value) in [("usual", 5), ("also-usual", 6)] {
        let mut class = class(name, value);
        class["globalDefault"] = json!(true);
        let made = post(&server, &classes, class).await;
        assert_eq!(made.is_ok(), name == "usual");
    }
    let plain = create(&server, "pods", "default", pod("plain")).await;
    assert_eq!(plain["spec"]["priorityClassName"], "usual");
    let system = class("system-node-critical", 2_000_001_000);
    post(&server, &classes, system).await.unwrap();
    let target = object(
        "priorityclasses.scheduling.k8s.io",
        "",
        "system-node-critical",
    );
    let status = server
        .delete(&admin(), &target, &DeleteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and \
         cannot be deleted"
    );
}

#[tokio::test]
async fn a_new_node_is_tainted_until_its_conditions_are_looked_at() {
    let server = testing::server().await;
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let node = create(&server, "nodes", "", json!({"metadata": {"name": "n1"}})).await;
    assert_eq!(node["spec"]["taints"], json!([taint]));
    let mut own = json!({"metadata": {"name": "n2"}, "spec": {"taints": [taint]}});
    let node = create(&server, "nodes", "", own.take()).await;
    assert_eq!(node["spec"]["taints"], json!([taint]), "once");
    let mut bare = node.clone();
    bare["spec"]["taints"] = json!([]);
    let updated = put(&server, &object("nodes", "", "n2"), bare)
        .await
        .unwrap();
    let taints = &updated["spec"]["taints"];
    assert!(taints.as_array().is_none_or(Vec::is_empty), "{taints}");
}

#[tokio::test]
async fn a_pod_shows_the_zone_of_its_node() {
    const ZONE: &str = "topology.kubernetes.io/zone";
    let server = testing::server().await;
    let labels = json!({ZONE: "z1", "topology.kubernetes.io/region": "r", "other": "x"});
    let node = json!({"metadata": {"name": "n1", "labels": labels}});
    create(&server, "nodes", "", node).await;
    let mut own = pod("own");
    own["metadata"]["labels"] = json!({ZONE: "mine", "app": "own"});
    create(&server, "pods", "default", own).await;
    let binding = json!({"metadata": {"name": "own", "labels": {"sent": "too"}}, "target": {"kind": "Node", "name": "n1"}});
    let target = object("pods", "default", "own").with(Subresource::Binding);
    post(&server, &target, binding).await.unwrap();
    let bound = get(&server, &object("pods", "default", "own"))
        .await
        .unwrap();
    let expected =
        json!({ZONE: "z1", "topology.kubernetes.io/region": "r", "app": "own", "sent": "too"});
    assert_eq!(bound["metadata"]["labels"], expected);
    let mut placed = pod("placed");
    placed["spec"]["nodeName"] = json!("n1");
    let placed = create(&server, "pods", "default", placed).await;
    assert_eq!(placed["metadata"]["labels"][ZONE], "z1");
}

#[tokio::test]
async fn an_ingress_gets_the_default_class() {
    let server = testing::server().await;
    let class = json!({
        "metadata": {"name": "web", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "example.com/ingress"},
    });
    create(&server, "ingressclasses.networking.k8s.io", "", class).await;
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "web"}, "spec": {"defaultBackend": backend}});
    let ingress = create(&server, "ingresses.networking.k8s.io", "default", ingress).await;
    assert_eq!(ingress["spec"]["ingressClassName"], "web");
}

#[tokio::test]
async fn a_certificate_request_is_approved_and_answered_by_subresources() {
    let server = testing::server().await;
    let resource = "certificatesigningrequests.certificates.k8s.io";
    let request = json!({"metadata": {"name": "n1"}, "spec": {
        "request": REQUEST, "signerName": "kubernetes.io/kubelet-serving",
        "usages": ["digital signature", "server auth"], "username": "someone-else",
    }});
    let made = create(&server, resource, "", request).await;
    assert_eq!(made["spec"]["username"], "kubernetes-admin");
    assert_eq!(
        made["spec"]["groups"],
        json!(["system:masters", "system:authenticated"])
    );
    let target = object(resource, "", "n1");
    let approval = target.clone().with(Subresource::Approval);
    let mut approved = made.clone();
    approved["spec"]["usages"] = json!(["any"]);
    approved["status"] =
        json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]});
    let approved = put(&server, &approval, approved).await.unwrap();
    assert_eq!(approved["spec"], made["spec"]);
    let condition = &approved["status"]["conditions"][0];
    assert_eq!(condition["lastUpdateTime"], "2026-01-01T00:00:00Z");
    let mut denied = approved.clone();
    denied["status"]["conditions"] = json!([{"type": "Denied", "status": "True"}]);
    let status = put(&server, &approval, denied).await.unwrap_err();
    assert_eq!(status.reason, Reason::Invalid);
    let mut plain = approved.clone();
    plain["status"] = json!({});
    plain["metadata"]["labels"] = json!({"a": "b"});
    let labelled = put(&server, &target, plain).await.unwrap();
    assert_eq!(labelled["status"], approved["status"]);
    assert_eq!(get(&server, &approval).await.unwrap(), labelled);
}

#[tokio::test]
async fn approving_and_signing_need_the_right_to_the_signer() {
    let server = testing::server().await;
    let requests = "certificatesigningrequests.certificates.k8s.io";
    let spec = json!({
        "request": REQUEST,
        "signerName": "kubernetes.io/kubelet-serving",
        "usages": ["digital signature", "server auth"],
    });
    create(
        &server,
        requests,
        "",
        json!({"metadata": {"name": "n1"}, "spec": spec}),
    )
    .await;
    let rights = "rbac.authorization.k8s.io";
    let grant = async |name: &str, rules: serde_json::Value| {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        create(&server, &format!("clusterroles.{rights}"), "", role).await;
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rights, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": rights, "kind": "User", "name": "jane"}],
        });
        create(
            &server,
            &format!("clusterrolebindings.{rights}"),
            "",
            binding,
        )
        .await;
    };
    let group = ["certificates.k8s.io"];
    let parts = [
        "certificatesigningrequests/approval",
        "certificatesigningrequests/status",
    ];
    grant(
        "change",
        json!([{"apiGroups": group, "resources": parts, "verbs": ["update"]}]),
    )
    .await;

    let change = async |part: Subresource, word: &str| {
        let target = object(requests, "", "n1").with(part);
        let mut new = get(&server, &object(requests, "", "n1")).await.unwrap();
        let mut conditions = new["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.push(json!({"type": word, "status": "True", "reason": "X"}));
        new["status"] = json!({"conditions": conditions});
        let options = WriteOptions::default();
        let updated = server
            .update(&jane(), &target, Body::from(new), &options)
            .await;
        updated.err().map(|status| status.message)
    };
    let refused = |verb: &str| {
        Some(format!(
            "certificatesigningrequests.certificates.k8s.io \"n1\" is forbidden: user not permitted to {verb} requests \
             with signerName \"kubernetes.io/kubelet-serving\""
        ))
    };
    assert_eq!(
        change(Subresource::Approval, "Approved").await,
        refused("approve")
    );
    assert_eq!(change(Subresource::Status, "Failed").await, refused("sign"));
    let signers = json!([
        {"apiGroups": group, "resources": ["signers"], "verbs": ["approve"], "resourceNames": ["kubernetes.io/*"]},
        {"apiGroups": group, "resources": ["signers"], "verbs": ["sign"],
            "resourceNames": ["kubernetes.io/kubelet-serving"]},
    ]);
    grant("signers", signers).await;
    assert_eq!(change(Subresource::Approval, "Approved").await, None);
    assert_eq!(change(Subresource::Status, "Failed").await, None);
}
