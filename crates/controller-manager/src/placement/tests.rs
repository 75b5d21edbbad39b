//! Whose the fields are that decisions change.

use kontiki_state::{Command, Key, Proposal, State};

use super::*;

/// A state with one pod that a controller made.
fn with_pod() -> (State, PodRef) {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}});
    let kind = by_resource("pods").unwrap();
    Writer::new(kind, "kube-controller-manager", "2026-01-01T00:00:00Z").update(None, &mut pod);
    let op = Op::Create {
        key: Key::new("pods", "default", "web"),
        header: header_of(kind, &pod),
        bytes: stored::canonical(pod),
    };
    let mut state = State::new();
    apply(&mut state, 1, vec![op]);
    let pod = PodRef {
        namespace: "default".into(),
        name: "web".into(),
        uid: "u1".into(),
    };
    (state, pod)
}

fn apply(state: &mut State, index: u64, ops: Vec<Op>) {
    let proposals = vec![Proposal::batch(ops)];
    let applied = state.apply(index, 1, &Command::Batch { proposals });
    assert!(applied.results[0].iter().all(|result| result.is_done()));
}

/// (manager, subresource) of each entry.
fn managers(state: &State) -> Vec<(String, String)> {
    let pod = state.snapshot().find("pods", "default", "web").unwrap();
    let pod = pod.value();
    let entries = pod["metadata"]["managedFields"].as_array().unwrap();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let told = entries
        .iter()
        .map(|entry| (text(entry, "manager"), text(entry, "subresource")));
    told.collect()
}

#[test]
fn a_condition_is_the_schedulers_and_a_binding_is_nobodys() {
    let (mut state, pod) = with_pod();
    let creator = ("kube-controller-manager".to_owned(), String::new());
    let waits = Decision::Unschedulable {
        pod: pod.clone(),
        message: "0/1 nodes are available".into(),
        nominated: None,
        victims: Vec::new(),
    };
    let ops = place(&state.snapshot(), &waits, 1_767_225_600_000).ops;
    apply(&mut state, 2, ops);
    let scheduler = (FIELD_MANAGER.to_owned(), "status".to_owned());
    assert_eq!(managers(&state), [creator.clone(), scheduler]);
    let bind = Decision::Bind {
        pod,
        node: "n1".into(),
    };
    let ops = place(&state.snapshot(), &bind, 1_767_225_601_000).ops;
    let before = managers(&state);
    apply(&mut state, 3, ops);
    assert_eq!(managers(&state), before);
    let pod = state.snapshot().find("pods", "default", "web").unwrap();
    assert_eq!(pod.header.field("spec.nodeName"), Some("n1"));
}

#[test]
fn a_bound_pod_shows_the_zone_of_its_node() {
    let (mut state, pod) = with_pod();
    let zone = "topology.kubernetes.io/zone";
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {zone: "z1"}}});
    let kind = by_resource("nodes").unwrap();
    let op = Op::Create {
        key: Key::new("nodes", "", "n1"),
        header: header_of(kind, &node),
        bytes: stored::canonical(node),
    };
    apply(&mut state, 2, vec![op]);
    let bind = Decision::Bind {
        pod,
        node: "n1".into(),
    };
    let ops = place(&state.snapshot(), &bind, 1_767_225_601_000).ops;
    apply(&mut state, 3, ops);
    let pod = state.snapshot().find("pods", "default", "web").unwrap();
    assert_eq!(pod.value()["metadata"]["labels"], json!({zone: "z1"}));
    assert_eq!(pod.header.labels.lookup(zone), Some("z1"));
}
