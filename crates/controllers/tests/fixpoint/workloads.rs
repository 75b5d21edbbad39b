//! StatefulSets, DaemonSets and ReplicationControllers over their lives.

use std::collections::{BTreeMap, BTreeSet};

use kontiki_controllers::Propagation;
use serde_json::{Value, json};

use crate::with_node;
use crate::world::{World, template};

const SETS: &str = "statefulsets.apps";
const DAEMONS: &str = "daemonsets.apps";
const REVISIONS: &str = "controllerrevisions.apps";
const CLAIMS: &str = "persistentvolumeclaims";

pub fn stateful_set(replicas: i32, policy: &str) -> Value {
    json!({
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": "db"}},
            "template": template("db", "v1"),
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    })
}

pub fn daemon_set() -> Value {
    json!({
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": template("agent", "v1"),
        },
    })
}

fn pods(world: &World) -> BTreeMap<String, String> {
    let pods = world.list("pods", "default").into_iter();
    pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let image = &pod["spec"]["containers"][0]["image"];
            (text(&pod["metadata"]["name"]), text(image))
        })
        .collect()
}

fn names(world: &World, resource: &str) -> Vec<String> {
    let objects = world.list(resource, "default").into_iter();
    objects
        .map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn status(world: &World, resource: &str, name: &str) -> Value {
    world.get(resource, "default", name).unwrap()["status"].take()
}

/// As the API counts templates of a DaemonSet.
pub fn count_template(set: &mut Value) {
    let at = "/metadata/annotations/deprecated.daemonset.template.generation";
    let Some(counted) = set.pointer_mut(at) else {
        return;
    };
    let number: i64 = counted.as_str().unwrap().parse().unwrap();
    *counted = json!((number + 1).to_string());
}

fn set_image(world: &mut World, resource: &str, name: &str, image: &str) {
    world.edit(resource, "default", name, |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        count_template(it);
    });
}

#[test]
fn stateful_pods_are_made_in_order_with_names_claims_and_labels() {
    let mut world = with_node();
    let most = std::cell::Cell::new(0);
    world.check = Some(Box::new(move |snapshot| {
        let pods: Vec<Value> = snapshot
            .list("pods", None, None)
            .map(|it| it.value())
            .collect();
        let unready = pods
            .iter()
            .filter(|pod| pod["status"]["phase"] != "Running");
        assert!(unready.count() <= 1, "one after another");
        assert!(pods.len() >= most.get());
        most.set(pods.len());
    }));
    world.create(SETS, stateful_set(3, "OrderedReady"));
    world.settle();
    world.check = None;
    assert_eq!(names(&world, "pods"), ["db-0", "db-1", "db-2"]);
    assert_eq!(
        names(&world, CLAIMS),
        ["data-db-0", "data-db-1", "data-db-2"]
    );
    let pod = world.get("pods", "default", "db-1").unwrap();
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(pod["spec"]["hostname"], "db-1");
    assert_eq!(pod["spec"]["subdomain"], "db");
    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "data-db-1");
    let status = status(&world, SETS, "db");
    assert_eq!(status["replicas"], 3);
    assert_eq!(status["availableReplicas"], 3);
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(labels["controller-revision-hash"], status["updateRevision"]);
    assert_eq!(status["collisionCount"], 0);

    world.edit(SETS, "default", "db", |it| {
        it["spec"]["replicas"] = json!(1)
    });
    world.settle();
    assert_eq!(names(&world, "pods"), ["db-0"]);
    assert_eq!(names(&world, CLAIMS).len(), 3, "claims are retained");
}

#[test]
fn an_unready_pod_stops_an_ordered_set_and_no_parallel_one() {
    for (policy, n_pods) in [("OrderedReady", 1), ("Parallel", 3)] {
        let mut world = with_node();
        world.kubelet = false;
        world.create(SETS, stateful_set(3, policy));
        world.settle();
        assert_eq!(world.list("pods", "default").len(), n_pods, "{policy}");
        world.edit(SETS, "default", "db", |it| {
            it["spec"]["replicas"] = json!(0)
        });
        world.kubelet = true;
        world.settle();
        assert!(world.list("pods", "default").is_empty());
    }
}

