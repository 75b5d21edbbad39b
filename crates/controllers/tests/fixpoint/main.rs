//! All controllers together, run to the fixpoint.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod certificates;
mod custom;
mod disruption;
mod jobs;
mod owners;
mod sieve;
mod volumes;
mod workloads;
mod world;

use kontiki_controllers::Propagation;
use kontiki_state::Snapshot;
use serde_json::{Value, json};
use world::{World, deployment, template};

fn with_node() -> World {
    let mut world = World::new();
    world.add_node("n1");
    world.settle();
    world
}

fn ready_pods(snapshot: &Snapshot) -> usize {
    let ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|condition| condition["type"] == "Ready")
            && pod["metadata"]["deletionTimestamp"].is_null()
    };
    snapshot
        .list("pods", None, None)
        .filter(|pod| ready(&pod.value()))
        .count()
}

#[test]
fn a_cluster_starts_with_its_namespaces_accounts_and_addresses() {
    let world = with_node();
    for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert!(
            world.get("serviceaccounts", namespace, "default").is_some(),
            "{namespace}"
        );
    }
    assert_eq!(
        world.get("nodes", "", "n1").unwrap()["spec"]["podCIDR"],
        "10.244.0.0/24"
    );
}

#[test]
fn a_rolling_update_keeps_within_its_bounds_and_rolls_back() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 5, "v1"));
    world.settle();
    let status = world.get("deployments.apps", "default", "web").unwrap()["status"].clone();
    assert_eq!(status["availableReplicas"], 5, "{status}");
    let progressing = status["conditions"].as_array().unwrap();
    let progressing = progressing
        .iter()
        .find(|it| it["type"] == "Progressing")
        .unwrap();
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");

    world.check = Some(Box::new(|snapshot| {
        let living = snapshot
            .list("pods", None, None)
            .filter(|pod| !pod.header.deleting)
            .count();
        assert!(living <= 6, "never above maxSurge: {living}");
        assert!(ready_pods(snapshot) >= 4, "never below minAvailable");
    }));
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["template"] = template("web", "v2")
    });
    world.settle();
    let sets = world.list("replicasets.apps", "default");
    assert_eq!(sets.len(), 2);
    let size = |image: &str, world: &World| {
        let sets = world.list("replicasets.apps", "default");
        let set = sets
            .iter()
            .find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == image);
        set.map(|set| {
            (
                set["spec"]["replicas"].clone(),
                set["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone(),
            )
        })
    };
    assert_eq!(size("v1", &world), Some((json!(0), json!("1"))));
    assert_eq!(size("v2", &world), Some((json!(5), json!("2"))));

    // Undo: the old template again, as a new revision of the old set.
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["template"] = template("web", "v1")
    });
    world.settle();
    assert_eq!(size("v1", &world), Some((json!(5), json!("3"))));
    let deployment = world.get("deployments.apps", "default", "web").unwrap();
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    assert_eq!(
        deployment["status"]["observedGeneration"],
        deployment["metadata"]["generation"]
    );
}

#[test]
fn recreate_never_runs_old_and_new_together() {
    let mut world = with_node();
    let mut old = deployment("web", 3, "v1");
    old["spec"]["strategy"] = json!({"type": "Recreate"});
    world.create("deployments.apps", old);
    world.settle();
    world.check = Some(Box::new(|snapshot| {
        let pods = snapshot.list("pods", None, None).map(|pod| pod.value());
        let images: std::collections::BTreeSet<String> = pods
            .map(|pod| {
                pod["spec"]["containers"][0]["image"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert!(images.len() <= 1, "{images:?}");
    }));
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["template"] = template("web", "v2")
    });
    world.settle();
    assert_eq!(ready_pods(&world.snapshot()), 3);
}

#[test]
fn pause_scale_and_resume() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 2, "v1"));
    world.settle();
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["paused"] = json!(true);
        it["spec"]["template"] = template("web", "v2");
        it["spec"]["replicas"] = json!(4);
    });
    world.settle();
    assert_eq!(
        world.list("replicasets.apps", "default").len(),
        1,
        "no rollout while paused"
    );
    assert_eq!(world.list("pods", "default").len(), 4, "but scaling");
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["paused"] = json!(false)
    });
    world.settle();
    assert_eq!(world.list("replicasets.apps", "default").len(), 2);
    let images: Vec<Value> = world.list("pods", "default");
    assert!(
        images
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == "v2")
    );
}

