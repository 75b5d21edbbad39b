//! Sessions end to end: an agent's messages in, the store and the agent's answers out.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use kontiki_apiserver::{LogRequest, NodeLiveness, NodeTunnel};
use kontiki_consensus::ProposeError;
use kontiki_proto::node::session_request::Message as ToServer;
use kontiki_proto::node::session_response::Message as ToAgent;
use kontiki_proto::node::tunnel_request::Message as ToTunnel;
use kontiki_proto::node::{
    Heartbeat, PodStatusUpdate, StatusBatch, TunnelEnd, TunnelHello, TunnelRequest,
};
use kontiki_state::{Op, Precondition};
use serde_json::{Value, json};
use tonic::Code;

use crate::fake::{Agent, World, names, node_status};
use crate::heartbeats::report_to;
use crate::write::{kind, update};

fn status(name: &str, phase: &str, terminated: bool) -> StatusBatch {
    let status = json!({"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]});
    let update = PodStatusUpdate {
        namespace: "default".into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
        status_json: Bytes::from(status.to_string()),
        terminated,
    };
    StatusBatch {
        pods: vec![update],
        ..StatusBatch::default()
    }
}

fn pod_on(node: &str, config_map: &str) -> Value {
    let volumes = json!([{"name": "v", "configMap": {"name": config_map}}]);
    let spec = json!({"nodeName": node, "containers": [{"name": "c"}], "volumes": volumes});
    json!({"spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}})
}

async fn acknowledged(agent: &mut Agent) -> u64 {
    loop {
        match agent.next().await.unwrap() {
            ToAgent::StatusAck(ack) => return ack.n_batches,
            ToAgent::Assignment(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_first_session_makes_the_node_and_later_ones_keep_its_spec() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (_agent, complete) = Agent::start(&dispatcher, "n1").await;
    assert_eq!(names(&complete), ["nodes/n1"]);
    let node = world.get("nodes", "", "n1").unwrap().value();
    assert_eq!(node["spec"], json!({}), "an agent sets no spec");
    assert_eq!(node["metadata"]["labels"], json!({"zone": "a"}));
    assert_eq!(
        node["status"]["addresses"],
        json!([{"type": "InternalIP", "address": "10.0.0.7"}])
    );
    assert!(node["status"]["conditions"][0]["lastTransitionTime"].is_string());
    world.put(
        "nodes",
        "",
        "n1",
        json!({"spec": {"podCIDR": "10.244.1.0/24"}}),
    );
    let revision = world.store.revision();
    let (_again, complete) = Agent::start(&dispatcher, "n1").await;
    assert_eq!(
        world.store.revision(),
        revision,
        "nothing new is not proposed"
    );
    let route: Value = serde_json::from_slice(&complete.changes[0].object_json).unwrap();
    assert_eq!(route["spec"]["podCIDR"], "10.244.1.0/24");
    assert!(
        route["status"].get("conditions").is_none(),
        "routes need no conditions"
    );
}

#[tokio::test]
async fn a_pods_life_from_binding_to_removal() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut agent, _) = Agent::start(&dispatcher, "n1").await;
    world.put("pods", "default", "web", pod_on("n1", "conf"));
    let first = agent.assignment().await;
    assert_eq!((first.sequence, first.complete), (2, false));
    assert_eq!(names(&first), ["namespaces/default", "pods/web"]);
    world.put("pods", "default", "elsewhere", pod_on("n2", "conf"));
    world.put("configmaps", "default", "other", json!({"data": {}}));
    world.put("configmaps", "default", "conf", json!({"data": {"a": "1"}}));
    assert_eq!(
        names(&agent.assignment().await),
        ["configmaps/conf"],
        "named before it was there"
    );

    agent
        .send(ToServer::Statuses(status("web", "Running", false)))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 1);
    let pod = world.get("pods", "default", "web").unwrap();
    assert_eq!(pod.header.field("status.phase"), Some("Running"));
    assert_eq!(
        pod.value()["status"]["qosClass"],
        "BestEffort",
        "what is not the agent's stays"
    );

    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    world.put("pods", "default", "web", deleted);
    agent
        .send(ToServer::Statuses(status("web", "Succeeded", true)))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 2);
    assert!(world.get("pods", "default", "web").is_none());
    agent
        .expect(&["-pods/web", "-configmaps/conf", "-namespaces/default"])
        .await;
}

#[tokio::test]
async fn what_a_node_says_is_noted_as_its_kubelets() {
    let owned = |object: &Value, subresource: &str| {
        let entries = object["metadata"]["managedFields"].as_array().cloned();
        let mut entries = entries.unwrap_or_default().into_iter().filter(|entry| {
            entry["manager"] == "kubelet"
                && entry["subresource"].as_str().unwrap_or_default() == subresource
        });
        entries.next().unwrap_or_default()["fieldsV1"].take()
    };
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut agent, _) = Agent::start(&dispatcher, "n1").await;
    let node = world.get("nodes", "", "n1").unwrap().value();
    assert_eq!(
        owned(&node, ""),
        json!({"f:metadata": {"f:labels": {".": {}, "f:zone": {}}}}),
        "the first status has no owner, as upstream's"
    );
    let creator = json!([{"manager": "kube-controller-manager", "operation": "Update",
        "apiVersion": "v1", "fieldsType": "FieldsV1", "time": "2026-01-01T00:00:00Z",
        "fieldsV1": {"f:spec": {"f:nodeName": {}}}}]);
    let mut pod = pod_on("n1", "c");
    world.put("pods", "default", "untracked", pod.clone());
    pod["metadata"] = json!({"managedFields": creator});
    world.put("pods", "default", "web", pod);
    for name in ["web", "untracked"] {
        agent
            .send(ToServer::Statuses(status(name, "Running", false)))
            .await;
    }
    while acknowledged(&mut agent).await < 2 {}
    let web = world.get("pods", "default", "web").unwrap().value();
    assert_eq!(web["metadata"]["managedFields"][0], creator[0]);
    let ready = &owned(&web, "status")["f:status"]["f:conditions"]["k:{\"type\":\"Ready\"}"];
    assert_eq!(ready, &json!({".": {}, "f:status": {}, "f:type": {}}));
    assert_eq!(owned(&web, "status")["f:status"]["f:phase"], json!({}));
    let untracked = world.get("pods", "default", "untracked").unwrap().value();
    assert_eq!(untracked["status"]["phase"], "Running");
    assert!(untracked["metadata"].get("managedFields").is_none());
    let revision = world.store.revision();
    agent
        .send(ToServer::Statuses(status("web", "Running", false)))
        .await;
    while acknowledged(&mut agent).await < 3 {}
    assert_eq!(world.store.revision(), revision, "no news, no new time");
}

#[tokio::test]
async fn a_terminated_pod_stays_while_it_is_not_deleted_or_has_finalizers() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut agent, _) = Agent::start(&dispatcher, "n1").await;
    world.put("pods", "default", "job", pod_on("n1", "c"));
    agent
        .send(ToServer::Statuses(status("job", "Succeeded", true)))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 1);
    let job = world.get("pods", "default", "job").unwrap();
    assert_eq!(job.header.field("status.phase"), Some("Succeeded"));
    agent
        .send(ToServer::Statuses(status("job", "Running", false)))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 2);
    let same = world.get("pods", "default", "job").unwrap();
    assert_eq!(same.revision, job.revision, "what ended stays ended");
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 30, "finalizers": ["example.com/f"]}});
    world.put("pods", "default", "job", deleted);
    agent
        .send(ToServer::Statuses(status("job", "Succeeded", true)))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 3);
    let held = world.get("pods", "default", "job").unwrap().value();
    assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 0);
}

