//! Objects that would take over a node, others' traffic or others' objects.

use anyhow::{Context as _, Result, ensure};
use kontiki_tests::eventually;
use serde_json::{Value, json};

use super::Row;
use super::bodies::config_map;
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(39, "pods that would own their node", |w| {
        Box::pin(privileged(w))
    }),
    Row::new(42, "services that take others' addresses", |w| {
        Box::pin(addresses(w))
    }),
    Row::new(44, "owners in another namespace", |w| Box::pin(owners(w))),
];

const GUARDED: &str = "/api/v1/namespaces/guarded/pods";

fn pod(name: &str, change: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {
        "containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in change.as_object().unwrap() {
        if field == "container" {
            let container = pod["spec"]["containers"][0].as_object_mut().unwrap();
            container.extend(value.as_object().unwrap().clone());
        } else {
            pod["spec"][field] = value.clone();
        }
    }
    pod
}

/// What `baseline` forbids.
fn takeovers() -> Vec<(&'static str, Value)> {
    let path = |path: &str| json!({"volumes": [{"name": "v", "hostPath": {"path": path}}]});
    let security = |context: Value| json!({"container": {"securityContext": context}});
    vec![
        ("privileged", security(json!({"privileged": true}))),
        ("root of the node", path("/")),
        ("Docker's socket", path("/var/run/docker.sock")),
        ("hostNetwork", json!({"hostNetwork": true})),
        ("hostPID", json!({"hostPID": true})),
        ("hostIPC", json!({"hostIPC": true})),
        (
            "SYS_ADMIN",
            security(json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
        ),
        (
            "hostPort",
            json!({"container": {"ports": [{"containerPort": 80, "hostPort": 80}]}}),
        ),
        (
            "in an init container",
            json!({"initContainers": [{"name": "i", "image": "i",
            "securityContext": {"privileged": true}}]}),
        ),
        (
            "sysctl",
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
        ),
    ]
}

async fn privileged(world: &World) -> Result<()> {
    let admin = world.admin();
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let namespace = json!({"metadata": {"name": "guarded", "labels": labels}});
    admin
        .post("/api/v1/namespaces", &namespace)
        .await?
        .coded(&[201])?;
    eventually("a pod of good will is taken", || async {
        let made = admin
            .post(GUARDED, &pod("harmless", json!({})))
            .await
            .ok()?;
        (made.code == 201 || made.code == 409).then_some(())
    })
    .await;
    for (what, change) in takeovers() {
        let answer = admin.post(GUARDED, &pod("taker", change.clone())).await?;
        answer
            .refused(403, "Forbidden", "violates PodSecurity")
            .context(what)?;
        let path = format!("{GUARDED}/harmless");
        let patch = json!({"spec": pod("harmless", change.clone())["spec"]});
        let answer = admin.patch("strategic-merge", &path, &patch).await?;
        answer
            .coded(&[403, 422])
            .with_context(|| format!("{what}, by update"))?;
        let content = ("content-type", "application/apply-patch+yaml");
        let path = format!("{GUARDED}/applied?fieldManager=m");
        let mut applied = pod("applied", change.clone());
        applied["apiVersion"] = "v1".into();
        applied["kind"] = "Pod".into();
        let answer = admin
            .send("PATCH", &path, &[content], applied.to_string())
            .await?;
        answer
            .coded(&[403])
            .with_context(|| format!("{what}, by apply"))?;
    }
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "i",
        "securityContext": {"privileged": true}}]}});
    let path = format!("{GUARDED}/harmless/ephemeralcontainers");
    let answer = admin.patch("strategic-merge", &path, &debug).await?;
    ensure!(
        answer.code >= 400,
        "an ephemeral container: {}",
        answer.text()
    );
    // A template is warned of, and none of its pods is made.
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": pod("x", takeovers()[0].1.clone())["spec"]});
    let replica_set = json!({"metadata": {"name": "templated"}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let path = "/apis/apps/v1/namespaces/guarded/replicasets";
    admin.post(path, &replica_set).await?.coded(&[201])?;
    eventually("the template's pod is refused", || async {
        let events = world.events_about("templated").await.ok()?;
        let is_told = |event: &Value| {
            event["reason"] == "FailedCreate"
                && event["message"].to_string().contains("PodSecurity")
        };
        events.iter().any(is_told).then_some(())
    })
    .await;
    let pods = admin.get(GUARDED).await?.json()?;
    ensure!(pods["items"].as_array().map(Vec::len) == Some(1), "{pods}");
    admin
        .send("DELETE", "/api/v1/namespaces/guarded", &[], "")
        .await?
        .coded(&[200, 202])
}

async fn addresses(world: &World) -> Result<()> {
    let editor = world.editor("server").await?;
    let path = "/api/v1/namespaces/default/services";
    let mut service = json!({"metadata": {"name": "taker"}, "spec": {
        "externalIPs": ["8.8.8.8"], "ports": [{"port": 53}], "selector": {"a": "b"}}});
    for caller in [&editor, world.admin()] {
        caller
            .post(path, &service)
            .await?
            .refused(403, "Forbidden", "external IPs")?;
    }
    service["spec"]["externalIPs"] = Value::Null;
    service["spec"]["type"] = "LoadBalancer".into();
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "8.8.8.8"}]}});
    let made = editor.post(path, &service).await?.json()?;
    ensure!(made["status"]["loadBalancer"] == json!({}), "{made}");
    let status = json!({"status": service["status"]});
    let of_status = format!("{path}/taker/status");
    editor
        .patch("merge", &of_status, &status)
        .await?
        .refused(403, "Forbidden", "")?;
    let taken = json!({"spec": {"externalIPs": ["8.8.8.8"]}});
    let path = format!("{path}/taker");
    editor
        .patch("merge", &path, &taken)
        .await?
        .refused(403, "Forbidden", "external IPs")?;
    editor
        .patch("merge", &path, &status)
        .await?
        .coded(&[200, 422])?;
    let now = editor.get(&path).await?.json()?;
    ensure!(now["status"]["loadBalancer"] == json!({}), "{now}");
    editor.send("DELETE", &path, &[], "").await?.coded(&[200])
}