#[test]
fn deletion_cascades_in_the_background_or_foreground_or_not_at_all() {
    for (propagation, left) in [
        (Propagation::Background, 0),
        (Propagation::Foreground, 0),
        (Propagation::Orphan, 2),
    ] {
        let mut world = with_node();
        world.create("deployments.apps", deployment("web", 2, "v1"));
        world.settle();
        world.delete("deployments.apps", "default", "web", propagation);
        world.settle();
        assert!(
            world.get("deployments.apps", "default", "web").is_none(),
            "{propagation:?}"
        );
        assert_eq!(world.list("pods", "default").len(), left, "{propagation:?}");
        let sets = world.list("replicasets.apps", "default");
        assert_eq!(sets.len(), left.min(1), "{propagation:?}");
        assert!(
            sets.iter()
                .all(|set| set["metadata"]["ownerReferences"].is_null())
        );
    }
}

#[test]
fn a_deleted_namespace_is_emptied_and_goes() {
    let mut world = with_node();
    world.create("namespaces", json!({"metadata": {"name": "team"}}));
    world.settle();
    let mut web = deployment("web", 3, "v1");
    web["metadata"]["namespace"] = json!("team");
    world.create("deployments.apps", web);
    world.settle();
    assert_eq!(world.list("pods", "team").len(), 3);
    world.delete("namespaces", "", "team", Propagation::Background);
    world.settle();
    assert!(world.get("namespaces", "", "team").is_none());
    assert_eq!(
        world
            .snapshot()
            .objects()
            .filter(|it| &*it.key.namespace == "team")
            .count(),
        0
    );
}

#[test]
fn a_job_runs_to_completion_and_counts_each_pod_once() {
    let mut world = with_node();
    let mut spec = template("sum", "v1");
    spec["spec"]["restartPolicy"] = json!("Never");
    world.create(
        "jobs.batch",
        json!({
            "metadata": {"name": "sum", "namespace": "default"},
            "spec": {"completions": 3, "parallelism": 2, "template": spec,
                "selector": {"matchLabels": {"app": "sum"}}},
        }),
    );
    for _ in 0..6 {
        world.settle();
        world.end_pods("Succeeded");
    }
    world.settle();
    let status = world.get("jobs.batch", "default", "sum").unwrap()["status"].clone();
    assert_eq!(status["succeeded"], 3, "{status}");
    let complete = status["conditions"].as_array().unwrap();
    let types: Vec<&str> = complete
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["SuccessCriteriaMet", "Complete"]);
    let pods = world.list("pods", "default");
    assert_eq!(pods.len(), 3);
    assert!(
        pods.iter()
            .all(|pod| pod["metadata"]["finalizers"].is_null())
    );
}

#[test]
fn endpoint_slices_follow_pods() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 3, "v1"));
    world.create(
        "services",
        json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
    );
    world.settle();
    let slices = world.list("endpointslices.discovery.k8s.io", "default");
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0]["ports"][0]["port"], 8080);
    assert_eq!(slices[0]["endpoints"].as_array().unwrap().len(), 3);
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["replicas"] = json!(0)
    });
    world.settle();
    let slices = world.list("endpointslices.discovery.k8s.io", "default");
    assert_eq!(slices.len(), 1, "an empty slice says: nobody");
    assert!(slices[0]["endpoints"].as_array().is_none_or(Vec::is_empty));
    world.delete("services", "default", "web", Propagation::Background);
    world.settle();
    assert!(
        world
            .list("endpointslices.discovery.k8s.io", "default")
            .is_empty()
    );
}

