//! Budgets' statuses over the life of the pods that they are about.

use serde_json::{Value, json};

use crate::with_node;
use crate::world::{World, deployment};

const BUDGETS: &str = "poddisruptionbudgets.policy";

fn budget(world: &mut World, name: &str, app: &str, spec: Value) {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": app}});
    let metadata = json!({"name": name, "namespace": "default"});
    world.create(BUDGETS, json!({"metadata": metadata, "spec": spec}));
}

/// Expected, desired, healthy, allowed, and the reason of the condition.
fn counts(world: &World, name: &str) -> (i64, i64, i64, i64, String) {
    let status = world.get(BUDGETS, "default", name).unwrap()["status"].clone();
    let number = |field: &str| status[field].as_i64().unwrap();
    let reason = status["conditions"][0]["reason"].as_str().unwrap();
    (
        number("expectedPods"),
        number("desiredHealthy"),
        number("currentHealthy"),
        number("disruptionsAllowed"),
        reason.to_owned(),
    )
}

#[test]
fn budgets_count_the_pods_that_owners_are_scaled_to() {
    let mut world = with_node();
    budget(&mut world, "most", "web", json!({"maxUnavailable": "30%"}));
    budget(&mut world, "some", "web", json!({"minAvailable": 2}));
    world.settle();
    let none = |desired| (0, desired, 0, 0, "InsufficientPods".to_owned());
    assert_eq!(counts(&world, "most"), none(0));
    assert_eq!(counts(&world, "some"), none(2));

    world.create("deployments.apps", deployment("web", 5, "v1"));
    world.settle();
    let sufficient = || "SufficientPods".to_owned();
    assert_eq!(counts(&world, "most"), (5, 3, 5, 2, sufficient()));
    assert_eq!(counts(&world, "some"), (5, 2, 5, 3, sufficient()));

    let pod = world.list("pods", "default")[0].clone();
    let name = pod["metadata"]["name"].as_str().unwrap();
    world.kubelet = false;
    world.edit("pods", "default", name, |pod| {
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    });
    world.settle();
    assert_eq!(counts(&world, "most"), (5, 3, 4, 1, sufficient()));
}

#[test]
fn a_pod_that_is_to_be_evicted_counts_as_gone_for_a_while() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 3, "v1"));
    budget(&mut world, "web", "web", json!({"minAvailable": 1}));
    world.settle();
    let pods = world.list("pods", "default");
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    let now = kontiki_api::time::rfc3339(world.now_ms);
    world.edit(BUDGETS, "default", "web", |budget| {
        budget["status"]["disruptedPods"] = json!({name: now});
    });
    world.edit("pods", "default", name, |pod| {
        let target =
            json!({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": now});
        pod["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(target);
    });
    world.settle();
    assert_eq!(counts(&world, "web").3, 1);
    world.now_ms += 121_000;
    world.settle();
    assert_eq!(counts(&world, "web").3, 2);
    let budget = world.get(BUDGETS, "default", "web").unwrap();
    assert_eq!(budget["status"]["disruptedPods"], Value::Null);
    let pod = world.get("pods", "default", name).unwrap();
    assert_eq!(pod["status"]["conditions"][1]["status"], "False");
}

#[test]
fn what_cannot_be_counted_allows_nothing() {
    let mut world = with_node();
    let template = crate::world::template("once", "v1");
    let mut template = template;
    template["spec"]["restartPolicy"] = json!("Never");
    let metadata = json!({"name": "once", "namespace": "default"});
    world.create(
        "jobs.batch",
        json!({"metadata": metadata, "spec": {"template": template}}),
    );
    budget(&mut world, "once", "once", json!({"maxUnavailable": 1}));
    world.settle();
    let (.., allowed, reason) = counts(&world, "once");
    assert_eq!((allowed, reason.as_str()), (0, "SyncFailed"));
    let budget = world.get(BUDGETS, "default", "once").unwrap();
    assert_eq!(
        budget["status"]["conditions"][0]["message"],
        "jobs.batch does not implement the scale subresource"
    );
}
