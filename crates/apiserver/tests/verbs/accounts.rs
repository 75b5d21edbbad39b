//! ServiceAccount admission: the account that a pod runs as, its token in every container, what it lets the pod use.

use std::time::Duration;

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, collection, create, object, pod};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use super::{get, post};

const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn token_mounts(pod: &Value, list: &str) -> Vec<usize> {
    let containers = pod["spec"][list].as_array().unwrap().iter();
    let count = |container: &Value| {
        let mounts = container["volumeMounts"].as_array();
        let mounts = mounts.into_iter().flatten();
        mounts
            .filter(|mount| {
                mount["name"]
                    .as_str()
                    .unwrap()
                    .starts_with("kube-api-access-")
            })
            .count()
    };
    containers.map(count).collect()
}

#[tokio::test]
async fn every_container_finds_a_token_of_the_pods_account() {
    let server = testing::server().await;
    let account = json!({"metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "pull"}]});
    create(&server, "serviceaccounts", "default", account).await;
    let mut web = pod("web");
    web["spec"]["serviceAccountName"] = json!("robot");
    web["spec"]["initContainers"] = json!([{"name": "first", "image": "i"}]);
    let own =
        json!({"name": "own", "image": "i", "volumeMounts": [{"name": "v", "mountPath": PATH}]});
    web["spec"]["containers"].as_array_mut().unwrap().push(own);
    web["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let web = create(&server, "pods", "default", web).await;

    assert_eq!(web["spec"]["serviceAccount"], "robot");
    assert_eq!(web["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(token_mounts(&web, "initContainers"), [1]);
    assert_eq!(token_mounts(&web, "containers"), [1, 0]);
    let volume = &web["spec"]["volumes"][1];
    let mount = &web["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(
        mount,
        &json!({"name": volume["name"], "readOnly": true, "mountPath": PATH})
    );
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]);
    assert_eq!(
        volume["projected"],
        json!({"defaultMode": 420, "sources": sources})
    );

    let plain = create(&server, "pods", "default", pod("plain")).await;
    assert_eq!(plain["spec"]["serviceAccountName"], "default");
    assert!(plain["spec"].get("imagePullSecrets").is_none());
    assert!(plain["spec"].get("initContainers").is_none());
}

#[tokio::test]
async fn a_pod_goes_without_a_token_if_it_or_its_account_says_so() {
    let server = testing::server().await;
    let account = json!({"metadata": {"name": "robot"}, "automountServiceAccountToken": false});
    create(&server, "serviceaccounts", "default", account).await;
    for (name, account, own, mounts) in [
        ("a", "robot", Value::Null, 0),
        ("b", "robot", json!(true), 1),
        ("c", "default", json!(false), 0),
        ("d", "default", Value::Null, 1),
    ] {
        let mut made = pod(name);
        made["spec"]["serviceAccountName"] = json!(account);
        made["spec"]["automountServiceAccountToken"] = own;
        let made = create(&server, "pods", "default", made).await;
        assert_eq!(token_mounts(&made, "containers"), [mounts], "{name}");
    }
}

#[tokio::test]
async fn an_account_that_is_not_there_is_named() {
    let server = testing::server().await;
    let mut lost = pod("lost");
    lost["spec"]["serviceAccountName"] = json!("ghost");
    let pods = collection("pods", "default");
    let status = post(&server, &pods, lost.clone()).await.unwrap_err();
    assert_eq!(
        (status.reason, status.message.as_str()),
        (
            Reason::Forbidden,
            "pods \"lost\" is forbidden: error looking up service account default/ghost: serviceaccount \"ghost\" not \
             found"
        )
    );
    lost["metadata"] = json!({"generateName": "lost-"});
    let status = post(&server, &pods, lost).await.unwrap_err();
    assert!(status.message.starts_with("pods \"lost-\" is forbidden: "));
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_new_namespace_waits_for_its_account() {
    let server = testing::server().await;
    create(
        &server,
        "namespaces",
        "",
        json!({"metadata": {"name": "team"}}),
    )
    .await;
    let making = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let account = json!({"metadata": {"name": "default"}});
        create(&server, "serviceaccounts", "team", account).await;
    };
    let pods = collection("pods", "team");
    let (made, ()) = tokio::join!(post(&server, &pods, pod("web")), making);
    made.unwrap();
    let made = get(&server, &object("pods", "team", "web")).await.unwrap();
    assert_eq!(made["spec"]["serviceAccountName"], "default");
}

#[tokio::test]
async fn mirror_pods_use_nothing_of_the_api() {
    let server = testing::server().await;
    let pods = collection("pods", "default");
    let annotations = json!({"kubernetes.io/config.mirror": "x"});
    let mirror = |spec: Value| {
        let mut mirror = pod("m");
        mirror["metadata"]["annotations"] = annotations.clone();
        let fields = spec.as_object().unwrap().clone();
        mirror["spec"].as_object_mut().unwrap().extend(fields);
        mirror
    };
    let token = json!({"serviceAccountToken": {"path": "token"}});
    for (spec, why) in [
        (
            json!({"serviceAccountName": "default"}),
            "a mirror pod may not reference service accounts",
        ),
        (
            json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
            "a mirror pod may not reference secrets",
        ),
        (
            json!({"volumes": [{"name": "v", "projected": {"sources": [token]}}]}),
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ] {
        let status = post(&server, &pods, mirror(spec)).await.unwrap_err();
        assert_eq!(status.message, format!("pods \"m\" is forbidden: {why}"));
    }
    post(&server, &pods, mirror(json!({"nodeName": "n1"})))
        .await
        .unwrap();
    let made = get(&server, &object("pods", "default", "m")).await.unwrap();
    assert!(made["spec"].get("serviceAccountName").is_none());
    assert_eq!(token_mounts(&made, "containers"), [0]);
}

#[tokio::test]
async fn an_account_that_lists_its_secrets_keeps_pods_from_others() {
    let server = testing::server().await;
    let account = json!({
        "metadata": {
            "name": "robot",
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"},
        },
        "secrets": [{"name": "mine"}],
    });
    create(&server, "serviceaccounts", "default", account).await;
    for (secret, allowed) in [("mine", true), ("other", false)] {
        let mut made = pod(secret);
        made["spec"]["serviceAccountName"] = json!("robot");
        made["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": secret}}]);
        let made = post(&server, &collection("pods", "default"), made).await;
        assert_eq!(made.is_ok(), allowed, "{secret}");
    }
    let target = object("serviceaccounts", "default", "robot").with(Subresource::Token);
    post(&server, &target, json!({})).await.unwrap();
}
