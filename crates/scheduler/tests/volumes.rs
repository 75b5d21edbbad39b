//! Where a pod's volumes let it go.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kontiki_scheduler::{Decision, Scheduler};
use serde_json::{Value, json};

/// Two nodes in two zones, and the classes `later` (made anywhere) and `static` (made by nobody).
fn cluster() -> Scheduler {
    let mut scheduler = Scheduler::new();
    for (name, zone) in [("n1", "a"), ("n2", "b")] {
        let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone});
        let node = json!({
            "metadata": {"name": name, "labels": labels}, "spec": {},
            "status": {"allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"}},
        });
        scheduler.node_upserted(Arc::new(serde_json::from_value(node).unwrap()), 0);
    }
    for (name, provisioner) in [
        ("later", "disks.example.com"),
        ("static", "kubernetes.io/no-provisioner"),
    ] {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer"});
        let class = serde_json::from_value(class).unwrap();
        scheduler.class_changed(name, Some(Arc::new(class)), 0);
    }
    scheduler
}

fn claim(scheduler: &mut Scheduler, spec: Value, phase: &str) {
    let claim = json!({
        "metadata": {"name": "data", "namespace": "default", "uid": "c"},
        "spec": spec, "status": {"phase": phase},
    });
    let claim = serde_json::from_value(claim).unwrap();
    scheduler.claim_changed("default", "data", Some(Arc::new(claim)), 0);
}

fn volume(scheduler: &mut Scheduler, labels: Value, host: Option<&str>) {
    let mut volume = json!({
        "metadata": {"name": "v", "labels": labels},
        "spec": {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "static"},
        "status": {"phase": "Available"},
    });
    if let Some(host) = host {
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{
            "matchExpressions":
                [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}],
        }]}});
    }
    let volume = serde_json::from_value(volume).unwrap();
    scheduler.volume_changed("v", Some(Arc::new(volume)), 0);
}

fn pod(name: &str) -> Pod {
    let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "c"}], "volumes": volumes},
    }))
    .unwrap()
}

fn decide(scheduler: &mut Scheduler, name: &str) -> Result<String, String> {
    scheduler.pod_upserted(Arc::new(pod(name)), 0);
    match scheduler.schedule(0, 1).pop().unwrap() {
        Decision::Bind { node, .. } => Ok(node),
        Decision::Unschedulable { message, .. } => {
            let end = message.find(". preemption").unwrap();
            Err(message[..end].to_owned())
        }
    }
}

fn all_refuse(reason: &str) -> Result<String, String> {
    Err(format!("0/2 nodes are available: 2 {reason}"))
}

#[test]
fn a_claim_must_be_there_and_bound_unless_it_waits_for_the_pod() {
    let mut scheduler = cluster();
    let missing = all_refuse("persistentvolumeclaim \"data\" not found");
    assert_eq!(decide(&mut scheduler, "p"), missing);
    let mut scheduler = cluster();
    claim(
        &mut scheduler,
        json!({"storageClassName": "unknown"}),
        "Pending",
    );
    let unbound = all_refuse("pod has unbound immediate PersistentVolumeClaims");
    assert_eq!(decide(&mut scheduler, "p"), unbound);
    let mut scheduler = cluster();
    claim(
        &mut scheduler,
        json!({"storageClassName": "later"}),
        "Pending",
    );
    assert!(decide(&mut scheduler, "p").is_ok());
}

#[test]
fn a_bound_volume_is_followed_to_its_node_and_zone() {
    let bound = json!({"storageClassName": "static", "volumeName": "v"});
    let mut scheduler = cluster();
    claim(&mut scheduler, bound.clone(), "Bound");
    let gone =
        all_refuse("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
    assert_eq!(decide(&mut scheduler, "p"), gone);
    for (labels, host, expected) in [
        (json!({}), Some("n2"), "n2"),
        (json!({"topology.kubernetes.io/zone": "b"}), None, "n2"),
        (json!({"topology.kubernetes.io/zone": "x__a"}), None, "n1"),
    ] {
        let mut scheduler = cluster();
        claim(&mut scheduler, bound.clone(), "Bound");
        volume(&mut scheduler, labels.clone(), host);
        let node = decide(&mut scheduler, "p");
        assert_eq!(node.as_deref(), Ok(expected), "{labels} {host:?}");
    }
}

#[test]
fn volumes_that_nobody_makes_must_be_there() {
    let spec = json!({"storageClassName": "static", "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    let mut scheduler = cluster();
    claim(&mut scheduler, spec.clone(), "Pending");
    let none = all_refuse("node(s) didn't find available persistent volumes to bind");
    assert_eq!(decide(&mut scheduler, "p"), none);
    let mut scheduler = cluster();
    claim(&mut scheduler, spec, "Pending");
    volume(&mut scheduler, json!({}), Some("n2"));
    assert_eq!(decide(&mut scheduler, "p").as_deref(), Ok("n2"));
}

#[test]
fn a_claim_of_one_pod_is_not_shared() {
    let mut scheduler = cluster();
    let spec = json!({"storageClassName": "later", "accessModes": ["ReadWriteOncePod"]});
    claim(&mut scheduler, spec, "Pending");
    assert!(decide(&mut scheduler, "first").is_ok());
    let taken = all_refuse(
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
    );
    assert_eq!(decide(&mut scheduler, "second"), taken);
}
