//! Kinds that users define, as clients discover and print them.

use kontiki_apiserver::ApiServer;
use kontiki_apiserver::testing::{self, define};
use serde_json::{Value, json};

use super::Client;
use crate::{GatewayOptions, router};

const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"],
                "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "deprecated": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cron"}],
                "schema": {"openAPIV3Schema": {"type": "object",
                    "description": "A table of times.", "properties": {
                    "spec": {"type": "object", "properties": {
                        "cron": {"type": "string", "description": "When."},
                        "either": {"x-kubernetes-int-or-string": true}}}}}}}]},
    })
}

async fn defined() -> (ApiServer, Client) {
    let server = testing::server().await;
    let client = Client(router(server.clone(), GatewayOptions::default()));
    let before = client.get("/apis", AGGREGATED).await;
    define(&server, definition()).await;
    let after = client.get("/apis", AGGREGATED).await;
    assert_ne!(before.header("etag"), after.header("etag"));
    (server, client)
}

async fn create(client: &Client, name: &str) -> super::Answer {
    let object = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": name}, "spec": {"cron": "* *", "unknown": 1}});
    client
        .write("POST", CRONTABS, "application/json", object.to_string())
        .await
}

#[tokio::test]
async fn a_kind_is_discovered_from_its_definition_on() {
    let (_, client) = defined().await;
    let list = client
        .get("/apis/stable.example.com/v1", "application/json")
        .await
        .json();
    assert_eq!(list["resources"][0]["name"], "crontabs");
    assert_eq!(list["resources"][0]["shortNames"], json!(["ct"]));
    assert_eq!(list["resources"][1]["name"], "crontabs/status");
    let group = client
        .get("/apis/stable.example.com", "application/json")
        .await
        .json();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let all = client.get("/apis", AGGREGATED).await.json();
    let last = all["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["metadata"]["name"], "stable.example.com");
    assert_eq!(
        last["versions"][0]["resources"][0]["categories"],
        json!(["all"])
    );
    assert_eq!(
        client.get("/apis/other.example.com/v1", "*/*").await.code,
        404
    );
}

#[tokio::test]
async fn explain_finds_the_schema() {
    let (server, client) = defined().await;
    let index = client.get("/openapi/v3", "application/json").await.json();
    let url = index["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str();
    let document = client.get(url.unwrap(), "application/json").await.json();
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(
        schema["x-kubernetes-group-version-kind"],
        json!([{"group": "stable.example.com", "version": "v1", "kind": "CronTab"}])
    );
    assert_eq!(
        schema["properties"]["spec"]["properties"]["cron"]["description"],
        "When."
    );
    assert!(schema["properties"]["metadata"]["allOf"].is_array());
    let patch = &document["paths"]
        [format!("{CRONTABS}/{{name}}").replace("default", "{namespace}")]["patch"];
    let content = patch["requestBody"]["content"].as_object().unwrap();
    assert!(!content.contains_key("application/strategic-merge-patch+json"));
    let v2 = client.get("/openapi/v2", "application/json").await.json();
    assert!(v2["definitions"]["com.example.stable.v1.CronTab"].is_object());
    // Another definition, another hash; the documents of others stay.
    let apps = index["paths"]["apis/apps/v1"].clone();
    let mut other = definition();
    other["metadata"]["name"] = json!("others.stable.example.com");
    other["spec"]["names"] = json!({"plural": "others", "kind": "Other"});
    define(&server, other).await;
    let again = client.get("/openapi/v3", "application/json").await.json();
    assert_ne!(
        again["paths"]["apis/stable.example.com/v1"],
        index["paths"]["apis/stable.example.com/v1"]
    );
    assert_eq!(again["paths"]["apis/apps/v1"], apps);
}

#[tokio::test]
async fn objects_are_printed_and_warned_of() {
    let (_, client) = defined().await;
    let created = create(&client, "a").await;
    assert_eq!(created.code, 201, "{}", created.json());
    let warnings: Vec<&str> = (created.headers.get_all("warning").iter())
        .map(|value| value.to_str().unwrap())
        .collect();
    assert!(
        warnings[0].contains("unknown field \\\"spec.unknown\\\""),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("stable.example.com/v1 CronTab is deprecated"));
    let table = client.get(CRONTABS, TABLE).await.json();
    assert_eq!(table["columnDefinitions"][1]["name"], "Spec");
    assert_eq!(table["rows"][0]["cells"], json!(["a", "* *"]));
    let list = client.get(CRONTABS, "application/json").await.json();
    assert_eq!(list["kind"], "CronTabList");
    let yaml = client
        .get(&format!("{CRONTABS}/a"), "application/yaml")
        .await;
    assert!(String::from_utf8_lossy(&yaml.body).contains("cron: "));
    let refused = client
        .get(CRONTABS, "application/vnd.kubernetes.protobuf")
        .await;
    assert_eq!(refused.code, 406);
    let patched = client
        .write(
            "PATCH",
            &format!("{CRONTABS}/a"),
            "application/strategic-merge-patch+json",
            "{}",
        )
        .await;
    assert_eq!(patched.code, 415);
    let missing = client
        .get(&format!("{CRONTABS}/a/scale"), "application/json")
        .await;
    assert_eq!(missing.code, 404);
}
