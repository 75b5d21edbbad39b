//! Atomic batches: all or nothing, races, addresses, dry runs.

use kontiki_apiserver::testing::{self, Memory, admin, collection, create, jane, object, pod};
use kontiki_apiserver::{ApiServer, Body, DeleteOptions, Operation, Outcome, WriteOptions};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::{get, revision};

fn creation(resource: &str, value: Value) -> Operation {
    let namespace = if resource == "namespaces" {
        ""
    } else {
        "default"
    };
    Operation::Create {
        target: collection(resource, namespace),
        body: Body::from(value),
        options: WriteOptions::default(),
    }
}

fn replacement(resource: &str, name: &str, value: Value) -> Operation {
    Operation::Update {
        target: object(resource, "default", name),
        body: Body::from(value),
        options: WriteOptions::default(),
    }
}

fn deletion(resource: &str, name: &str) -> Operation {
    Operation::Delete {
        target: object(resource, "default", name),
        options: DeleteOptions::default(),
    }
}

fn dry(mut operation: Operation) -> Operation {
    match &mut operation {
        Operation::Create { options, .. } | Operation::Update { options, .. } => {
            options.dry_run = true;
        }
        Operation::Delete { options, .. } => options.dry_run = true,
    }
    operation
}

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": value}})
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]}})
}

/// The objects of a batch that is done.
async fn done(server: &ApiServer, operations: Vec<Operation>) -> Vec<Value> {
    let outcomes = server.transact(&admin(), operations).await.unwrap();
    let value = |outcome: Outcome| match outcome {
        Outcome::Done(written) => written.object.value(),
        other => panic!("{other:?}"),
    };
    outcomes.into_iter().map(value).collect()
}

/// The operation that failed, all others being aborted.
async fn failure(server: &ApiServer, operations: Vec<Operation>) -> (usize, Status) {
    let outcomes = server.transact(&admin(), operations).await.unwrap();
    let mut failed = None;
    for (idx, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Outcome::Failed(status) => assert!(failed.replace((idx, status)).is_none()),
            Outcome::Aborted => {}
            Outcome::Done(written) => panic!("operations[{idx}] is done: {written:?}"),
        }
    }
    failed.unwrap()
}

#[tokio::test]
async fn a_batch_creates_updates_and_deletes_at_consecutive_revisions() {
    let server = testing::server().await;
    create(&server, "configmaps", "default", map("old", "1")).await;
    create(&server, "configmaps", "default", map("kept", "1")).await;
    let team = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    let mut inside = creation("configmaps", map("in", "1"));
    if let Operation::Create { target, .. } = &mut inside {
        target.namespace = "team".into();
    }
    let values = done(
        &server,
        vec![
            creation("namespaces", team),
            inside,
            replacement("configmaps", "kept", map("kept", "2")),
            deletion("configmaps", "old"),
        ],
    )
    .await;
    let first = revision(&values[0]);
    assert_eq!(
        revision(&values[1]),
        first + 1,
        "in a namespace of the same batch"
    );
    assert_eq!(revision(&values[2]), first + 2);
    let kept = get(&server, &object("configmaps", "default", "kept"))
        .await
        .unwrap();
    assert_eq!(kept, values[2]);
    let inside = get(&server, &object("configmaps", "team", "in"))
        .await
        .unwrap();
    assert_eq!(inside, values[1]);
    assert_eq!(inside["metadata"]["managedFields"][0]["manager"], "kubectl");
    let gone = get(&server, &object("configmaps", "default", "old")).await;
    assert_eq!(gone.unwrap_err().reason, Reason::NotFound);
}

#[tokio::test]
async fn one_failure_is_everyones() {
    let server = testing::server().await;
    let stored = create(&server, "configmaps", "default", map("taken", "1")).await;
    let mut stale = map("taken", "2");
    stale["metadata"]["resourceVersion"] = json!("1");
    let mut invalid = pod("web");
    invalid["spec"]["containers"] = json!([]);
    let mut elsewhere = creation("configmaps", map("x", "1"));
    if let Operation::Create { target, .. } = &mut elsewhere {
        target.namespace = "nowhere".into();
    }
    for (bad, reason) in [
        (
            creation("configmaps", map("taken", "2")),
            Reason::AlreadyExists,
        ),
        (replacement("configmaps", "taken", stale), Reason::Conflict),
        (
            replacement("configmaps", "absent", map("absent", "1")),
            Reason::NotFound,
        ),
        (creation("pods", invalid), Reason::Invalid),
        (deletion("configmaps", "absent"), Reason::NotFound),
        (elsewhere, Reason::NotFound),
    ] {
        for operation in [bad.clone(), dry(bad)] {
            let is_dry = matches!(&operation, Operation::Create { options, .. } if options.dry_run)
                || matches!(&operation, Operation::Update { options, .. } if options.dry_run)
                || matches!(&operation, Operation::Delete { options, .. } if options.dry_run);
            let good = creation("configmaps", map("good", "1"));
            let good = if is_dry { dry(good) } else { good };
            let (idx, status) = failure(&server, vec![good, operation]).await;
            assert_eq!((idx, status.reason), (1, reason), "{}", status.message);
        }
    }
    let good = get(&server, &object("configmaps", "default", "good")).await;
    assert_eq!(good.unwrap_err().reason, Reason::NotFound);
    let taken = get(&server, &object("configmaps", "default", "taken"))
        .await
        .unwrap();
    assert_eq!(taken, stored);
}

