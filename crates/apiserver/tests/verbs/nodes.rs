//! Foreign nodes: what a kubelet's certificate opens, and what it does not (hostile inputs 27 to 29).

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, admin, collection, create, jane, object, pod};
use kontiki_apiserver::{
    ApiServer, Body, Context, DeleteOptions, GetOptions, ListOptions, PatchType, Target,
    WriteOptions,
};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::get;

fn node(name: &str) -> Context {
    let mut context = jane();
    context.user.name = format!("system:node:{name}");
    context.user.groups.push("system:nodes".into());
    context
}

/// Two nodes; a pod on each that names a secret of its own.
async fn world() -> ApiServer {
    let server = testing::server().await;
    for namespace in ["kube-node-lease", "kube-system"] {
        create(
            &server,
            "namespaces",
            "",
            json!({"metadata": {"name": namespace}}),
        )
        .await;
    }
    for n in ["1", "2"] {
        create(
            &server,
            "nodes",
            "",
            json!({"metadata": {"name": format!("n{n}")}}),
        )
        .await;
        let secret = json!({"metadata": {"name": format!("s{n}")}});
        create(&server, "secrets", "default", secret).await;
        let mut pod = pod(&format!("p{n}"));
        pod["spec"]["nodeName"] = format!("n{n}").into();
        pod["spec"]["serviceAccountName"] = format!("a{n}").into();
        pod["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": format!("s{n}")}}]);
        let account = json!({"metadata": {"name": format!("a{n}")}});
        create(&server, "serviceaccounts", "default", account).await;
        create(&server, "pods", "default", pod).await;
    }
    server
}

fn reason<T>(outcome: Result<T, Status>) -> Option<Reason> {
    outcome.err().map(|status| status.reason)
}

async fn patch(server: &ApiServer, target: &Target, value: Value) -> Result<(), Status> {
    let options = WriteOptions::default();
    let patched = server
        .patch(
            &node("n1"),
            target,
            PatchType::Merge,
            Body::from(value),
            &options,
        )
        .await;
    patched.map(|_| ())
}

#[tokio::test]
async fn a_node_reads_what_its_pods_name() {
    let server = world().await;
    let n1 = node("n1");
    let forbidden = Some(Reason::Forbidden);
    for (resource, namespace, name, wanted) in [
        ("secrets", "default", "s1", None),
        ("secrets", "default", "s2", forbidden),
        ("secrets", "default", "nope", forbidden),
        ("configmaps", "default", "c", forbidden),
        ("pods", "default", "p1", None),
        ("pods", "default", "p2", forbidden),
        ("nodes", "", "n1", None),
        ("nodes", "", "n2", forbidden),
        ("serviceaccounts", "default", "a1", None),
        ("serviceaccounts", "default", "a2", forbidden),
        ("services", "default", "x", Some(Reason::NotFound)),
        ("deployments.apps", "default", "x", forbidden),
    ] {
        let target = object(resource, namespace, name);
        let read = server.get(&n1, &target, &GetOptions::default()).await;
        assert_eq!(reason(read), wanted, "{resource} {name}");
    }
    for (resource, fields, wanted) in [
        ("secrets", "", forbidden),
        ("secrets", "metadata.name=s1", None),
        ("secrets", "metadata.name=s2", forbidden),
        ("pods", "", forbidden),
        ("pods", "spec.nodeName=n1", None),
        ("pods", "spec.nodeName=n2", forbidden),
    ] {
        let options = ListOptions {
            field_selector: Some(fields.into()),
            ..ListOptions::default()
        };
        let listed = server
            .list(&n1, &collection(resource, "default"), &options)
            .await;
        assert_eq!(reason(listed), wanted, "{resource} {fields}");
    }
    let refused = server
        .get(
            &n1,
            &object("secrets", "default", "s2"),
            &GetOptions::default(),
        )
        .await;
    assert_eq!(
        refused.unwrap_err().message,
        "secrets \"s2\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in \
         the namespace \"default\": no relationship found between node 'n1' and this object"
    );
}

