//! `kubectl drain` against a disruption budget: what the budget holds stays, until it may go.

use kontiki_tests::{LocalCluster, eventually};

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "kontiki-sample:v1"}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
"#;

/// Minor version of kubectl that evicts by the API version which is still served.
const SINCE: u64 = 21;
/// Only pods under a budget, as DaemonSets and others are not there.
const DRAIN: &[&str] = &["drain", "node-1", "--force", "--timeout=5s"];

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_the_budget() {
    let cluster = LocalCluster::up(1, 1);
    let kubectl = cluster.kubectl();
    if kubectl.minor().await < SINCE {
        return;
    }
    kubectl.apply(WEB).await.unwrap();
    eventually("one disruption is allowed", || async {
        let budget = kubectl.json(&["get", "pdb", "web"]).await.ok()?;
        (budget["status"]["disruptionsAllowed"] == 1).then_some(())
    })
    .await;
    // The node takes no replacement: the second pod is the last one.
    let error = kubectl.run(DRAIN).await.unwrap_err().to_string();
    assert!(
        error.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{error}"
    );
    let pods = kubectl
        .json(&["get", "pods", "--field-selector=spec.nodeName=node-1"])
        .await
        .unwrap();
    assert_eq!(pods["items"].as_array().unwrap().len(), 1);

    kubectl.run(&["delete", "pdb", "web"]).await.unwrap();
    kubectl.run(&["drain", "node-1", "--force"]).await.unwrap();
}
