//! The workload that the tests of this folder run: the sample, built by `scripts/images`.

use std::collections::BTreeMap;
use std::process::Command;

use kontiki_tests::{Kubectl, LocalCluster, eventually};
use serde_json::Value;

/// A Deployment of the sample with a NodePort Service. The port differs from test to test only in the cluster.
pub fn manifest(name: &str, replicas: u32, node_port: u16) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 2}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: kontiki-sample:v1
        ports: [{{name: http, containerPort: 8080}}]
        env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: NodePort
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: http, nodePort: {node_port}}}]
"
    )
}

/// Waits until a Deployment has so many ready pods.
pub async fn wait_ready(kubectl: &Kubectl, name: &str, replicas: u64) {
    eventually("the deployment is ready", || async {
        let deployment = kubectl.json(&["get", "deployment", name]).await.ok()?;
        let status = &deployment["status"];
        (status["readyReplicas"] == replicas && status["updatedReplicas"] == replicas).then_some(())
    })
    .await;
}

/// A container of the cluster's nodes as Docker tells: id to start time.
pub type Containers = BTreeMap<String, String>;

/// Containers, pause included, that nodes of this cluster run.
pub fn containers(cluster: &LocalCluster) -> Containers {
    let filter = format!("label=kontiki.cluster={}", cluster.settings().cluster_id);
    let output = Command::new("docker")
        .args(["ps", "--no-trunc", "-q", "--filter", &filter])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let ids = String::from_utf8(output.stdout).unwrap();
    ids.lines()
        .map(|id| (id.to_owned(), started_at(id)))
        .collect()
}

fn started_at(id: &str) -> String {
    let output = Command::new("docker")
        .args(["inspect", "-f", "{{.State.StartedAt}} {{.State.Pid}}", id])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Pods with a label, by name.
pub async fn pods(kubectl: &Kubectl, app: &str) -> Vec<Value> {
    let list = kubectl
        .json(&["get", "pods", "-l", &format!("app={app}")])
        .await
        .unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Where a NodePort answers: at the node's address, not at loopback.
pub fn node_port(port: u16) -> String {
    format!("{}:{port}", kontiki::config::primary_address())
}

/// One GET on a connection of its own; the answer's body, or none when anything fails.
pub async fn get(address: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let limit = std::time::Duration::from_secs(5);
    let answer = tokio::time::timeout(limit, request).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}
