//! What a container gets and how its end is told.

use kontiki_tests::{LocalCluster, eventually};
use serde_json::Value;

const PODS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: s3cret}
---
apiVersion: v1
kind: Pod
metadata: {name: env, labels: {app: env}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: kontiki-sample:v1
    args: ["--once"]
    env:
    - {name: LITERAL, value: plain}
    - {name: COMPOSED, value: "$(LITERAL)-and-more"}
    - {name: GREETING, valueFrom: {configMapKeyRef: {name: settings, key: greeting}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
---
apiVersion: v1
kind: Pod
metadata: {name: missing-image}
spec:
  containers:
  - {name: main, image: "kontiki.invalid/none:v1", imagePullPolicy: Never}
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  containers:
  - {name: main, image: "kontiki-sample:v1", args: ["--exit", "3"]}
---
apiVersion: v1
kind: Pod
metadata: {name: too-big}
spec:
  containers:
  - {name: main, image: "kontiki-sample:v1", resources: {requests: {memory: 900Ti}}}
"#;

async fn pod(cluster: &LocalCluster, name: &str) -> Option<Value> {
    cluster.kubectl().json(&["get", "pod", name]).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_get_their_environment_and_tell_their_end() {
    let cluster = LocalCluster::up(1, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(PODS).await.unwrap();

    let done = eventually("the pod has run", || async {
        pod(&cluster, "env")
            .await
            .filter(|pod| pod["status"]["phase"] == "Succeeded")
    })
    .await;
    let state = &done["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (state["exitCode"].as_i64(), state["reason"].as_str()),
        (Some(0), Some("Completed"))
    );
    let log = kubectl.run(&["logs", "env"]).await.unwrap();
    assert!(log.contains("env"), "the log names the pod: {log:?}");

    eventually("the missing image is told", || async {
        let pod = pod(&cluster, "missing-image").await?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "ErrImageNeverPull").then_some(())
    })
    .await;

    let crashed = eventually("the crash is told and backed off", || async {
        let pod = pod(&cluster, "crashing").await?;
        let status = &pod["status"]["containerStatuses"][0];
        (status["state"]["waiting"]["reason"] == "CrashLoopBackOff").then(|| status.clone())
    })
    .await;
    assert_ne!(crashed["lastState"]["terminated"]["exitCode"], 0);

    eventually("the scheduler says why a pod is pending", || async {
        let events = kubectl
            .json(&[
                "get",
                "events",
                "--field-selector",
                "involvedObject.name=too-big",
            ])
            .await
            .ok()?;
        let told = events["items"].as_array()?.iter().any(|event| {
            event["reason"] == "FailedScheduling"
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("Insufficient memory"))
        });
        told.then_some(())
    })
    .await;
}

const IN_MEMORY: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: in-memory}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: kontiki-sample:v1
    volumeMounts: [{name: scratch, mountPath: /mnt}]
  volumes:
  - {name: scratch, emptyDir: {medium: Memory, sizeLimit: 3Mi}}
"#;

/// File systems that are mounted for volumes of this name.
fn mounted(name: &str) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let ends = format!("/volumes/{name} ");
    let lines = table.lines().filter(|line| line.contains(&ends));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_memory_has_its_size_and_goes_with_its_pod() {
    let cluster = LocalCluster::up(1, 1);
    let kubectl = cluster.kubectl();
    // A name of this run's own: other tests' pods have volumes too.
    let name = format!("scratch-{}", std::process::id());
    let manifest = IN_MEMORY.replace("scratch", &name);
    kubectl.apply(&manifest).await.unwrap();
    eventually("the pod runs", || async {
        let pod = pod(&cluster, "in-memory").await?;
        (pod["status"]["phase"] == "Running").then_some(())
    })
    .await;
    let volumes = mounted(&name);
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    assert!(volumes[0].starts_with("tmpfs ") && volumes[0].contains("size=3072k"));

    kubectl.run(&["delete", "pod", "in-memory"]).await.unwrap();
    eventually("nothing is mounted any more", || async {
        mounted(&name).is_empty().then_some(())
    })
    .await;
}
