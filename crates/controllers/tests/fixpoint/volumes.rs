//! Claims, volumes and the directories of nodes, from the first claim to the last cleaning up.

use kontiki_controllers::Propagation;
use serde_json::{Value, json};

use crate::with_node;
use crate::world::World;

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";

fn claim(class: &str) -> Value {
    json!({
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn volume(name: &str, size: &str, policy: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "manual", "persistentVolumeReclaimPolicy": policy,
            "hostPath": {"path": "/data"}},
    })
}

fn phase(world: &World, resource: &str, name: &str) -> String {
    let namespace = if resource == CLAIMS { "default" } else { "" };
    let object = world.get(resource, namespace, name).unwrap();
    object["status"]["phase"].as_str().unwrap().to_owned()
}

#[test]
fn a_claim_takes_the_smallest_volume_and_lets_it_go_as_the_policy_says() {
    for (policy, after) in [("Retain", "Released"), ("Delete", "Failed")] {
        let mut world = with_node();
        world.create(VOLUMES, volume("large", "9Gi", policy));
        world.create(VOLUMES, volume("small", "2Gi", policy));
        world.settle();
        assert_eq!(phase(&world, VOLUMES, "small"), "Available");
        world.create(CLAIMS, claim("manual"));
        world.settle();
        assert_eq!(phase(&world, CLAIMS, "data"), "Bound");
        assert_eq!(phase(&world, VOLUMES, "small"), "Bound");
        assert_eq!(phase(&world, VOLUMES, "large"), "Available");
        let bound = world.get(CLAIMS, "default", "data").unwrap();
        assert_eq!(bound["spec"]["volumeName"], "small");
        assert_eq!(bound["status"]["capacity"]["storage"], "2Gi");
        let annotations = &bound["metadata"]["annotations"];
        assert_eq!(annotations["pv.kubernetes.io/bind-completed"], "yes");
        assert_eq!(annotations["pv.kubernetes.io/bound-by-controller"], "yes");
        world.delete(CLAIMS, "default", "data", Propagation::Background);
        world.settle();
        assert_eq!(phase(&world, VOLUMES, "small"), after, "{policy}");
    }
}

#[test]
fn two_claims_never_share_a_volume_and_a_lost_one_is_told() {
    let mut world = with_node();
    world.create(VOLUMES, volume("only", "2Gi", "Retain"));
    world.create(CLAIMS, claim("manual"));
    let mut other = claim("manual");
    other["metadata"]["name"] = json!("other");
    world.create(CLAIMS, other);
    world.settle();
    let mut phases = [
        phase(&world, CLAIMS, "data"),
        phase(&world, CLAIMS, "other"),
    ];
    phases.sort();
    assert_eq!(phases, ["Bound", "Pending"]);
    world.delete(VOLUMES, "", "only", Propagation::Background);
    world.settle();
    let mut phases = [
        phase(&world, CLAIMS, "data"),
        phase(&world, CLAIMS, "other"),
    ];
    phases.sort();
    assert_eq!(phases, ["Lost", "Pending"]);
}

#[test]
fn a_reserved_volume_waits_for_its_claim_and_a_named_one_is_waited_for() {
    let mut world = with_node();
    let mut reserved = volume("reserved", "9Gi", "Retain");
    reserved["spec"]["claimRef"] = json!({"namespace": "default", "name": "data"});
    world.create(VOLUMES, reserved);
    world.create(VOLUMES, volume("small", "2Gi", "Retain"));
    let mut named = claim("manual");
    named["metadata"]["name"] = json!("named");
    named["spec"]["volumeName"] = json!("later");
    world.create(CLAIMS, named);
    world.settle();
    assert_eq!(phase(&world, VOLUMES, "reserved"), "Available");
    assert_eq!(phase(&world, CLAIMS, "named"), "Pending");
    world.create(CLAIMS, claim("manual"));
    world.create(VOLUMES, volume("later", "3Gi", "Retain"));
    world.settle();
    let bound = world.get(CLAIMS, "default", "data").unwrap();
    assert_eq!(bound["spec"]["volumeName"], "reserved");
    assert_eq!(phase(&world, CLAIMS, "named"), "Bound");
}

#[test]
fn a_directory_is_made_where_the_first_consumer_goes_and_removed_with_its_claim() {
    let mut world = with_node();
    let mut open = claim("");
    open["spec"]
        .as_object_mut()
        .unwrap()
        .remove("storageClassName");
    world.create(CLAIMS, open);
    world.settle();
    let pending = world.get(CLAIMS, "default", "data").unwrap();
    assert_eq!(
        pending["spec"]["storageClassName"], "local-path",
        "the default"
    );
    assert_eq!(phase(&world, CLAIMS, "data"), "Pending");
    world.edit(CLAIMS, "default", "data", |claim| {
        claim["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "n1"});
    });
    world.settle();
    assert_eq!(phase(&world, CLAIMS, "data"), "Bound");
    let bound = world.get(CLAIMS, "default", "data").unwrap();
    let name = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    let made = world.get(VOLUMES, "", &name).unwrap();
    assert_eq!(made["spec"]["csi"]["volumeAttributes"]["node"], "n1");
    assert_eq!(made["spec"]["persistentVolumeReclaimPolicy"], "Delete");
    let of_node = world.snapshot().by_field(VOLUMES, "spec.nodeName", "n1");
    assert_eq!(of_node.len(), 1, "its agent finds it");
    // It grows as it is asked to.
    world.edit(CLAIMS, "default", "data", |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("5Gi");
    });
    world.settle();
    let grown = world.get(CLAIMS, "default", "data").unwrap();
    assert_eq!(grown["status"]["capacity"]["storage"], "5Gi");
    world.delete(CLAIMS, "default", "data", Propagation::Background);
    world.settle();
    assert!(world.get(VOLUMES, "", &name).is_none());
}

#[test]
fn the_class_comes_back_and_keeps_what_was_changed() {
    let mut world = with_node();
    let default = "storageclass.kubernetes.io/is-default-class";
    world.edit(CLASSES, "", "local-path", |class| {
        class["metadata"]["annotations"][default] = json!("false");
    });
    world.settle();
    let class = world.get(CLASSES, "", "local-path").unwrap();
    assert_eq!(class["metadata"]["annotations"][default], "false");
    world.delete(CLASSES, "", "local-path", Propagation::Background);
    world.settle();
    assert!(world.get(CLASSES, "", "local-path").is_some());
}

#[test]
fn a_provisioner_outside_is_told_and_waited_for() {
    let mut world = with_node();
    let class = json!({"metadata": {"name": "cloud"}, "provisioner": "disks.example.com"});
    world.create(CLASSES, class);
    world.create(CLAIMS, claim("cloud"));
    world.settle();
    let told = world.get(CLAIMS, "default", "data").unwrap();
    assert_eq!(
        told["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"],
        "disks.example.com"
    );
    assert_eq!(phase(&world, CLAIMS, "data"), "Pending");
}