#[test]
fn a_silent_node_is_tainted_and_evicted_from_but_not_when_all_are_silent() {
    let mut world = with_node();
    world.add_node("n2");
    world.create("deployments.apps", deployment("web", 1, "v1"));
    world.settle();
    world.heartbeats.insert("n1".into(), world.now_ms);
    world.now_ms += 41_000;
    world.settle();
    let taints = world.get("nodes", "", "n1").unwrap()["spec"]["taints"].clone();
    let effects: Vec<&str> = taints
        .as_array()
        .unwrap()
        .iter()
        .map(|taint| taint["effect"].as_str().unwrap())
        .collect();
    assert_eq!(effects, ["NoSchedule", "NoExecute"], "{taints}");
    assert_eq!(ready_pods(&world.snapshot()), 1, "still listed");
    world.kubelet = false;
    world.now_ms += 301_000;
    world.settle();
    let pods = world.list("pods", "default");
    assert!(
        pods.iter()
            .any(|pod| !pod["metadata"]["deletionTimestamp"].is_null()),
        "evicted"
    );

    world.heartbeats.insert("n2".into(), 0);
    world.settle();
    let all_dark = world.get("nodes", "", "n1").unwrap()["spec"]["taints"].clone();
    let evicting = all_dark
        .as_array()
        .unwrap()
        .iter()
        .any(|it| it["effect"] == "NoExecute");
    assert!(!evicting, "everything is dark: nobody is evicted");
}

#[test]
fn the_systems_priority_classes_and_flow_schemas_are_there_and_come_back() {
    const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
    const SCHEMAS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
    const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
    let mut world = World::new();
    let critical = world.get(CLASSES, "", "system-node-critical").unwrap();
    assert_eq!(critical["value"], 2_000_001_000);
    assert_eq!(world.list(LEVELS, "").len(), 8);
    let schema = world.get(SCHEMAS, "", "probes").unwrap();
    assert_eq!(schema["status"]["conditions"][0]["status"], "False");
    // What someone changes is put right again.
    world.edit(SCHEMAS, "", "probes", |schema| {
        schema["spec"]["matchingPrecedence"] = json!(77);
    });
    world.delete(LEVELS, "", "workload-low", Propagation::Background);
    world.settle();
    let schema = world.get(SCHEMAS, "", "probes").unwrap();
    assert_eq!(schema["spec"]["matchingPrecedence"], 2);
    assert!(world.get(LEVELS, "", "workload-low").is_some());
    // Unless it says that it is meant to be so.
    world.edit(SCHEMAS, "", "probes", |schema| {
        schema["metadata"]["annotations"] = json!({"apf.kubernetes.io/autoupdate-spec": "false"});
        schema["spec"]["matchingPrecedence"] = json!(77);
        schema["spec"]["priorityLevelConfiguration"]["name"] = json!("none");
    });
    world.settle();
    let schema = world.get(SCHEMAS, "", "probes").unwrap();
    assert_eq!(schema["spec"]["matchingPrecedence"], 77);
    assert_eq!(schema["status"]["conditions"][0]["reason"], "NotFound");
}

#[test]
fn pods_of_an_unknown_priority_class_are_refused_until_there_is_one() {
    let mut world = with_node();
    let mut web = deployment("web", 1, "nginx");
    web["spec"]["template"]["spec"]["priorityClassName"] = json!("high");
    world.create("deployments.apps", web);
    world.settle();
    assert!(world.list("pods", "default").is_empty());
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    world.create("priorityclasses.scheduling.k8s.io", class);
    world.settle();
    assert_eq!(world.list("pods", "default")[0]["spec"]["priority"], 1000);
}

#[test]
fn quotas_tell_what_is_used_of_them() {
    let mut world = with_node();
    let quota = |hard: Value| json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}});
    let hard = json!({"pods": "5", "count/replicasets.apps": "4", "services": "3", "limits.memory": "1Gi"});
    world.create("resourcequotas", quota(hard.clone()));
    world.create("deployments.apps", deployment("web", 3, "v1"));
    world.settle();
    let status =
        |world: &World| world.get("resourcequotas", "default", "q").unwrap()["status"].clone();
    let used =
        json!({"pods": "3", "count/replicasets.apps": "1", "services": "0", "limits.memory": "0"});
    assert_eq!(status(&world), json!({"hard": hard, "used": used}));
    world.edit("deployments.apps", "default", "web", |web| {
        web["spec"]["replicas"] = json!(1)
    });
    world.edit("resourcequotas", "default", "q", |quota| {
        quota["spec"]["hard"] = json!({"pods": "2"});
    });
    world.settle();
    assert_eq!(
        status(&world),
        json!({"hard": {"pods": "2"}, "used": {"pods": "1"}})
    );
    // Scoped quotas count what they are about only.
    world.edit("resourcequotas", "default", "q", |quota| {
        quota["spec"]["scopes"] = json!(["NotBestEffort"]);
    });
    world.settle();
    assert_eq!(status(&world)["used"], json!({"pods": "0"}));
}