async fn owners(world: &World) -> Result<()> {
    let admin = world.admin();
    for name in ["theirs", "mine"] {
        let namespace = json!({"metadata": {"name": name}});
        admin
            .post("/api/v1/namespaces", &namespace)
            .await?
            .coded(&[201])?;
    }
    let path = |namespace: &str| format!("/api/v1/namespaces/{namespace}/configmaps");
    let owner = config_map(json!({"name": "owner", "finalizers": ["hostile.example/wait"]}));
    let owner = admin.post(&path("theirs"), &owner).await?.json()?;
    let uid = &owner["metadata"]["uid"];
    let owned = |name: &str, uid: &Value| {
        let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": uid, "blockOwnerDeletion": true}]);
        config_map(json!({"name": name, "ownerReferences": reference,
            "finalizers": ["hostile.example/stay"]}))
    };
    let guessed = json!("00000000-0000-0000-0000-000000000000");
    for (name, uid) in [("by-uid", uid), ("by-guess", &guessed)] {
        admin
            .post(&path("mine"), &owned(name, uid))
            .await?
            .coded(&[201])?;
        eventually(
            "the dependent is treated as one without an owner",
            || async {
                let object = admin
                    .get(&format!("{}/{name}", path("mine")))
                    .await
                    .ok()?
                    .json()
                    .ok()?;
                object["metadata"]["deletionTimestamp"].as_str().map(drop)
            },
        )
        .await;
    }
    eventually("an event says why", || async {
        let events = world.events_about("by-uid").await.ok()?;
        events
            .iter()
            .any(|event| event["reason"] == "OwnerRefInvalidNamespace")
            .then_some(())
    })
    .await;
    // The other namespace's object lives, and its deletion waits for nobody of ours.
    let of_owner = format!("{}/owner", path("theirs"));
    let now = admin.get(&of_owner).await?.json()?;
    ensure!(now["metadata"].get("deletionTimestamp").is_none(), "{now}");
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"});
    let headers = [("content-type", "application/json")];
    admin
        .send("DELETE", &of_owner, &headers, options.to_string())
        .await?
        .coded(&[200, 202])?;
    let free = json!({"metadata": {"finalizers": null}});
    let freed = admin.patch("merge", &of_owner, &free).await?;
    freed.coded(&[200, 404])?;
    eventually("the owner goes", || async {
        let gone = admin.get(&of_owner).await.ok()?;
        (gone.code == 404).then_some(())
    })
    .await;
    for name in ["by-uid", "by-guess"] {
        let path = format!("{}/{name}", path("mine"));
        let free = json!({"metadata": {"finalizers": null}});
        admin
            .patch("merge", &path, &free)
            .await?
            .coded(&[200, 404])?;
    }
    Ok(())
}
