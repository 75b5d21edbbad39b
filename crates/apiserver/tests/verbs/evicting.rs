//! Evictions and the budgets that they ask.

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, Memory, admin, create, object, pod};
use kontiki_apiserver::{ApiServer, Body, WriteOptions};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::{get, put};

const BUDGETS: &str = "poddisruptionbudgets.policy";

/// A budget of the pods `app=web`, and as many of these, which run.
async fn world(server: &ApiServer, ready: &[(&str, bool)], spec: Value, status: Value) {
    let selector = json!({"matchLabels": {"app": "web"}});
    budget(server, "web", spec, selector, status).await;
    for (name, ready) in ready {
        let mut made = pod(name);
        made["metadata"]["labels"] = json!({"app": "web"});
        made["spec"]["nodeName"] = json!("n1");
        let mut made = create(server, "pods", "default", made).await;
        let ready = if *ready { "True" } else { "False" };
        made["status"]["phase"] = json!("Running");
        made["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
        let target = object("pods", "default", name).with(Subresource::Status);
        put(server, &target, made).await.unwrap();
    }
}

async fn budget(server: &ApiServer, name: &str, mut spec: Value, selector: Value, status: Value) {
    spec["selector"] = selector;
    let budget = json!({"metadata": {"name": name}, "spec": spec});
    let mut made = create(server, BUDGETS, "default", budget).await;
    made["status"] = json!({
        "observedGeneration": 1, "expectedPods": 2, "disruptionsAllowed": 0, "currentHealthy": 0,
        "desiredHealthy": 0,
    });
    let fields = status.as_object().unwrap().clone();
    made["status"].as_object_mut().unwrap().extend(fields);
    let target = object(BUDGETS, "default", name).with(Subresource::Status);
    put(server, &target, made).await.unwrap();
}

async fn evict_with(server: &ApiServer, name: &str, options: Value) -> Result<(), Status> {
    let target = object("pods", "default", name).with(Subresource::Eviction);
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options,
    });
    let options = WriteOptions::default();
    let evicted = server
        .create(&admin(), &target, Body::from(body), &options)
        .await;
    evicted.map(drop)
}

async fn evict(server: &ApiServer, name: &str) -> Result<(), Status> {
    evict_with(server, name, Value::Null).await
}

async fn status(server: &ApiServer) -> Value {
    let budget = get(server, &object(BUDGETS, "default", "web"))
        .await
        .unwrap();
    budget["status"].clone()
}

fn is_deleting(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
}

#[tokio::test]
async fn an_eviction_takes_its_disruption_with_the_pod_and_the_next_is_refused() {
    let server = testing::server().await;
    let counts = json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1});
    let pods = [("a", true), ("b", true)];
    world(&server, &pods, json!({"minAvailable": 1}), counts).await;
    evict_with(&server, "a", json!({"dryRun": ["All"]}))
        .await
        .unwrap();
    assert_eq!(status(&server).await["disruptionsAllowed"], 1);

    let before = server.store().revision();
    evict(&server, "a").await.unwrap();
    assert_eq!(
        server.store().revision(),
        before + 2,
        "the pod and its budget"
    );
    let a = get(&server, &object("pods", "default", "a")).await.unwrap();
    assert!(is_deleting(&a));
    let conditions = a["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions[1]["type"], "DisruptionTarget");
    assert_eq!(conditions[1]["reason"], "EvictionByEvictionAPI");
    let after = status(&server).await;
    assert_eq!(after["disruptionsAllowed"], 0);
    assert!(after["disruptedPods"]["a"].is_string());
    assert_eq!(after["conditions"][0]["reason"], "InsufficientPods");

    let refused = evict(&server, "b").await.unwrap_err();
    assert_eq!(refused.reason, Reason::TooManyRequests);
    assert_eq!(
        refused.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let cause = &refused.details.unwrap().causes[0];
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(
        cause.message,
        "The disruption budget web needs 1 healthy pods and has 2 currently"
    );
    let b = get(&server, &object("pods", "default", "b")).await.unwrap();
    assert!(!is_deleting(&b));
    // What is on its way already may be asked for again.
    evict(&server, "a").await.unwrap();
}

#[tokio::test]
async fn pods_that_are_not_ready_go_by_the_budgets_policy() {
    for (spec, healthy, goes) in [
        (json!({"minAvailable": 1}), 0, false),
        (json!({"minAvailable": 1}), 1, true),
        (
            json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}),
            0,
            true,
        ),
    ] {
        let server = testing::server().await;
        let counts = json!({"currentHealthy": healthy, "desiredHealthy": 1});
        world(&server, &[("a", false)], spec.clone(), counts).await;
        assert_eq!(evict(&server, "a").await.is_ok(), goes, "{spec} {healthy}");
        assert_eq!(status(&server).await["disruptedPods"], Value::Null);
    }
}

#[tokio::test]
async fn a_budget_that_is_not_counted_yet_two_of_them_and_pods_that_are_over() {
    let server = testing::server().await;
    let counts = json!({"disruptionsAllowed": 1, "observedGeneration": 0});
    let pods = [("a", true), ("over", true)];
    world(&server, &pods, json!({"minAvailable": 1}), counts).await;
    let refused = evict(&server, "a").await.unwrap_err().details.unwrap();
    assert_eq!(refused.retry_after_seconds, 10);
    assert_eq!(
        refused.causes[0].message,
        "The disruption budget web is still being processed by the server."
    );
    budget(&server, "all", json!({}), json!({}), json!({})).await;
    let refused = evict(&server, "a").await.unwrap_err();
    assert_eq!(refused.reason, Reason::InternalError);
    assert!(
        refused
            .message
            .starts_with("This pod has more than one PodDisruptionBudget")
    );

    let target = object("pods", "default", "over");
    let mut over = get(&server, &target).await.unwrap();
    over["status"]["phase"] = json!("Succeeded");
    put(&server, &target.clone().with(Subresource::Status), over)
        .await
        .unwrap();
    evict(&server, "over").await.unwrap();
    assert!(get(&server, &target).await.is_err());
}

#[tokio::test]
async fn an_eviction_that_another_overtakes_counts_again() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    let counts = json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1});
    let pods = [("a", true), ("b", true)];
    world(&server, &pods, json!({"minAvailable": 1}), counts).await;
    let stored = server
        .store()
        .snapshot()
        .find(BUDGETS, "default", "web")
        .unwrap();
    let mut taken = stored.value();
    taken["status"]["disruptionsAllowed"] = json!(0);
    let kind = kontiki_api::by_resource(BUDGETS).unwrap();
    memory.overtake_next(kontiki_state::Proposal::batch(vec![
        kontiki_state::Op::Update {
            key: stored.key.clone(),
            pre: kontiki_state::Precondition::NONE,
            header: kontiki_apiserver::write::header_of(kind, &taken),
            bytes: kontiki_api::stored::canonical(taken),
        },
    ]));
    let refused = evict(&server, "a").await.unwrap_err();
    assert_eq!(refused.reason, Reason::TooManyRequests);
    let a = get(&server, &object("pods", "default", "a")).await.unwrap();
    assert!(!is_deleting(&a), "nothing happens by halves");
}