#[tokio::test]
async fn statuses_survive_conflicts_and_elections_but_never_cross_nodes() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut agent, _) = Agent::start(&dispatcher, "n1").await;
    world.put("pods", "default", "web", pod_on("n1", "c"));
    world.put("pods", "default", "foreign", pod_on("n2", "c"));
    let pod = world.get("pods", "default", "web").unwrap();
    let mut labelled = pod.value();
    labelled["metadata"]["labels"] = json!({"by": "someone"});
    *world.before.lock() = Some(update(kind("pods"), &pod, labelled));
    world.errors.lock().push_back(ProposeError::NoLeader);
    agent
        .send(ToServer::Statuses(status("web", "Running", false)))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 1);
    let pod = world.get("pods", "default", "web").unwrap();
    assert_eq!(pod.header.field("status.phase"), Some("Running"));
    assert_eq!(
        pod.header.label("by"),
        Some("someone"),
        "the other writer's change stays"
    );

    let revision = world.store.revision();
    let mut reborn = status("web", "Failed", true);
    reborn.pods[0].uid = "another".into();
    agent.send(ToServer::Statuses(reborn)).await;
    agent
        .send(ToServer::Statuses(status("foreign", "Failed", true)))
        .await;
    agent
        .send(ToServer::Statuses(status("gone", "Failed", true)))
        .await;
    while acknowledged(&mut agent).await < 4 {}
    assert_eq!(world.store.revision(), revision);
}

