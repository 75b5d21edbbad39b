//! Kinds that users define, over gRPC.

use kontiki_apiserver::testing::{self, define};
use kontiki_proto::api as proto;
use kontiki_proto::api::object_service_client::ObjectServiceClient;
use serde_json::{Value, json};
use tonic::Code;

use super::admin;
use crate::object_routes;

fn widgets(name: &str) -> Option<proto::ObjectRef> {
    Some(proto::ObjectRef {
        group: "shop.example.com".into(),
        resource: "widgets".into(),
        namespace: "default".into(),
        name: name.into(),
        ..proto::ObjectRef::default()
    })
}

fn create(name: &str) -> proto::CreateRequest {
    let widget = json!({"apiVersion": "shop.example.com/v1", "kind": "Widget",
        "metadata": {"name": name}, "spec": {"size": 1}});
    proto::CreateRequest {
        r#ref: widgets(""),
        json: widget.to_string().into(),
        options: None,
    }
}

#[tokio::test]
async fn objects_are_reached_as_soon_as_their_kind_is_defined() {
    let server = testing::server().await;
    let mut client = ObjectServiceClient::new(object_routes(server.clone()).into_axum_router());
    let unknown = client.create(admin(create("a"))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let definition = json!({
        "metadata": {"name": "widgets.shop.example.com"},
        "spec": {"group": "shop.example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object", "properties": {"size": {"type": "integer"},
                        "color": {"type": "string", "default": "red"}}}}}}}]},
    });
    define(&server, definition).await;
    client.create(admin(create("a"))).await.unwrap();
    let request = proto::GetRequest {
        r#ref: widgets("a"),
        ..proto::GetRequest::default()
    };
    let got = client.get(admin(request)).await.unwrap().into_inner();
    let object = got.object.unwrap();
    assert_eq!(object.r#ref.unwrap().version, "v1");
    let value: Value = serde_json::from_slice(&object.json).unwrap();
    assert_eq!(value["spec"], json!({"size": 1, "color": "red"}));
}
