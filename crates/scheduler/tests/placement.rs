//! Placements and explanations, rule by rule, and the cached way against the plain one.

#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kontiki_scheduler::{Decision, Scheduler};
use serde_json::{Value, json};

fn node(name: &str, cpu: &str, edit: impl FnOnce(&mut Value)) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "16Gi", "pods": "110"}},
    });
    edit(&mut node);
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, cpu: &str, edit: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
    });
    edit(&mut pod);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plain(_: &mut Value) {}

fn cluster(nodes: &[Arc<Node>]) -> Scheduler {
    let mut scheduler = Scheduler::new();
    nodes
        .iter()
        .for_each(|node| scheduler.node_upserted(node.clone(), 0));
    scheduler
}

fn decide(scheduler: &mut Scheduler, pod: Arc<Pod>) -> Result<String, String> {
    scheduler.pod_upserted(pod, 0);
    match scheduler.schedule(0, 1).pop().unwrap() {
        Decision::Bind { node, .. } => Ok(node),
        Decision::Unschedulable { message, .. } => Err(message),
    }
}

fn bound(pod: &Pod, node: &str) -> Arc<Pod> {
    let mut pod = pod.clone();
    pod.spec.as_mut().unwrap().node_name = Some(node.into());
    Arc::new(pod)
}

#[test]
fn explanations_are_upstreams_words() {
    let mut scheduler = cluster(&[
        node("n1", "1", plain),
        node("n2", "1", |node| {
            node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]);
        }),
        node("n3", "4", |node| {
            node["spec"]["unschedulable"] = json!(true)
        }),
    ]);
    let message = decide(&mut scheduler, pod("big", "2", plain)).unwrap_err();
    assert_eq!(
        message,
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), \
         1 node(s) were unschedulable. preemption: 0/3 nodes are available: \
         3 Preemption is not helpful for scheduling."
    );
    assert_eq!(
        decide(&mut Scheduler::new(), pod("p", "1", plain)).unwrap_err(),
        "no nodes available to schedule pods"
    );
}

#[test]
fn the_emptier_node_wins_and_reservations_count_at_once() {
    let mut scheduler = cluster(&[node("n1", "4", plain), node("n2", "4", plain)]);
    for idx in 0..8 {
        scheduler.pod_upserted(pod(&format!("p{idx}"), "1", plain), 0);
    }
    let decisions = scheduler.schedule(0, 100);
    let on = |name: &str| {
        let bound =
            |decision: &&Decision| matches!(decision, Decision::Bind { node, .. } if node == name);
        decisions.iter().filter(bound).count()
    };
    assert_eq!((on("n1"), on("n2")), (4, 4));
    assert!(
        decide(&mut scheduler, pod("late", "1", plain))
            .unwrap_err()
            .contains("2 Insufficient cpu")
    );
    assert_eq!(scheduler.n_unschedulable(), 1);
    scheduler.pod_removed("p0", 0);
    assert_eq!(
        scheduler.next_deadline_ms(),
        Some(1_000),
        "back-off after the failure"
    );
    assert_eq!(scheduler.schedule(1_000, 1).len(), 1);
    assert_eq!(scheduler.n_unschedulable(), 0);
}

#[test]
fn a_failed_binding_frees_its_room() {
    let mut scheduler = cluster(&[node("n1", "1", plain)]);
    decide(&mut scheduler, pod("a", "1", plain)).unwrap();
    assert!(decide(&mut scheduler, pod("b", "1", plain)).is_err());
    scheduler.bind_failed("a", 0);
    scheduler.pod_removed("a", 0);
    assert!(matches!(
        scheduler.schedule(2_000, 1)[0],
        Decision::Bind { .. }
    ));
}

#[test]
fn selectors_affinity_and_ports() {
    let mut scheduler = cluster(&[
        node("n1", "4", |node| {
            node["metadata"]["labels"]["disk"] = json!("ssd")
        }),
        node("n2", "4", plain),
    ]);
    let select = |pod: &mut Value| pod["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    assert_eq!(decide(&mut scheduler, pod("a", "1", select)).unwrap(), "n1");
    let port = |pod: &mut Value| {
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    };
    let first = decide(&mut scheduler, pod("b", "1", port)).unwrap();
    assert_ne!(first, decide(&mut scheduler, pod("c", "1", port)).unwrap());
    let message = decide(&mut scheduler, pod("d", "1", port)).unwrap_err();
    assert!(
        message.contains("2 node(s) didn't have free ports for the requested pod ports"),
        "{message}"
    );
}

#[test]
fn anti_affinity_is_symmetric() {
    let apart = |pod: &mut Value| {
        pod["spec"]["affinity"] = json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }],
        }});
    };
    let mut scheduler = cluster(&[node("n1", "4", plain), node("n2", "4", plain)]);
    let first = decide(&mut scheduler, pod("a", "1", apart)).unwrap();
    let second = decide(&mut scheduler, pod("b", "1", plain)).unwrap();
    assert_ne!(first, second, "the placed pod keeps the plain one away");
    let message = decide(&mut scheduler, pod("c", "1", apart)).unwrap_err();
    assert!(
        message.contains("2 node(s) didn't match pod anti-affinity rules"),
        "{message}"
    );
}

