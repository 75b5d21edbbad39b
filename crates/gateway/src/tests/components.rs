//! ComponentStatus: looked up when it is read, never written, and told to be out of fashion.

use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_apiserver::testing::Memory;
use kontiki_apiserver::{Component, Components, Options};

use super::*;

const PATH: &str = "/api/v1/componentstatuses";

struct Parts;

impl Components for Parts {
    fn look(&self) -> BoxFuture<'static, Vec<Component>> {
        let part = |name: &str, health| Component {
            name: name.to_owned(),
            health,
        };
        let parts = vec![
            part("store-b", Err("no answer within 2 s".to_owned())),
            part("scheduler", Ok("ok".to_owned())),
        ];
        Box::pin(std::future::ready(parts))
    }
}

async fn client() -> Client {
    let options = Options {
        components: Arc::new(Parts),
        ..Options::default()
    };
    let server = testing::server_with_options(Memory::default(), options).await;
    Client(router(server, GatewayOptions::default()))
}

#[tokio::test]
async fn parts_are_listed_read_and_selected() {
    let client = client().await;
    let answer = client.get(PATH, "application/json").await;
    assert_eq!(
        answer.header("warning"),
        "299 - \"v1 ComponentStatus is deprecated in v1.19+\""
    );
    let expected = json!({
        "kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": [
            {"metadata": {"name": "scheduler"},
                "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]},
            {"metadata": {"name": "store-b"},
                "conditions": [{"type": "Healthy", "status": "Unknown", "error": "no answer within 2 s"}]},
        ],
    });
    assert_eq!(answer.json(), expected);
    let one = client
        .get(&format!("{PATH}/store-b"), "application/json")
        .await;
    let mut alone = expected["items"][1].clone();
    alone["apiVersion"] = "v1".into();
    alone["kind"] = "ComponentStatus".into();
    assert_eq!(one.json(), alone);
    let selected = format!("{PATH}?fieldSelector=metadata.name=scheduler");
    let selected = client.get(&selected, "application/json").await.json();
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
    let absent = client
        .get(&format!("{PATH}/nobody"), "application/json")
        .await;
    assert_eq!(
        (absent.code, absent.message().as_str()),
        (404, "componentstatuses \"nobody\" not found")
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = client.get(PATH, table).await.json();
    assert_eq!(table["rows"][1]["cells"][1], "Unhealthy");
    let protobuf = client
        .get(PATH, "application/vnd.kubernetes.protobuf")
        .await;
    assert_eq!(protobuf.code, 200);
}

#[tokio::test]
async fn nobody_writes_or_watches_them() {
    let client = client().await;
    let watch = client
        .get(&format!("{PATH}?watch=true"), "application/json")
        .await;
    assert_eq!(watch.code, 405);
    assert_eq!(
        watch.message(),
        "watch is not supported on resources of kind \"componentstatuses\""
    );
    let body = json!({"metadata": {"name": "mine"}}).to_string();
    for (method, path) in [
        ("POST", PATH.to_owned()),
        ("DELETE", format!("{PATH}/scheduler")),
    ] {
        let answer = client
            .write(method, &path, "application/json", body.clone())
            .await;
        assert_eq!(answer.code, 405, "{method}");
    }
    let apply = format!("{PATH}/mine?fieldManager=me");
    let applied = client
        .write("PATCH", &apply, "application/apply-patch+yaml", body)
        .await;
    assert_eq!(applied.code, 405);
}
