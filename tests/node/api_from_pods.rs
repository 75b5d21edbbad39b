//! A pod reaches the API by the Service `kubernetes`, also of replicas that listen on loopback otherwise, and shows the
//! token of its ServiceAccount.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use kontiki_tests::{Kubectl, LocalCluster, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::workload::{containers, manifest, wait_ready};

const NODE_PORT: u16 = 31085;

/// The service's address, once it is there.
async fn service_ip(kubectl: &Kubectl) -> String {
    eventually("the service is made", || async {
        let service = kubectl.json(&["get", "service", "kubernetes"]).await.ok()?;
        service["spec"]["clusterIP"].as_str().map(str::to_owned)
    })
    .await
}

fn pid(container: &str) -> String {
    let inspected = Command::new("docker")
        .args(["inspect", "-f", "{{.State.Pid}}", container])
        .output()
        .unwrap();
    let pid = String::from_utf8(inspected.stdout).unwrap();
    pid.trim().to_owned()
}

/// What `/livez` of the API says to a container's network namespace, its certificate checked.
fn livez(cluster: &LocalCluster, container: &str, ip: &str) -> Option<String> {
    let pid = pid(container);
    let output = Command::new("nsenter")
        .args(["--target", &pid, "--net", "curl", "-sS", "-m", "5"])
        .arg("--cacert")
        .arg(cluster.layout.pki().join("api-ca.crt"))
        .arg(format!("https://{ip}/livez"))
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reaches_the_api_also_after_a_leader_kill() {
    let cluster = LocalCluster::up(3, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(&manifest("web", 1, NODE_PORT)).await.unwrap();
    wait_ready(&kubectl, "web", 1).await;
    let ip = service_ip(&kubectl).await;
    let container = containers(&cluster).into_keys().next().unwrap();
    let reached = || async { livez(&cluster, &container, &ip) };
    assert_eq!(eventually("the API answers", reached).await, "ok");

    let leader = cluster.leader().await;
    cluster
        .signal(&format!("server-{leader}"), Signal::SIGKILL)
        .await;
    assert_eq!(eventually("another replica answers", reached).await, "ok");
}

/// A pod whose only container waits for requests, as a user of its own.
const ROBOT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: v1
kind: Pod
metadata: {name: robot}
spec:
  serviceAccountName: robot
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: kontiki-sample:v1
    securityContext: {runAsUser: 1234}
";

/// Who the API takes a pod for that sends the token, and checks the server by the certificate, which it finds mounted.
fn who_am_i(pid: &str, ip: &str) -> Option<Value> {
    let folder = format!("/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount");
    let token = std::fs::read_to_string(format!("{folder}/token")).ok()?;
    let review = r#"{"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}"#;
    let output = Command::new("nsenter")
        .args(["--target", pid, "--net", "curl", "-sS", "-m", "5"])
        .args(["--cacert", &format!("{folder}/ca.crt"), "-d", review])
        .args(["-H", "Content-Type: application/json", "-H"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(format!(
            "https://{ip}/apis/authentication.k8s.io/v1/selfsubjectreviews"
        ))
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
    answer["status"].get("userInfo").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_shows_the_token_that_is_mounted_in_it() {
    let cluster = LocalCluster::up(1, 1);
    let kubectl = cluster.kubectl();
    kubectl.apply(ROBOT).await.unwrap();
    let container = eventually("the pod runs", || async {
        let pod = kubectl.json(&["get", "pod", "robot"]).await.ok()?;
        let status = &pod["status"]["containerStatuses"][0];
        status["state"].get("running")?;
        let id = status["containerID"].as_str()?;
        Some(id.strip_prefix("docker://")?.to_owned())
    })
    .await;
    let (pid, ip) = (pid(&container), service_ip(&kubectl).await);
    let user = eventually("the API knows the pod", || async { who_am_i(&pid, &ip) }).await;
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    assert_eq!(
        user["extra"]["authentication.kubernetes.io/pod-name"],
        serde_json::json!(["robot"])
    );
    let folder = format!("/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount");
    let folder = Path::new(&folder);
    let namespace = std::fs::read_to_string(folder.join("namespace")).unwrap();
    assert_eq!(namespace, "default");
    let token = std::fs::metadata(folder.join("token")).unwrap();
    assert_eq!((token.uid(), token.mode() & 0o777), (1234, 0o600));
}
