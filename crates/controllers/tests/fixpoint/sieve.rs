//! Sieve's patterns on workloads: the manager dies after any write, or acts on a view of the past. All come to the
//! same end.

use kontiki_controllers::Propagation;
use serde_json::{Value, json};

use crate::with_node;
use crate::workloads::{count_template, daemon_set, stateful_set};
use crate::world::World;

/// Who works on the stories: the others have nothing to say in them.
const CONTROLLERS: &[&str] = &[
    "statefulset-controller",
    "daemonset-controller",
    "persistentvolume-controller",
    "persistentvolume-binder",
    "garbage-collector-controller",
];
/// More writes than any story takes.
const MOST_WRITES: usize = 400;

/// What a story must come to: who there is, of which template, and what is told; no names that are drawn, no times.
fn ending(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for pod in world.list("pods", "default") {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let drawn = !name.starts_with("db-");
        let name = if drawn { "drawn" } else { name };
        let (node, image) = (
            &pod["spec"]["nodeName"],
            &pod["spec"]["containers"][0]["image"],
        );
        let going = !pod["metadata"]["deletionTimestamp"].is_null();
        lines.push(format!("pod {name} {node} {image} {going}"));
    }
    for volume in world.list("persistentvolumes", "") {
        let name = volume["metadata"]["name"].as_str().unwrap();
        let name = if name.starts_with("pvc-") {
            "drawn"
        } else {
            name
        };
        let claim = &volume["spec"]["claimRef"]["name"];
        lines.push(format!(
            "volume {name} {claim} {}",
            volume["status"]["phase"]
        ));
    }
    for resource in ["controllerrevisions.apps", "persistentvolumeclaims"] {
        for object in world.list(resource, "default") {
            let owners = object["metadata"]["ownerReferences"].as_array();
            let owners: Vec<&Value> = owners.into_iter().flatten().map(|it| &it["kind"]).collect();
            let (name, number) = (&object["metadata"]["name"], &object["revision"]);
            lines.push(format!("{resource} {name} {number} {owners:?}"));
        }
    }
    for resource in [
        "statefulsets.apps",
        "daemonsets.apps",
        "replicationcontrollers",
    ] {
        for object in world.list(resource, "default") {
            lines.push(format!("{resource} {}", object["status"]));
        }
    }
    lines.sort();
    lines
}

fn image(world: &mut World, resource: &str, name: &str, image: &str) {
    world.edit(resource, "default", name, |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        count_template(it);
    });
}

/// An ordered set grows, is updated and shrinks, and its claims go with what is scaled away.
fn of_stateful_set(world: &mut World, policy: &str) {
    const SETS: &str = "statefulsets.apps";
    let mut set = stateful_set(2, policy);
    set["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    world.create(SETS, set);
    world.settle();
    image(world, SETS, "db", "v2");
    world.settle();
    world.edit(SETS, "default", "db", |it| {
        it["spec"]["replicas"] = json!(1)
    });
    world.settle();
}

/// A daemon set meets a new node, is updated, and rolls back.
fn of_daemon_set(world: &mut World, strategy: &Value) {
    const SETS: &str = "daemonsets.apps";
    let mut set = daemon_set();
    set["spec"]["updateStrategy"] = strategy.clone();
    world.create(SETS, set);
    world.settle();
    world.add_node("n2");
    image(world, SETS, "agent", "v2");
    world.settle();
    image(world, SETS, "agent", "v1");
    world.settle();
}

/// One claim takes a volume that is there, another gets a directory; then both go.
fn of_claims(world: &mut World) {
    const CLAIMS: &str = "persistentvolumeclaims";
    let claim = |name: &str, class: &str| {
        json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": "1Gi"}}},
        })
    };
    for (name, policy) in [("kept", "Retain"), ("spare", "Delete")] {
        let volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "manual", "persistentVolumeReclaimPolicy": policy,
                "hostPath": {"path": "/data"}},
        });
        world.create("persistentvolumes", volume);
        world.settle();
    }
    world.create(CLAIMS, claim("found", "manual"));
    world.create(CLAIMS, claim("made", "local-path"));
    world.settle();
    world.edit(CLAIMS, "default", "made", |claim| {
        claim["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "n1"});
    });
    world.settle();
    world.create(CLAIMS, claim("other", "manual"));
    world.settle();
    for name in ["found", "made"] {
        world.delete(CLAIMS, "default", name, Propagation::Background);
    }
    world.settle();
}

/// Runs a story undisturbed, then with the manager's death after each write, then with each view of the past shown
/// again at the end.
fn sift(story: &dyn Fn(&mut World)) {
    let mut world = with_node();
    world.only = Some(CONTROLLERS);
    world.past = Some(Vec::new());
    story(&mut world);
    let expected = ending(&world);
    for view in world.past.take().unwrap() {
        world.reconcile_by(&view);
        world.settle();
        assert_eq!(ending(&world), expected, "an older view does no harm");
    }
    for n_writes in 0..MOST_WRITES {
        let mut world = with_node();
        world.only = Some(CONTROLLERS);
        world.dies_after = Some(n_writes);
        story(&mut world);
        assert_eq!(ending(&world), expected, "after {n_writes} writes");
        if world.dies_after.is_some() {
            assert!(n_writes > 5, "the story writes");
            return;
        }
    }
    panic!("the story is too long");
}

#[test]
fn stateful_sets_come_to_the_same_end() {
    for policy in ["OrderedReady", "Parallel"] {
        sift(&|world| of_stateful_set(world, policy));
    }
}

#[test]
fn daemon_sets_come_to_the_same_end() {
    for strategy in [
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}),
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
    ] {
        sift(&|world| of_daemon_set(world, &strategy));
    }
}

#[test]
fn claims_come_to_the_same_end() {
    sift(&of_claims);
}