#[tokio::test]
async fn a_lost_race_is_run_again_unless_the_client_named_the_revision() {
    let memory = Memory::default();
    let server = testing::server_over(memory.clone()).await;
    let stored = create(&server, "configmaps", "default", map("a", "1")).await;
    let target = object("configmaps", "default", "a");
    let overtake = |label: &str| testing::overtake(&memory, &target, &stored, label);
    overtake("someone");
    let other = creation("configmaps", map("b", "1"));
    let values = done(
        &server,
        vec![other, replacement("configmaps", "a", map("a", "2"))],
    )
    .await;
    assert_eq!(values[1]["data"]["x"], "2");
    assert_eq!(
        revision(&values[0]),
        revision(&stored) + 2,
        "after the other's"
    );

    let mut pinned = map("a", "3");
    pinned["metadata"]["resourceVersion"] = values[1]["metadata"]["resourceVersion"].clone();
    overtake("someone else");
    let other = creation("configmaps", map("c", "1"));
    let update = replacement("configmaps", "a", pinned);
    let (idx, status) = failure(&server, vec![other, update]).await;
    assert_eq!(
        (idx, status.reason),
        (1, Reason::Conflict),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn who_may_not_do_one_does_none() {
    let server = testing::server().await;
    let operations = vec![creation("configmaps", map("a", "1"))];
    let outcomes = server.transact(&jane(), operations).await.unwrap();
    assert!(
        matches!(&outcomes[..], [Outcome::Failed(status)] if status.reason == Reason::Forbidden)
    );
}

#[tokio::test]
async fn what_no_batch_may_say_is_refused_as_a_whole() {
    let server = testing::server().await;
    let same = vec![
        creation("configmaps", map("a", "1")),
        deletion("configmaps", "b"),
        replacement("configmaps", "a", map("a", "2")),
    ];
    let status = server.transact(&admin(), same).await.unwrap_err();
    assert_eq!(status.reason, Reason::BadRequest);
    assert!(
        status
            .message
            .starts_with("operations[2]: configmaps/default/a is written by operations[0] already"),
        "{}",
        status.message
    );
    let mixed = vec![
        creation("configmaps", map("a", "1")),
        dry(creation("configmaps", map("b", "1"))),
    ];
    let status = server.transact(&admin(), mixed).await.unwrap_err();
    assert!(
        status
            .message
            .starts_with("operations[1].options.validate_only: ")
    );
    let large: Vec<Operation> = (0..10)
        .map(|n| creation("configmaps", map(&format!("m{n}"), &"x".repeat(1 << 20))))
        .collect();
    let status = server.transact(&admin(), large).await.unwrap_err();
    assert_eq!(status.reason, Reason::RequestEntityTooLarge);
    assert!(done(&server, Vec::new()).await.is_empty());
}

#[tokio::test]
async fn addresses_are_claimed_in_the_same_transaction() {
    let server = testing::server().await;
    let values = done(
        &server,
        vec![
            creation("services", service("a")),
            creation("services", service("b")),
        ],
    )
    .await;
    let ip = |value: &Value| value["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert_ne!(ip(&values[0]), ip(&values[1]));
    let claim = |ip: &str| {
        server
            .store()
            .snapshot()
            .find("clusterips.internal", "", ip)
    };
    assert!(claim(&ip(&values[0])).is_some() && claim(&ip(&values[1])).is_some());
    let fixed = |name: &str| {
        let mut service = service(name);
        service["spec"]["clusterIP"] = json!("10.96.0.77");
        creation("services", service)
    };
    let (idx, status) = failure(&server, vec![fixed("c"), fixed("d")]).await;
    assert_eq!((idx, status.reason), (1, Reason::Conflict));
    assert!(
        status
            .message
            .contains("10.96.0.77 is taken by operations[0] of the same batch")
    );
    assert!(claim("10.96.0.77").is_none());
    done(&server, vec![deletion("services", "a")]).await;
    assert!(claim(&ip(&values[0])).is_none(), "given back");
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_writes_nothing() {
    let server = testing::server().await;
    let kept = create(&server, "configmaps", "default", map("kept", "1")).await;
    let before = server.store().revision();
    let values = done(
        &server,
        vec![
            dry(creation("configmaps", map("new", "1"))),
            dry(replacement("configmaps", "kept", map("kept", "2"))),
        ],
    )
    .await;
    assert!(values[0]["metadata"].get("resourceVersion").is_none());
    assert_eq!(values[0]["data"]["x"], "1");
    assert_eq!(values[1]["data"]["x"], "2");
    assert_eq!(revision(&values[1]), revision(&kept));
    assert_eq!(server.store().revision(), before);
}
