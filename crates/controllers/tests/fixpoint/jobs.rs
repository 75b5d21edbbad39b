//! Indexed jobs whose indexes fail or suffice by themselves.

use serde_json::{Value, json};

use crate::with_node;
use crate::world::{World, template};

fn indexed(completions: i32, more: Value) -> Value {
    let mut template = template("sum", "v1");
    template["spec"]["restartPolicy"] = json!("Never");
    let mut spec = json!({"completions": completions, "parallelism": completions,
        "completionMode": "Indexed", "template": template,
        "selector": {"matchLabels": {"app": "sum"}}});
    let more = more.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    json!({"metadata": {"name": "sum", "namespace": "default"}, "spec": spec})
}

/// Ends the running pod of an index.
fn end(world: &mut World, index: i32, phase: &str) {
    let at = "batch.kubernetes.io/job-completion-index";
    let index = index.to_string();
    let ended = kontiki_api::time::rfc3339(world.now_ms);
    for pod in world.list("pods", "default") {
        let running = pod["status"]["phase"] == "Running";
        if running && pod["metadata"]["annotations"][at] == *index {
            let name = pod["metadata"]["name"].as_str().unwrap();
            world.edit("pods", "default", name, |pod| {
                pod["status"]["phase"] = json!(phase);
                pod["status"]["conditions"] = json!([]);
                pod["status"]["containerStatuses"] = json!([{
                    "name": "c", "image": "v1", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 1, "finishedAt": ended}},
                }]);
            });
        }
    }
    world.settle();
}

fn status(world: &World) -> Value {
    world.get("jobs.batch", "default", "sum").unwrap()["status"].take()
}

fn last_condition(world: &World) -> (String, String) {
    let status = status(world);
    let last = status["conditions"].as_array().unwrap().last().unwrap();
    let text = |field: &str| last[field].as_str().unwrap().to_owned();
    (text("type"), text("reason"))
}

#[test]
fn an_index_fails_by_itself_and_the_job_when_all_are_done() {
    let mut world = with_node();
    let more = json!({"backoffLimitPerIndex": 1, "backoffLimit": 100});
    world.create("jobs.batch", indexed(2, more));
    world.settle();
    end(&mut world, 0, "Failed");
    assert_eq!(status(&world)["failedIndexes"], "");
    assert_eq!(
        status(&world)["active"],
        1,
        "it waits before it is tried again"
    );
    world.now_ms += 10_000;
    world.settle();
    assert_eq!(status(&world)["active"], 2);
    assert_eq!(status(&world)["failed"], 1);
    let count = "batch.kubernetes.io/job-index-failure-count";
    let pods = world.list("pods", "default");
    let mut counts = pods
        .iter()
        .map(|pod| &pod["metadata"]["annotations"][count]);
    assert!(counts.any(|count| count == "1"));
    end(&mut world, 0, "Failed");
    assert_eq!(status(&world)["failedIndexes"], "0");
    end(&mut world, 1, "Succeeded");
    assert_eq!(status(&world)["completedIndexes"], "1");
    assert_eq!(status(&world)["failed"], 2);
    let ended = ("Failed".to_owned(), "FailedIndexes".to_owned());
    assert_eq!(last_condition(&world), ended);
    let pods = world.list("pods", "default");
    let held = pods
        .iter()
        .filter(|pod| !pod["metadata"]["finalizers"].is_null());
    assert_eq!(held.count(), 0);
}

#[test]
fn too_many_failed_indexes_end_the_job() {
    let mut world = with_node();
    let more = json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 1, "backoffLimit": 100});
    world.create("jobs.batch", indexed(4, more));
    world.settle();
    end(&mut world, 0, "Failed");
    assert_eq!(status(&world)["active"], 3);
    end(&mut world, 2, "Failed");
    let ended = ("Failed".to_owned(), "MaxFailedIndexesExceeded".to_owned());
    assert_eq!(last_condition(&world), ended);
}

#[test]
fn a_rule_of_success_ends_the_job_before_all_have_succeeded() {
    let mut world = with_node();
    let more = json!({"successPolicy": {"rules": [{"succeededIndexes": "1"}]}});
    world.create("jobs.batch", indexed(3, more));
    world.settle();
    end(&mut world, 0, "Succeeded");
    assert_eq!(status(&world)["active"], 2);
    end(&mut world, 1, "Succeeded");
    let ended = ("Complete".to_owned(), "SuccessPolicy".to_owned());
    assert_eq!(last_condition(&world), ended);
    let pods = world.list("pods", "default");
    assert!(pods.iter().all(|pod| pod["status"]["phase"] != "Running"));
}

#[test]
fn an_index_that_the_policy_fails_is_not_tried_again() {
    let mut world = with_node();
    let more = json!({"backoffLimitPerIndex": 5, "backoffLimit": 100, "podFailurePolicy": {"rules": [
        {"action": "FailIndex", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]},
    ]}});
    world.create("jobs.batch", indexed(2, more));
    world.settle();
    for pod in world.list("pods", "default") {
        let name = pod["metadata"]["name"].as_str().unwrap();
        if name.contains("sum-0") {
            world.edit("pods", "default", name, |pod| {
                pod["status"]["phase"] = json!("Failed");
                pod["status"]["conditions"] = json!([{"type": "ConfigIssue", "status": "True"}]);
            });
        }
    }
    world.settle();
    assert_eq!(status(&world)["failedIndexes"], "0");
    assert_eq!(status(&world)["active"], 1);
}
