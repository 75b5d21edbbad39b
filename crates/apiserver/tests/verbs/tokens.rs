//! ServiceAccounts' tokens: issued, read back, and void with what they are bound to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki_api::Subresource;
use kontiki_apiserver::authn::Credentials;
use kontiki_apiserver::testing::{self, admin, create, object, pod};
use kontiki_apiserver::{ApiServer, Body, DeleteOptions, User, WriteOptions};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::delete;

async fn request(server: &ApiServer, spec: Value) -> Result<Value, Status> {
    let target = object("serviceaccounts", "default", "web").with(Subresource::Token);
    let body = Body::from(json!({"spec": spec}));
    let written = server
        .create(&admin(), &target, body, &WriteOptions::default())
        .await?;
    Ok(written.object.value())
}

async fn token(server: &ApiServer, spec: Value) -> String {
    let answer = request(server, spec).await.unwrap();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn user(server: &ApiServer, token: &str) -> Option<User> {
    let credentials = Credentials {
        cert_der: None,
        bearer: Some(token),
    };
    server.authenticate(credentials).ok()
}

async fn world() -> ApiServer {
    let server = testing::server().await;
    create(
        &server,
        "serviceaccounts",
        "default",
        json!({"metadata": {"name": "web"}}),
    )
    .await;
    server
}

#[tokio::test]
async fn a_token_is_its_account_until_that_is_gone() {
    let server = world().await;
    let answer = request(&server, json!({"expirationSeconds": 600}))
        .await
        .unwrap();
    assert_eq!(answer["kind"], "TokenRequest");
    let unset = json!({"audiences": null, "expirationSeconds": null, "boundObjectRef": null});
    let answer_to_unset = request(&server, unset).await.unwrap();
    assert_eq!(answer_to_unset["spec"]["expirationSeconds"], 3600);
    assert_eq!(
        answer["status"]["expirationTimestamp"],
        "2026-01-01T00:10:00Z"
    );
    let token = answer["status"]["token"].as_str().unwrap();
    let found = user(&server, token).unwrap();
    assert_eq!(found.name, "system:serviceaccount:default:web");
    assert_eq!(
        found.groups,
        [
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ]
    );
    assert!(found.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    assert!(
        user(&testing::server().await, token).is_none(),
        "another cluster's key"
    );
    delete(&server, &object("serviceaccounts", "default", "web"))
        .await
        .unwrap();
    assert!(user(&server, token).is_none());
    create(
        &server,
        "serviceaccounts",
        "default",
        json!({"metadata": {"name": "web"}}),
    )
    .await;
    assert!(
        user(&server, token).is_none(),
        "a new account of that name is another"
    );
}

#[tokio::test]
async fn a_bound_token_ends_with_its_pod() {
    let server = world().await;
    create(&server, "nodes", "", json!({"metadata": {"name": "n1"}})).await;
    let mut web = pod("web");
    web["spec"]["serviceAccountName"] = "web".into();
    web["spec"]["nodeName"] = "n1".into();
    let made = create(&server, "pods", "default", web).await;
    let bound = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web",
        "uid": made["metadata"]["uid"]}});
    let token = token(&server, bound).await;
    let found = user(&server, &token).unwrap();
    let extra = |key: &str| found.extra[&format!("authentication.kubernetes.io/{key}")][0].clone();
    assert_eq!(
        (extra("pod-name"), extra("node-name")),
        ("web".into(), "n1".into())
    );
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    server
        .delete(&admin(), &object("pods", "default", "web"), &now)
        .await
        .unwrap();
    assert!(user(&server, &token).is_none());
}

#[tokio::test]
async fn a_secret_of_old_holds_a_token_until_it_is_gone() {
    let server = world().await;
    let secret = json!({"metadata": {"name": "old", "annotations": {"kubernetes.io/service-account.name": "web"}},
        "type": "kubernetes.io/service-account-token"});
    let made = create(&server, "secrets", "default", secret).await;
    assert!(made["metadata"]["annotations"]["kubernetes.io/service-account.uid"].is_string());
    let token = STANDARD
        .decode(made["data"]["token"].as_str().unwrap())
        .unwrap();
    let token = String::from_utf8(token).unwrap();
    assert_eq!(
        user(&server, &token).unwrap().name,
        "system:serviceaccount:default:web"
    );
    delete(&server, &object("secrets", "default", "old"))
        .await
        .unwrap();
    assert!(user(&server, &token).is_none());
}

#[tokio::test]
async fn requests_and_audiences_have_bounds() {
    let server = world().await;
    for (spec, reason, text) in [
        (
            json!({"expirationSeconds": 599}),
            Reason::Invalid,
            "may not specify a duration less than 10 minutes",
        ),
        (
            json!({"expirationSeconds": 5_000_000_000_i64}),
            Reason::Invalid,
            "may not specify a duration larger than 2^32 seconds",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "nope"}}),
            Reason::NotFound,
            "pods \"nope\" not found",
        ),
        (
            json!({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}}),
            Reason::BadRequest,
            "cannot bind token for serviceaccount to object of type v1, Kind=ConfigMap",
        ),
        (
            json!("much"),
            Reason::BadRequest,
            "cannot be handled as a TokenRequest: spec:",
        ),
        (
            json!({"expirationSeconds": "600"}),
            Reason::BadRequest,
            "cannot be handled as a TokenRequest: spec:",
        ),
    ] {
        let refused = request(&server, spec).await.unwrap_err();
        assert_eq!(refused.reason, reason);
        assert!(refused.message.contains(text), "{}", refused.message);
    }
    let vault = token(&server, json!({"audiences": ["vault"]})).await;
    assert!(user(&server, &vault).is_none(), "it is not for this API");
}
