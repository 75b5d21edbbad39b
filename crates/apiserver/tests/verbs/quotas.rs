//! Quotas hold whatever comes at once: charged in the write's own transaction.

use kontiki_api::Subresource;
use kontiki_apiserver::admission::{ControllerWrite, Operation as Op};
use kontiki_apiserver::testing::{self, Memory, admin, collection, create, object, pod};
use kontiki_apiserver::{ApiServer, Body, Operation, Outcome, WriteOptions};
use kontiki_base::status::{Reason, Status};
use kontiki_base::task::{TaskKind, spawn};
use serde_json::{Value, json};

use super::{get, post, put};

const QUOTAS: &str = "resourcequotas";

/// A quota that has been counted.
pub(crate) async fn quota(server: &ApiServer, hard: Value) {
    let spec = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    let mut quota = create(server, QUOTAS, "default", spec).await;
    let names = hard.as_object().unwrap().keys();
    let used: serde_json::Map<String, Value> = names.map(|it| (it.clone(), json!("0"))).collect();
    quota["status"] = json!({"hard": hard, "used": used});
    let status = object(QUOTAS, "default", "q").with(Subresource::Status);
    put(server, &status, quota).await.unwrap();
}

async fn used(server: &ApiServer) -> Value {
    let quota = get(server, &object(QUOTAS, "default", "q")).await.unwrap();
    quota["status"]["used"].clone()
}

fn is_exceeded(status: &Status) -> bool {
    status.reason == Reason::Forbidden && status.message.contains("is forbidden: exceeded quota: q")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_creates_at_two_replicas_never_exceed_it() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    quota(&server, json!({"pods": "10", "count/pods": "50"})).await;
    let other = ApiServer::new(memory, server.options().clone());
    let creates = (0..100).map(|number| {
        let server = if number % 2 == 0 {
            server.clone()
        } else {
            other.clone()
        };
        spawn(TaskKind::Request, async move {
            let pods = collection("pods", "default");
            post(&server, &pods, pod(&format!("p{number}")))
                .await
                .map(drop)
        })
    });
    let mut n_made = 0;
    for create in creates.collect::<Vec<_>>() {
        match create.await.unwrap() {
            Ok(()) => n_made += 1,
            Err(status) => assert!(is_exceeded(&status), "{status}"),
        }
    }
    assert_eq!(n_made, 10);
    assert_eq!(server.store().snapshot().count("pods"), 10);
    assert_eq!(
        used(&server).await,
        json!({"pods": "10", "count/pods": "10"})
    );
}

#[tokio::test]
async fn the_refusal_is_upstreams() {
    let server = testing::server().await;
    quota(&server, json!({"configmaps": "0", "requests.cpu": "1"})).await;
    let maps = collection("configmaps", "default");
    let map = json!({"metadata": {"generateName": "m-"}});
    let status = post(&server, &maps, map).await.unwrap_err();
    let (head, tail) = status.message.split_once(" is forbidden: ").unwrap();
    assert!(head.starts_with("configmaps \"m-"), "{head}");
    assert_eq!(
        tail,
        "exceeded quota: q, requested: configmaps=1, used: configmaps=0, limited: configmaps=0"
    );
    let status = post(&server, &collection("pods", "default"), pod("p"))
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: app"
    );
}

#[tokio::test]
async fn who_is_overtaken_counts_again() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    quota(&server, json!({"pods": "1"})).await;
    let snapshot = server.store().snapshot();
    let stored = snapshot.find(QUOTAS, "default", "q").unwrap();
    let mut taken = stored.value();
    taken["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    taken["status"]["used"]["pods"] = json!("1");
    let update = kontiki_state::Op::Update {
        key: stored.key.clone(),
        pre: kontiki_state::Precondition::NONE,
        header: stored.header.clone(),
        bytes: kontiki_api::stored::canonical(taken),
    };
    memory.overtake_next(kontiki_state::Proposal::batch(vec![update]));
    let status = post(&server, &collection("pods", "default"), pod("p"))
        .await
        .unwrap_err();
    assert!(is_exceeded(&status), "{status}");
    assert_eq!(server.store().snapshot().count("pods"), 0);
}

#[tokio::test]
async fn updates_and_dry_runs_are_judged_and_only_writes_charged() {
    let server = testing::server().await;
    quota(&server, json!({"services": "2", "services.nodeports": "1"})).await;
    let services = collection("services", "default");
    let of = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}});
    let made = post(&server, &services, of("a", "ClusterIP"))
        .await
        .unwrap();
    let mut service = made.object.value();
    service["spec"]["type"] = json!("NodePort");
    put(&server, &object("services", "default", "a"), service)
        .await
        .unwrap();
    let expected = json!({"services": "1", "services.nodeports": "1"});
    assert_eq!(used(&server).await, expected);
    let dry = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    let attempt = |kind: &str| Body::from(of("b", kind));
    server
        .create(&admin(), &services, attempt("ClusterIP"), &dry)
        .await
        .unwrap();
    assert_eq!(used(&server).await, expected);
    let refused = server
        .create(&admin(), &services, attempt("NodePort"), &dry)
        .await;
    assert!(is_exceeded(&refused.unwrap_err()));
}

#[tokio::test]
async fn a_batch_is_charged_as_a_whole() {
    let server = testing::server().await;
    quota(&server, json!({"pods": "2"})).await;
    let batch = |names: &[&str]| -> Vec<Operation> {
        let create = |name: &&str| Operation::Create {
            target: collection("pods", "default"),
            body: Body::from(pod(name)),
            options: WriteOptions::default(),
        };
        names.iter().map(create).collect()
    };
    let outcomes = server
        .transact(&admin(), batch(&["a", "b", "c"]))
        .await
        .unwrap();
    assert!(
        matches!(&outcomes[2], Outcome::Failed(status) if is_exceeded(status)),
        "{outcomes:?}"
    );
    assert_eq!(used(&server).await, json!({"pods": "0"}));
    let outcomes = server.transact(&admin(), batch(&["a", "b"])).await.unwrap();
    assert!(
        matches!(outcomes[..], [Outcome::Done(_), Outcome::Done(_)]),
        "{outcomes:?}"
    );
    assert_eq!(used(&server).await, json!({"pods": "2"}));
}

#[tokio::test]
async fn writes_of_one_plan_are_charged_together() {
    let server = testing::server().await;
    quota(&server, json!({"pods": "2"})).await;
    let mut ops = Vec::new();
    let mut admitted = Vec::new();
    for name in ["a", "b", "c"] {
        let write = ControllerWrite {
            controller: "replicaset-controller",
            operation: Op::Create,
            kind: kontiki_api::by_resource("pods").unwrap().clone(),
            subresource: None,
            namespace: "default",
            name,
            old: None,
        };
        assert!(server.admits(&write));
        let mut object = pod(name);
        admitted.push(
            server
                .admit_controller(&write, Some(&mut object), &mut ops)
                .await
                .is_ok(),
        );
    }
    assert_eq!((admitted, ops.len()), (vec![true, true, false], 1));
    let kontiki_state::Op::Update { bytes, .. } = &ops[0] else {
        panic!("{ops:?}")
    };
    let quota: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(quota["status"]["used"], json!({"pods": "2"}));
}
