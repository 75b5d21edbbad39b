//! What kubectl does with a running pod: exec, attach, port-forward, proxy, in whatever protocol its version speaks.

use std::process::Stdio;

use kontiki_tests::{Gateway, Kubectl, LocalCluster, eventually};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const SAMPLE: &str = "/kontiki-sample";
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: kontiki-sample:v1
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
  - {name: echo, image: "kontiki-sample:v1", args: ["--echo"], stdin: true}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
"#;

async fn ready(kubectl: &Kubectl) {
    kubectl.apply(PODS).await.unwrap();
    eventually("the pod is ready", || async {
        let pod = kubectl.json(&["get", "pod", "web"]).await.ok()?;
        let conditions = pod["status"]["conditions"].as_array()?.clone();
        let mut ready = conditions.iter().filter(|it| it["type"] == "Ready");
        (ready.next()?["status"] == "True").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_and_ports_are_reached_through_the_node() {
    let cluster = LocalCluster::up(1, 1);
    reached(&cluster.kubectl()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_carries_the_same_streams() {
    let cluster = LocalCluster::up(1, 1);
    let gateway = Gateway::join(&cluster).await;
    reached(&gateway.kubectl()).await;
}

async fn reached(kubectl: &Kubectl) {
    ready(kubectl).await;
    let exec = ["exec", "web", "-c", "main", "--", SAMPLE];
    let run = |args: &[&'static str]| [&exec[..], args].concat();

    let said = kubectl
        .run(&run(&["--once", "hello", "world"]))
        .await
        .unwrap();
    assert!(said.ends_with("says: hello world\n"), "{said}");
    let failed = kubectl.run(&run(&["--exit", "3"])).await.unwrap_err();
    assert!(failed.to_string().contains("exit code 3"), "{failed}");

    // More than all buffers on the way hold, both ways, ended by the input's end.
    let text = "0123456789abcdef\n".repeat(128 * 1024);
    let echo = ["exec", "-i", "web", "-c", "main", "--", SAMPLE, "--echo"];
    let echoed = kubectl.run_with(&echo, &text).await.unwrap();
    assert!(echoed == text, "{} of {} bytes", echoed.len(), text.len());

    let refused = kubectl.run(&["exec", "web", "-c", "none", "--", "x"]).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("container none is not valid for pod web"),
        "{refused}"
    );

    for path in [
        "pods/web:8080",
        "pods/web",
        "services/web:80",
        "services/web:http",
    ] {
        let url = format!("/api/v1/namespaces/default/{path}/proxy/");
        let page = eventually("the proxy answers", || async {
            kubectl.run(&["get", "--raw", &url]).await.ok()
        })
        .await;
        let page: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(page["pod"], "web", "{path}");
    }
    let url = "/api/v1/namespaces/default/pods/web:81/proxy/";
    let refused = kubectl
        .run(&["get", "--raw", url])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("error trying to reach service"),
        "{refused}"
    );

    forwarded(kubectl).await;
}

/// Asks a page over a forwarded port, twice, since the first connection must not end the second.
async fn forwarded(kubectl: &Kubectl) {
    let mut forwarding = kubectl.command(&["port-forward", "pod/web", ":8080"]);
    let mut forwarding = forwarding.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(forwarding.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let port = line
        .split(" -> ")
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap();
    let port: u16 = port.parse().unwrap();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(r#""pod":"web""#), "{answer}");
    }
    forwarding.kill().await.unwrap();
}