#[tokio::test]
async fn a_node_changes_itself_within_bounds() {
    let server = world().await;
    let own = object("nodes", "", "n1");
    for (change, why) in [
        (
            json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
            "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
        ),
        (
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            "node \"n1\" is not allowed to modify taints",
        ),
        (
            json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}}),
            "node \"n1\" is not allowed to modify ownerReferences",
        ),
    ] {
        let refused = patch(&server, &own, change).await.unwrap_err();
        assert_eq!(refused.message, format!("nodes \"n1\" is forbidden: {why}"));
    }
    let label = json!({"metadata": {"labels": {"kubernetes.io/hostname": "n1", "mine": "x"}}});
    patch(&server, &own, label.clone()).await.unwrap();
    let status = own.with(Subresource::Status);
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    patch(&server, &status, ready.clone()).await.unwrap();
    let other = object("nodes", "", "n2");
    let refused = patch(&server, &other, label).await.unwrap_err();
    assert!(
        refused
            .message
            .ends_with("node \"n1\" is not allowed to modify node \"n2\"")
    );
    let refused = patch(&server, &other.with(Subresource::Status), ready).await;
    assert_eq!(reason(refused), Some(Reason::Forbidden));
    let removed = server
        .delete(
            &node("n1"),
            &object("nodes", "", "n1"),
            &DeleteOptions::default(),
        )
        .await;
    assert_eq!(reason(removed), Some(Reason::Forbidden));
}

#[tokio::test]
async fn a_node_writes_of_its_own_pods_only() {
    let server = world().await;
    let status = json!({"status": {"phase": "Running"}});
    let of = |name: &str| object("pods", "default", name).with(Subresource::Status);
    patch(&server, &of("p1"), status.clone()).await.unwrap();
    assert_eq!(
        reason(patch(&server, &of("p2"), status).await),
        Some(Reason::Forbidden)
    );
    let evict = async |name: &str| {
        let target = object("pods", "default", name).with(Subresource::Eviction);
        let body = Body::from(json!({"metadata": {"name": name}}));
        reason(
            server
                .create(&node("n1"), &target, body, &WriteOptions::default())
                .await,
        )
    };
    assert_eq!(evict("p2").await, Some(Reason::Forbidden));
    assert_eq!(evict("p1").await, None);
    let remove = async |name: &str| {
        let target = object("pods", "default", name);
        reason(
            server
                .delete(&node("n1"), &target, &DeleteOptions::default())
                .await,
        )
    };
    assert_eq!(remove("p2").await, Some(Reason::Forbidden));
    let post = async |resource: &str, namespace: &str, value: Value| {
        let target = collection(resource, namespace);
        let body = Body::from(value);
        let made = server
            .create(&node("n1"), &target, body, &WriteOptions::default())
            .await;
        reason(made)
    };
    assert_eq!(
        post("pods", "default", pod("x")).await,
        Some(Reason::Forbidden)
    );
    let uid = get(&server, &object("nodes", "", "n1")).await.unwrap()["metadata"]["uid"].clone();
    let mut mirror = pod("mirror");
    mirror["spec"]["nodeName"] = "n1".into();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": true}]);
    assert_eq!(post("pods", "default", mirror.clone()).await, None);
    mirror["metadata"]["name"] = "thief".into();
    mirror["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "s2"}}]);
    assert_eq!(
        post("pods", "default", mirror).await,
        Some(Reason::Forbidden)
    );
    let leases = "leases.coordination.k8s.io";
    let lease = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(post(leases, "kube-node-lease", lease("n1")).await, None);
    assert_eq!(
        post(leases, "kube-node-lease", lease("n2")).await,
        Some(Reason::Forbidden)
    );
    assert_eq!(
        post(leases, "default", lease("n1")).await,
        Some(Reason::Forbidden)
    );
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods() {
    let server = world().await;
    let uid = |value: Value| value["metadata"]["uid"].as_str().unwrap().to_owned();
    let p1 = uid(get(&server, &object("pods", "default", "p1"))
        .await
        .unwrap());
    let p2 = uid(get(&server, &object("pods", "default", "p2"))
        .await
        .unwrap());
    let ask = async |context: &Context, account: &str, bound: Value| {
        let target = object("serviceaccounts", "default", account).with(Subresource::Token);
        let body = Body::from(json!({"spec": {"boundObjectRef": bound}}));
        reason(
            server
                .create(context, &target, body, &WriteOptions::default())
                .await,
        )
    };
    let pod = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    let (n1, forbidden) = (node("n1"), Some(Reason::Forbidden));
    assert_eq!(ask(&n1, "a1", pod("p1", &p1)).await, None);
    assert_eq!(ask(&n1, "a1", Value::Null).await, forbidden);
    assert_eq!(ask(&n1, "a1", pod("p1", "")).await, forbidden);
    assert_eq!(ask(&n1, "a1", pod("p1", &p2)).await, forbidden);
    assert_eq!(ask(&n1, "a2", pod("p2", &p2)).await, forbidden);
    assert_eq!(
        ask(&admin(), "a2", pod("p1", &p1)).await,
        Some(Reason::BadRequest)
    );
}
