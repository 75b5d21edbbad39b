//! The object service as a gRPC client meets it, over a server in memory.

mod custom;
mod gateways;
mod joining;

use futures::StreamExt as _;
use kontiki_apiserver::testing::{self, ADMIN_TOKEN, PLAIN_TOKEN};
use kontiki_proto::api as proto;
use kontiki_proto::api::object_service_client::ObjectServiceClient;
use kontiki_proto::api::watch_response::Type;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::object_routes;

fn pods(name: &str) -> Option<proto::ObjectRef> {
    Some(proto::ObjectRef {
        version: "v1".into(),
        resource: "pods".into(),
        namespace: "default".into(),
        name: name.into(),
        ..proto::ObjectRef::default()
    })
}

fn create(name: &str) -> proto::CreateRequest {
    let json = testing::pod(name).to_string().into();
    proto::CreateRequest {
        r#ref: pods(""),
        json,
        options: None,
    }
}

fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

fn admin<T>(message: T) -> Request<T> {
    by(ADMIN_TOKEN, message)
}

/// Lines of the audit log: user, verb, resource, stage, code.
fn recorded(entries: &mut kontiki_apiserver::audit::Entries) -> Vec<String> {
    let lines = String::from_utf8(entries.ready_lines()).unwrap();
    let told = lines.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        format!(
            "{} {} {} {} {}",
            event["user"]["username"].as_str().unwrap_or("nobody"),
            event["verb"].as_str().unwrap_or_default(),
            event["objectRef"]["resource"].as_str().unwrap_or("-"),
            event["stage"].as_str().unwrap_or_default(),
            event["responseStatus"]["code"],
        )
    });
    told.collect()
}

#[tokio::test]
async fn calls_are_recorded_for_the_audit_log() {
    let rules = serde_json::json!([{"level": "Metadata", "omitStages": ["RequestReceived"]}]);
    let (server, mut entries) = testing::server_audited(rules).await;
    let mut client = ObjectServiceClient::new(object_routes(server).into_axum_router());
    let mut first = admin(create("a"));
    first
        .metadata_mut()
        .insert("audit-id", "mine".parse().unwrap());
    let answer = client.create(first).await.unwrap();
    assert_eq!(answer.metadata().get("audit-id").unwrap(), "mine");
    client.create(by("wrong", create("b"))).await.unwrap_err();
    client
        .create(by(PLAIN_TOKEN, create("b")))
        .await
        .unwrap_err();
    let writes = ["c", "a"].map(|name| proto::BatchOperation {
        operation: Some(proto::batch_operation::Operation::Create(create(name))),
    });
    for atomic in [false, true] {
        let operations = writes.to_vec();
        let batch = proto::BatchRequest { operations, atomic };
        client.batch(admin(batch)).await.unwrap();
    }
    let mut told = recorded(&mut entries);
    // Writes of one batch run at once.
    told[3..5].sort();
    assert_eq!(
        told,
        [
            "kubernetes-admin create pods ResponseComplete 200",
            "nobody post - ResponseStarted 401",
            "jane create pods ResponseComplete 403",
            "kubernetes-admin create pods ResponseComplete 200",
            "kubernetes-admin create pods ResponseComplete 409",
            "kubernetes-admin post - ResponseComplete 200",
            "kubernetes-admin create pods ResponseComplete 409",
            "kubernetes-admin create pods ResponseComplete 409",
            "kubernetes-admin post - ResponseComplete 200",
        ]
    );
    let watch = proto::WatchRequest {
        r#ref: pods(""),
        ..proto::WatchRequest::default()
    };
    let stream = client.watch(admin(watch)).await.unwrap();
    assert_eq!(
        recorded(&mut entries),
        ["kubernetes-admin watch pods ResponseStarted 200"]
    );
    drop((stream, client));
}