#[test]
fn updates_go_from_the_last_pod_to_the_partition_and_roll_back() {
    let mut world = with_node();
    world.create(SETS, stateful_set(3, "OrderedReady"));
    world.settle();
    world.edit(SETS, "default", "db", |it| {
        it["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
    });
    set_image(&mut world, SETS, "db", "v2");
    world.settle();
    let images = |world: &World| pods(world).into_values().collect::<Vec<_>>();
    assert_eq!(images(&world), ["v1", "v1", "v2"]);
    let canary = status(&world, SETS, "db");
    assert_eq!(canary["updatedReplicas"], 1);
    assert_eq!(canary["currentReplicas"], 2);
    assert_ne!(canary["currentRevision"], canary["updateRevision"]);
    // What is below the partition is made anew as it was.
    world.delete("pods", "default", "db-0", Propagation::Background);
    world.delete("pods", "default", "db-2", Propagation::Background);
    world.settle();
    assert_eq!(images(&world), ["v1", "v1", "v2"]);
    world.edit(SETS, "default", "db", |it| {
        it["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(0);
    });
    world.settle();
    assert_eq!(images(&world), ["v2", "v2", "v2"]);
    let done = status(&world, SETS, "db");
    assert_eq!(done["currentRevision"], canary["updateRevision"]);
    assert_eq!(names(&world, REVISIONS).len(), 2);

    set_image(&mut world, SETS, "db", "v1");
    world.settle();
    assert_eq!(images(&world), ["v1", "v1", "v1"]);
    let revisions = world.list(REVISIONS, "default");
    assert_eq!(revisions.len(), 2, "the old revision is the newest again");
    let numbers: BTreeSet<i64> = (revisions.iter())
        .map(|it| it["revision"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, BTreeSet::from([2, 3]));
}

#[test]
fn as_many_as_may_be_unavailable_are_updated_at_once() {
    let mut world = with_node();
    world.create(SETS, stateful_set(4, "Parallel"));
    world.settle();
    world.check = Some(Box::new(|snapshot| {
        let pods = snapshot.list("pods", None, None);
        let living = pods.filter(|pod| !pod.header.deleting).count();
        assert!(living >= 2, "{living}");
    }));
    world.edit(SETS, "default", "db", |it| {
        it["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!("50%");
    });
    set_image(&mut world, SETS, "db", "v2");
    world.settle();
    assert!(pods(&world).values().all(|image| image == "v2"));
}

#[test]
fn only_on_delete_waits_for_deletions() {
    let mut world = with_node();
    let mut set = stateful_set(2, "OrderedReady");
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    world.create(SETS, set);
    world.settle();
    set_image(&mut world, SETS, "db", "v2");
    world.settle();
    assert!(pods(&world).values().all(|image| image == "v1"));
    world.delete("pods", "default", "db-0", Propagation::Background);
    world.settle();
    assert_eq!(pods(&world)["db-0"], "v2");
    assert_eq!(pods(&world)["db-1"], "v1");
}

#[test]
fn ordinals_start_where_they_are_told_and_failed_pods_are_made_again() {
    let mut world = with_node();
    let mut set = stateful_set(2, "OrderedReady");
    set["spec"]["ordinals"] = json!({"start": 5});
    world.create(SETS, set);
    world.settle();
    assert_eq!(names(&world, "pods"), ["db-5", "db-6"]);
    let uid = |world: &World| {
        let pod = world.get("pods", "default", "db-5").unwrap();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let before = uid(&world);
    world.edit("pods", "default", "db-5", |pod| {
        pod["status"]["phase"] = json!("Failed");
    });
    world.settle();
    assert_ne!(uid(&world), before);
}

#[test]
fn claims_go_when_the_policy_says_so() {
    let mut world = with_node();
    let mut set = stateful_set(3, "OrderedReady");
    set["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    world.create(SETS, set);
    world.settle();
    world.edit(SETS, "default", "db", |it| {
        it["spec"]["replicas"] = json!(1)
    });
    world.settle();
    assert_eq!(names(&world, CLAIMS), ["data-db-0"]);
    world.edit(SETS, "default", "db", |it| {
        it["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenScaled": "Retain", "whenDeleted": "Delete"});
        it["spec"]["replicas"] = json!(2);
    });
    world.settle();
    assert_eq!(names(&world, CLAIMS).len(), 2);
    world.delete(SETS, "default", "db", Propagation::Background);
    world.settle();
    assert_eq!(names(&world, CLAIMS), [""; 0]);
    assert_eq!(names(&world, REVISIONS), [""; 0]);
}

#[test]
fn history_is_kept_to_its_limit() {
    let mut world = with_node();
    let mut set = stateful_set(1, "OrderedReady");
    set["spec"]["revisionHistoryLimit"] = json!(1);
    world.create(SETS, set);
    let mut daemons = daemon_set();
    daemons["spec"]["revisionHistoryLimit"] = json!(1);
    world.create(DAEMONS, daemons);
    world.settle();
    for image in ["v2", "v3", "v4"] {
        set_image(&mut world, SETS, "db", image);
        set_image(&mut world, DAEMONS, "agent", image);
        world.settle();
    }
    assert_eq!(names(&world, REVISIONS).len(), 4, "two of each set");
}

fn nodes_of(world: &World) -> Vec<String> {
    let pods = world.list("pods", "default").into_iter();
    let node = |pod: Value| pod["spec"]["nodeName"].as_str().unwrap().to_owned();
    let mut nodes: Vec<String> = pods.map(node).collect();
    nodes.sort();
    nodes
}

#[test]
fn each_node_gets_a_daemon_pod_and_loses_it_when_it_should_not_have_it() {
    let mut world = with_node();
    world.add_node("n2");
    world.create(DAEMONS, daemon_set());
    world.settle();
    assert_eq!(nodes_of(&world), ["n1", "n2"]);
    world.add_node("n3");
    world.settle();
    assert_eq!(nodes_of(&world), ["n1", "n2", "n3"]);
    let counted = status(&world, DAEMONS, "agent");
    for field in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "updatedNumberScheduled",
    ] {
        assert_eq!(counted[field], 3, "{field}");
    }
    // A NoSchedule taint lets stay what is there, NoExecute and a selector do not.
    world.edit("nodes", "", "n2", |node| {
        node["spec"]["taints"] = json!([{"key": "x", "effect": "NoSchedule"}]);
    });
    world.settle();
    assert_eq!(nodes_of(&world).len(), 3);
    let counted = status(&world, DAEMONS, "agent");
    assert_eq!(counted["numberMisscheduled"], 1);
    world.edit(DAEMONS, "default", "agent", |it| {
        it["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "n3"});
    });
    world.settle();
    assert_eq!(nodes_of(&world), ["n3"]);
}

#[test]
fn daemon_pods_are_updated_within_bounds_and_a_rollback_restarts_nobody() {
    let mut world = with_node();
    ["n2", "n3"].iter().for_each(|node| world.add_node(node));
    world.create(DAEMONS, daemon_set());
    world.settle();
    let before = names(&world, "pods");
    world.check = Some(Box::new(|snapshot| {
        let pods = snapshot.list("pods", None, None);
        let living = pods.filter(|pod| !pod.header.deleting).count();
        assert!((2..=3).contains(&living), "{living}");
    }));
    set_image(&mut world, DAEMONS, "agent", "v2");
    world.settle();
    assert!(pods(&world).values().all(|image| image == "v2"));
    assert!(names(&world, "pods").iter().all(|it| !before.contains(it)));

    // A broken template stops at one pod; going back replaces just that one.
    let good = names(&world, "pods");
    world.kubelet = false;
    set_image(&mut world, DAEMONS, "agent", "broken");
    world.settle();
    world.edit("pods", "default", &good[0], |_| {});
    set_image(&mut world, DAEMONS, "agent", "v2");
    world.kubelet = true;
    world.check = None;
    world.settle();
    let after = names(&world, "pods");
    let kept = good.iter().filter(|it| after.contains(it)).count();
    assert_eq!((kept, after.len()), (2, 3));
}

#[test]
fn surging_daemon_pods_come_before_the_old_ones_go() {
    let mut world = with_node();
    world.add_node("n2");
    let mut set = daemon_set();
    set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    world.create(DAEMONS, set);
    world.settle();
    world.check = Some(Box::new(|snapshot| {
        let pods = snapshot.list("pods", None, None).map(|pod| pod.value());
        let ready = pods.filter(|pod| {
            pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
        });
        assert!(ready.count() >= 2, "no node is ever without");
    }));
    set_image(&mut world, DAEMONS, "agent", "v2");
    world.settle();
    assert_eq!(nodes_of(&world), ["n1", "n2"]);
    assert!(pods(&world).values().all(|image| image == "v2"));
}

#[test]
fn failed_daemon_pods_are_made_again() {
    let mut world = with_node();
    world.create(DAEMONS, daemon_set());
    world.settle();
    let before = names(&world, "pods");
    world.edit("pods", "default", &before[0], |pod| {
        pod["status"]["phase"] = json!("Failed");
    });
    world.settle();
    assert_eq!(names(&world, "pods"), before, "not in a hurry");
    world.now_ms += 10_000;
    world.settle();
    let after = names(&world, "pods");
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
}

fn replication_controller(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "rc", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"app": "rc"}, "template": template("rc", "v1")},
    })
}

#[test]
fn replication_controllers_adopt_release_and_scale() {
    let mut world = with_node();
    let mut orphan = template("rc", "v1");
    orphan["metadata"]["name"] = json!("orphan");
    orphan["metadata"]["namespace"] = json!("default");
    world.create("pods", orphan);
    world.create("replicationcontrollers", replication_controller(2));
    world.settle();
    assert_eq!(world.list("pods", "default").len(), 2);
    let owner = |world: &World| {
        let pod = world.get("pods", "default", "orphan").unwrap();
        pod["metadata"]["ownerReferences"][0]["kind"].clone()
    };
    assert_eq!(owner(&world), "ReplicationController");
    world.edit("pods", "default", "orphan", |pod| {
        pod["metadata"]["labels"]["app"] = json!("other");
    });
    world.settle();
    assert_eq!(owner(&world), Value::Null);
    assert_eq!(world.list("pods", "default").len(), 3);
    assert_eq!(
        status(&world, "replicationcontrollers", "rc")["readyReplicas"],
        2
    );
}

#[test]
fn what_is_refused_is_told_in_the_status_and_what_is_not_no_longer() {
    let mut world = with_node();
    let mut rc = replication_controller(2);
    rc["spec"]["template"]["spec"]["priorityClassName"] = json!("high");
    world.create("replicationcontrollers", rc);
    world.settle();
    let before = status(&world, "replicationcontrollers", "rc");
    let condition = &before["conditions"][0];
    assert_eq!(condition["type"], "ReplicaFailure", "{before}");
    assert_eq!(condition["status"], "True");
    assert_eq!(condition["reason"], "FailedCreate");
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    world.create("priorityclasses.scheduling.k8s.io", class);
    world.settle();
    let after = status(&world, "replicationcontrollers", "rc");
    assert_eq!(after["conditions"], Value::Null, "{after}");
    assert_eq!(after["replicas"], 2);
}
