//! Addresses of Services: chosen, asked for, taken, given back.

use kontiki_apiserver::PatchType::Merge;
use kontiki_apiserver::testing::{self, collection, create, object};
use kontiki_base::status::Reason;
use serde_json::{Value, json};

use super::{delete, patch, post, put};

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

#[tokio::test]
async fn a_cluster_ip_is_chosen_kept_and_unique() {
    let server = testing::server().await;
    let made = create(&server, "services", "default", service("a", json!({}))).await;
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    assert!(ip.starts_with("10.96."), "{ip}");
    assert_eq!(made["spec"]["clusterIPs"], json!([ip]));
    let again = put(
        &server,
        &object("services", "default", "a"),
        service("a", json!({})),
    )
    .await
    .unwrap();
    assert_eq!(
        again["spec"]["clusterIP"], ip,
        "an update that leaves it out keeps it"
    );
    let asked = service("b", json!({"clusterIP": ip}));
    let status = post(&server, &collection("services", "default"), asked.clone())
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Invalid);
    assert!(
        status.message.contains("provided IP is already allocated"),
        "{}",
        status.message
    );
    delete(&server, &object("services", "default", "a"))
        .await
        .unwrap();
    post(&server, &collection("services", "default"), asked)
        .await
        .unwrap();
}

#[tokio::test]
async fn headless_and_external_services_have_no_address() {
    let server = testing::server().await;
    let headless = service("a", json!({"clusterIP": "None"}));
    let headless = create(&server, "services", "default", headless).await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let external = service(
        "b",
        json!({"type": "ExternalName", "externalName": "example.com"}),
    );
    let external = create(&server, "services", "default", external).await;
    assert!(external["spec"].get("clusterIP").is_none(), "{external}");
    assert_eq!(server.store().snapshot().count("clusterips.internal"), 0);
}

#[tokio::test]
async fn node_ports_follow_the_type() {
    let server = testing::server().await;
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"},
        {"name": "c", "port": 53}]);
    let made = service("a", json!({"type": "NodePort", "ports": ports}));
    let made = create(&server, "services", "default", made).await;
    let port = |at: usize| made["spec"]["ports"][at]["nodePort"].as_u64().unwrap();
    assert!((30000..=32767).contains(&port(0)));
    assert_ne!(port(0), port(1));
    assert_eq!(port(1), port(2), "UDP and TCP of one port share");
    assert_eq!(server.store().snapshot().count("nodeports.internal"), 2);
    let taken = service(
        "b",
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port(0)}]}),
    );
    let status = post(&server, &collection("services", "default"), taken)
        .await
        .unwrap_err();
    assert!(
        status
            .message
            .contains("spec.ports[0].nodePort: Invalid value"),
        "{}",
        status.message
    );
    assert!(
        status
            .message
            .contains("provided port is already allocated")
    );
    let a = object("services", "default", "a");
    let plain = patch(&server, &a, Merge, json!({"spec": {"type": "ClusterIP"}}))
        .await
        .unwrap();
    assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
    assert_eq!(server.store().snapshot().count("nodeports.internal"), 0);
    assert_eq!(server.store().snapshot().count("clusterips.internal"), 1);
}

#[tokio::test]
async fn addresses_out_of_range_are_refused() {
    let server = testing::server().await;
    let cases = [
        (
            json!({"clusterIP": "192.168.0.1"}),
            "is not in the valid range. The range of valid IPs is 10.96.0.0/16",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 99}]}),
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
    ];
    for (spec, message) in cases {
        let target = collection("services", "default");
        let status = post(&server, &target, service("a", spec))
            .await
            .unwrap_err();
        assert_eq!(status.reason, Reason::Invalid);
        assert!(status.message.contains(message), "{}", status.message);
    }
}