#[tokio::test]
async fn objects_are_written_read_watched_and_deleted() {
    let server = object_routes(testing::server().await).into_axum_router();
    let mut client = ObjectServiceClient::new(server);
    let created = client
        .create(admin(create("a")))
        .await
        .unwrap()
        .into_inner()
        .object
        .unwrap();
    assert!(created.revision > 0 && !created.uid.is_empty());
    let get = proto::GetRequest {
        r#ref: pods("a"),
        allow_stale: false,
    };
    let got = client
        .get(admin(get))
        .await
        .unwrap()
        .into_inner()
        .object
        .unwrap();
    assert_eq!(got.json, created.json);

    let watch = proto::WatchRequest {
        r#ref: pods(""),
        ..proto::WatchRequest::default()
    };
    let mut events = client.watch(admin(watch)).await.unwrap().into_inner();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(
        (first.r#type(), first.resume_token.as_str()),
        (Type::Added, "")
    );
    let end = events.next().await.unwrap().unwrap();
    assert_eq!(end.r#type(), Type::InitialEnd);

    let delete = proto::DeleteRequest {
        r#ref: pods("a"),
        grace_period_seconds: Some(0),
        precondition_uid: created.uid,
        ..proto::DeleteRequest::default()
    };
    client.delete(admin(delete)).await.unwrap();
    let resume = proto::WatchRequest {
        r#ref: pods(""),
        resume_token: end.resume_token,
        ..proto::WatchRequest::default()
    };
    let mut resumed = client.watch(admin(resume)).await.unwrap().into_inner();
    let mut last = resumed.next().await.unwrap().unwrap();
    if last.r#type() == Type::Modified {
        last = resumed.next().await.unwrap().unwrap();
    }
    assert_eq!(last.r#type(), Type::Deleted);
}

#[tokio::test]
async fn refusals_carry_codes_and_details() {
    let server = object_routes(testing::server().await).into_axum_router();
    let mut client = ObjectServiceClient::new(server);
    let get = |name| proto::GetRequest {
        r#ref: pods(name),
        allow_stale: false,
    };
    let code =
        |outcome: Result<_, tonic::Status>| outcome.map(|_: tonic::Response<_>| ()).unwrap_err();
    assert_eq!(
        code(client.get(Request::new(get("a"))).await).code(),
        Code::Unauthenticated
    );
    assert_eq!(
        code(client.get(by(PLAIN_TOKEN, get("a"))).await).code(),
        Code::PermissionDenied
    );
    assert_eq!(
        code(client.get(admin(get(""))).await).code(),
        Code::InvalidArgument
    );
    let absent = code(client.get(admin(get("a"))).await);
    assert_eq!(absent.code(), Code::NotFound);
    assert_eq!(
        absent.get_error_details().error_info().unwrap().metadata["name"],
        "a"
    );
    let mut late = admin(get("a"));
    late.set_timeout(std::time::Duration::ZERO);
    assert!(client.get(late).await.is_err());
}

#[tokio::test]
async fn a_batch_answers_for_each_operation() {
    let server = object_routes(testing::server().await).into_axum_router();
    let mut client = ObjectServiceClient::new(server);
    let operation = |request| proto::BatchOperation {
        operation: Some(proto::batch_operation::Operation::Create(request)),
    };
    let mut bad = create("b");
    bad.json = "[".repeat(100_000).into();
    let operations = vec![
        operation(create("a")),
        operation(bad),
        proto::BatchOperation::default(),
    ];
    let batch = proto::BatchRequest {
        operations: operations.clone(),
        atomic: false,
    };
    let results = client
        .batch(admin(batch))
        .await
        .unwrap()
        .into_inner()
        .results;
    assert!(results[0].object.is_some() && results[0].reason.is_empty());
    assert_eq!((results[1].code, results[2].code), (400, 400));
}

fn creation(request: proto::CreateRequest) -> proto::BatchOperation {
    proto::BatchOperation {
        operation: Some(proto::batch_operation::Operation::Create(request)),
    }
}

fn atomic(operations: Vec<proto::BatchOperation>) -> Request<proto::BatchRequest> {
    admin(proto::BatchRequest {
        operations,
        atomic: true,
    })
}

#[tokio::test]
async fn an_atomic_batch_is_done_as_a_whole_or_not_at_all() {
    let server = object_routes(testing::server().await).into_axum_router();
    let mut client = ObjectServiceClient::new(server);
    let pair = vec![creation(create("a")), creation(create("b"))];
    let results = client
        .batch(atomic(pair))
        .await
        .unwrap()
        .into_inner()
        .results;
    let revisions: Vec<u64> = results
        .iter()
        .map(|result| result.object.as_ref().unwrap().revision)
        .collect();
    assert_eq!(revisions[1], revisions[0] + 1);

    let taken = vec![creation(create("c")), creation(create("a"))];
    let results = client
        .batch(atomic(taken))
        .await
        .unwrap()
        .into_inner()
        .results;
    assert_eq!(
        (results[1].reason.as_str(), results[1].code),
        ("AlreadyExists", 409)
    );
    assert_eq!(
        (results[0].reason.as_str(), results[0].code),
        ("Aborted", 409)
    );
    assert!(results[0].message.starts_with("operations[1] failed"));
    let get = proto::GetRequest {
        r#ref: pods("c"),
        allow_stale: false,
    };
    let absent = client.get(admin(get)).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);

    let mut bad = create("d");
    bad.json = "{".into();
    let broken = vec![creation(create("c")), creation(bad)];
    let results = client
        .batch(atomic(broken))
        .await
        .unwrap()
        .into_inner()
        .results;
    assert_eq!((results[0].code, results[1].code), (409, 400));
}

#[tokio::test]
async fn an_atomic_batch_keeps_its_limits() {
    let server = object_routes(testing::server().await).into_axum_router();
    let mut client = ObjectServiceClient::new(server);
    let twice = vec![creation(create("a")), creation(create("a"))];
    let refused = client.batch(atomic(twice)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().starts_with("operations[1]: "),
        "{refused}"
    );
    let many = (0..1001)
        .map(|n| creation(create(&format!("p{n}"))))
        .collect();
    let refused = client.batch(atomic(many)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_call_may_act_as_someone_else() {
    let server = object_routes(testing::server().await).into_axum_router();
    let mut client = ObjectServiceClient::new(server);
    let mut acting = admin(create("a"));
    let jane = "jane".parse().unwrap();
    acting.metadata_mut().insert("impersonate-user", jane);
    let refused = client.create(acting).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("User \"jane\" cannot create"));
    let mut climbing = by(PLAIN_TOKEN, create("a"));
    let admin = "kubernetes-admin".parse().unwrap();
    climbing.metadata_mut().insert("impersonate-user", admin);
    let refused = client.create(climbing).await.unwrap_err();
    assert!(
        refused
            .message()
            .contains("User \"jane\" cannot impersonate")
    );
}