#[tokio::test]
async fn what_all_nodes_need_goes_to_all_and_conditions_do_not() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut one, _) = Agent::start(&dispatcher, "n1").await;
    let (mut two, complete) = Agent::start(&dispatcher, "n2").await;
    assert_eq!(names(&complete), ["nodes/n1", "nodes/n2"]);
    one.expect(&["nodes/n2"]).await;
    let lost = json!([{"type": "Ready", "status": "Unknown"}]);
    let addresses = json!([{"type": "InternalIP", "address": "10.0.0.7"}]);
    world.put(
        "nodes",
        "",
        "n1",
        json!({"status": {"conditions": lost, "addresses": addresses}}),
    );
    world.put("services", "default", "web", json!({"spec": {}}));
    assert_eq!(names(&one.assignment().await), ["services/web"]);
    assert_eq!(names(&two.assignment().await), ["services/web"]);
    let key = world.get("services", "default", "web").unwrap().key.clone();
    world.op(Op::Delete {
        key,
        pre: Precondition::NONE,
    });
    assert_eq!(names(&one.assignment().await), ["-services/web"]);
}

#[tokio::test]
async fn a_heartbeat_brings_back_a_node_that_was_thought_lost() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut agent, _) = Agent::start(&dispatcher, "n1").await;
    assert!(dispatcher.last_heartbeat_unix_ms("n1").is_some());
    let mut lost = world.get("nodes", "", "n1").unwrap().value()["status"].clone();
    lost["conditions"][0]["status"] = "Unknown".into();
    world.put("nodes", "", "n1", json!({"status": lost}));
    agent
        .send(ToServer::Heartbeat(Heartbeat { sequence: 1 }))
        .await;
    // The ack of a later batch shows that what came before it is committed.
    agent.send(ToServer::Statuses(StatusBatch::default())).await;
    assert_eq!(acknowledged(&mut agent).await, 1);
    let node = world.get("nodes", "", "n1").unwrap().value();
    assert_eq!(node["status"]["conditions"][0]["status"], "True");
    let node_status_json = Some(Bytes::from(node_status("False").to_string()));
    let batch = StatusBatch {
        node_status_json,
        ..StatusBatch::default()
    };
    agent.send(ToServer::Statuses(batch)).await;
    assert_eq!(acknowledged(&mut agent).await, 2);
    let node = world.get("nodes", "", "n1").unwrap().value();
    assert_eq!(node["status"]["conditions"][0]["status"], "False");
}

