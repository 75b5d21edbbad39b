//! What pods have of their own: binding and logs.

use kontiki_api::Subresource;
use kontiki_apiserver::testing::{self, admin, create, object, pod};
use kontiki_apiserver::{ApiServer, LogOptions};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::{get, post};

async fn bind(server: &ApiServer, name: &str, binding: Value) -> Result<Value, Status> {
    let target = object("pods", "default", name).with(Subresource::Binding);
    Ok(post(server, &target, binding).await?.object.value())
}

fn to(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"},
        "target": {"kind": "Node", "name": node}})
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    assert_eq!(
        bind(&server, "web", to("n1")).await.unwrap()["status"],
        "Success"
    );
    let web = get(&server, &object("pods", "default", "web"))
        .await
        .unwrap();
    assert_eq!(web["spec"]["nodeName"], "n1");
    let conditions = web["status"]["conditions"].as_array().unwrap();
    let scheduled = conditions
        .iter()
        .find(|c| c["type"] == "PodScheduled")
        .unwrap();
    assert_eq!(scheduled["status"], "True");
    let status = bind(&server, "web", to("n2")).await.unwrap_err();
    assert_eq!(status.reason, Reason::Conflict);
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"n1\""
    );
}

#[tokio::test]
async fn a_binding_is_checked() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let mut other = to("n1");
    other["metadata"]["uid"] = json!("another");
    let cases = [
        (to(""), Reason::Invalid),
        (other, Reason::Conflict),
        (json!({"kind": "Pod"}), Reason::BadRequest),
    ];
    for (binding, reason) in cases {
        assert_eq!(
            bind(&server, "web", binding).await.unwrap_err().reason,
            reason
        );
    }
    assert_eq!(
        bind(&server, "none", json!({"target": {"name": "n1"}}))
            .await
            .unwrap_err()
            .reason,
        Reason::NotFound
    );
}

#[tokio::test]
async fn logs_of_a_pod_without_a_node_are_empty_and_options_are_checked() {
    let server = testing::server().await;
    create(&server, "pods", "default", pod("web")).await;
    let web = object("pods", "default", "web");
    let logs = async |options| server.logs(&admin(), &web, options).await;
    assert!(logs(LogOptions::default()).await.is_ok());
    let bad = LogOptions {
        tail_lines: Some(-1),
        ..LogOptions::default()
    };
    let status = logs(bad).await.err().unwrap();
    assert_eq!(status.details.unwrap().causes[0].field, "tailLines");
    bind(&server, "web", to("n1")).await.unwrap();
    let status = logs(LogOptions::default()).await.err().unwrap();
    assert_eq!(status.reason, Reason::BadRequest, "{}", status.message);
}