#[test]
fn required_affinity_lets_the_first_of_its_kind_in() {
    let together = |pod: &mut Value| {
        pod["spec"]["affinity"] = json!({"podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }],
        }});
    };
    let mut scheduler = cluster(&[node("n1", "4", plain), node("n2", "4", plain)]);
    let first = decide(&mut scheduler, pod("a", "1", together)).unwrap();
    for name in ["b", "c", "d"] {
        assert_eq!(
            decide(&mut scheduler, pod(name, "1", together)).unwrap(),
            first
        );
    }
    assert!(
        decide(&mut scheduler, pod("e", "1", together)).is_err(),
        "that node is full"
    );
}

#[test]
fn hard_spread_keeps_the_skew() {
    let spread = |pod: &mut Value| {
        pod["spec"]["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]);
    };
    let mut scheduler = cluster(&[node("n1", "8", plain), node("n2", "1", plain)]);
    for name in ["a", "b", "c"] {
        decide(&mut scheduler, pod(name, "1", spread)).unwrap();
    }
    let message = decide(&mut scheduler, pod("d", "1", spread)).unwrap_err();
    assert!(
        message.contains("1 node(s) didn't match pod topology spread constraints"),
        "{message}"
    );
}

#[test]
fn the_less_important_make_room() {
    let priority = |priority: i32| move |pod: &mut Value| pod["spec"]["priority"] = json!(priority);
    let mut scheduler = cluster(&[node("n1", "2", plain), node("n2", "2", plain)]);
    scheduler.pod_upserted(bound(&pod("low", "2", priority(1)), "n1"), 0);
    scheduler.pod_upserted(bound(&pod("mid", "2", priority(5)), "n2"), 0);
    scheduler.pod_upserted(pod("high", "1", priority(10)), 0);
    let Decision::Unschedulable {
        nominated,
        victims,
        message,
        ..
    } = scheduler.schedule(0, 1).remove(0)
    else {
        panic!("no room yet");
    };
    assert_eq!(nominated.as_deref(), Some("n1"), "the lowest victim");
    assert_eq!(victims.len(), 1);
    assert_eq!(victims[0].name, "low");
    assert_eq!(message, "0/2 nodes are available: 2 Insufficient cpu.");
    scheduler.pod_removed("low", 100);
    scheduler.pod_upserted(pod("thief", "2", priority(1)), 100);
    assert!(
        matches!(
            &scheduler.schedule(100, 1)[0],
            Decision::Unschedulable { .. }
        ),
        "room is kept"
    );
    let decisions = scheduler.schedule(2_000, 10);
    assert!(
        matches!(&decisions[0], Decision::Bind { pod, node } if pod.name == "high" && node == "n1")
    );
}

/// The same pods one by one in a scheduler that keeps its classes, and each in a new scheduler that has none.
#[test]
fn cached_classes_decide_as_a_fresh_look_does() {
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut nodes = Vec::new();
    for idx in 0..12 {
        let (zone, cpu, tainted) = (random(3), 2 + random(6), random(5) == 0);
        nodes.push(node(&format!("n{idx}"), &cpu.to_string(), |node| {
            node["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!(format!("z{zone}"));
            if tainted {
                node["spec"]["taints"] = json!([{"key": "k", "effect": "PreferNoSchedule"}]);
            }
        }));
    }
    let mut cached = cluster(&nodes);
    let mut placed: Vec<Arc<Pod>> = Vec::new();
    for idx in 0..80 {
        let (app, kind) = (random(4), random(4));
        let new = pod(
            &format!("p{idx}"),
            ["100m", "500m", "1"][random(3) as usize],
            |pod| {
                pod["metadata"]["labels"]["app"] = json!(format!("a{app}"));
                pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
                "kind": "ReplicaSet", "name": "r", "uid": format!("r{app}"), "controller": true}]);
                let selector = json!({"matchLabels": {"app": format!("a{app}")}});
                if kind == 1 {
                    pod["spec"]["affinity"] = json!({"podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50,
                        "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone",
                            "labelSelector": selector}}]}});
                } else if kind == 2 {
                    pod["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 2,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]);
                }
            },
        );
        let mut fresh = cluster(&nodes);
        placed
            .iter()
            .for_each(|pod| fresh.pod_upserted(pod.clone(), 0));
        let (from_cache, from_fresh) = (
            decide(&mut cached, new.clone()),
            decide(&mut fresh, new.clone()),
        );
        match (from_cache, from_fresh) {
            // Equals take turns, so the node may differ: but only among equals, which a third look confirms.
            (Ok(node), Ok(_)) => {
                placed.push(bound(&new, &node));
                cached.pod_upserted(bound(&new, &node), 0);
            }
            (Err(left), Err(right)) => {
                assert_eq!(left, right);
                cached.pod_removed(&format!("p{idx}"), 0);
            }
            (left, right) => panic!("pod {idx}: {left:?} against {right:?}"),
        }
    }
    assert!(placed.len() > 20);
}