#[tokio::test]
async fn events_become_objects_of_their_namespace() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let (mut agent, _) = Agent::start(&dispatcher, "n1").await;
    let event = |namespace: &str| {
        let about = json!({"kind": "Pod", "name": "web", "namespace": namespace});
        Bytes::from(
            json!({"involvedObject": about, "reason": "Started", "metadata": {}}).to_string(),
        )
    };
    let events_json = vec![event("default"), event("missing"), Bytes::from("garbage")];
    agent
        .send(ToServer::Statuses(StatusBatch {
            events_json,
            ..StatusBatch::default()
        }))
        .await;
    assert_eq!(acknowledged(&mut agent).await, 1);
    let snapshot = world.store.snapshot();
    let events: Vec<_> = snapshot.list("events", None, None).collect();
    assert_eq!(events.len(), 1);
    assert!(events[0].key.name.starts_with("web."));
    assert_eq!(events[0].value()["source"]["host"], "n1");
}

#[tokio::test]
async fn sessions_are_the_certified_nodes_own_and_only_one() {
    let world = World::new();
    let dispatcher = world.replica(1);
    let mut liar = Agent::hello(&dispatcher, "n1", "n2").await;
    assert_eq!(
        liar.next().await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let (mut first, _) = Agent::start(&dispatcher, "n1").await;
    let (mut second, _) = Agent::start(&dispatcher, "n1").await;
    assert_eq!(first.next().await.unwrap_err().code(), Code::Aborted);
    assert_eq!(dispatcher.n_sessions(), 1);
    dispatcher.shutdown();
    assert!(matches!(second.next().await, Ok(ToAgent::Redirect(_))));
    let mut late = Agent::hello(&dispatcher, "n1", "n1").await;
    assert_eq!(late.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_leader_hears_of_heartbeats_on_other_replicas() {
    let world = World::new();
    let (leader, follower) = (world.replica(1), world.replica(2));
    let (_agent, _) = Agent::start(&follower, "n1").await;
    assert_eq!(leader.last_heartbeat_unix_ms("n1"), None);
    report_to(&follower.0, 1).await;
    assert!(leader.last_heartbeat_unix_ms("n1").is_some());
}

#[tokio::test]
async fn logs_are_found_on_whichever_replica_has_the_session() {
    let world = World::new();
    let (near, far) = (world.replica(1), world.replica(2));
    let (mut agent, _) = Agent::start(&far, "n1").await;
    let reader = kontiki_base::task::spawn(
        kontiki_base::task::TaskKind::Request,
        near.logs(
            "n1",
            LogRequest {
                pod_uid: "u".into(),
                ..LogRequest::default()
            },
        ),
    );
    let ToAgent::OpenTunnel(open) = agent.next().await.unwrap() else {
        panic!("no tunnel")
    };
    let end = TunnelEnd {
        error: "container is gone".into(),
        code: 404,
    };
    let messages = [
        ToTunnel::Data(Bytes::from_static(b"hello\n")),
        ToTunnel::End(end),
    ];
    let request = |message| {
        Ok(TunnelRequest {
            message: Some(message),
        })
    };
    let incoming = stream::iter(messages.map(request)).boxed();
    let hello = TunnelHello {
        tunnel_id: open.tunnel_id,
        node_name: "n1".into(),
    };
    assert_eq!(open.server_endpoint, "s1:6443", "the asker's");
    let mut to_agent = near.0.tunnels.accept("n1", &hello, incoming).unwrap();
    let mut log = reader.await.unwrap().unwrap();
    assert_eq!(log.next().await.unwrap().unwrap(), "hello\n");
    assert_eq!(
        log.next().await.unwrap().unwrap_err().message,
        "container is gone"
    );
    drop(log);
    assert!(
        to_agent.recv().await.is_none(),
        "the agent learns that nobody reads any more"
    );
    let nowhere = near.logs("n9", LogRequest::default()).await;
    assert!(nowhere.err().unwrap().message.contains("no session"));
}
