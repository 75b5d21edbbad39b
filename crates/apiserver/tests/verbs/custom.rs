//! Kinds that users define: their objects through every verb.

use futures::StreamExt as _;
use kontiki_api::Subresource;
use kontiki_api::custom::DEFINITIONS;
use kontiki_apiserver::PatchType::{Json, Merge, Strategic};
use kontiki_apiserver::testing::{self, admin, define, object};
use kontiki_apiserver::{
    ApiServer, Body, FieldValidation, ListOptions, PatchType, Target, WatchEvent, WatchOptions,
    WriteOptions,
};
use kontiki_base::status::{Reason, Status};
use serde_json::{Value, json};

use super::{apply, delete, get, patch, post, put};

fn version(name: &str, is_stored: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": is_stored,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "required": ["cron"],
                "x-kubernetes-validations": [{"rule": "self.replicas <= 5", "message": "too many"}],
                "properties": {
                    "cron": {"type": "string", "pattern": "^\\S+( \\S+)*$"},
                    "color": {"type": "string"},
                    "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                    "ports": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "port": {"type": "integer"}}}},
                }},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"},
                "selector": {"type": "string"}}},
        }}},
    })
}

fn definition(versions: &[Value]) -> Value {
    json!({
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"}, "versions": versions},
    })
}

fn target(server: &ApiServer, version: &str, name: &str) -> Target {
    let kinds = server.kinds();
    let kind = kinds.by_path("stable.example.com", version, "crontabs");
    Target::object(kind.expect("a served version"), "default", name)
}

fn crontab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": name}, "spec": spec})
}

async fn server() -> ApiServer {
    let server = testing::server().await;
    define(
        &server,
        definition(&[version("v1", true), version("v2", false)]),
    )
    .await;
    server
}

async fn made(server: &ApiServer, name: &str, spec: Value) -> Result<Value, Status> {
    let collection = target(server, "v1", "");
    let written = post(server, &collection, crontab(name, spec)).await?;
    Ok(written.object.value())
}

#[tokio::test]
async fn objects_are_pruned_defaulted_and_checked() {
    let server = server().await;
    let created = made(&server, "a", json!({"cron": "* *", "x": 1}))
        .await
        .unwrap();
    assert_eq!(created["spec"], json!({"cron": "* *", "replicas": 1}));
    assert_eq!(created["metadata"]["generation"], 1);
    for (spec, expected) in [
        (json!({}), "spec.cron: Required value"),
        (
            json!({"cron": 1}),
            "spec.cron: Invalid value: \"integer\": spec.cron in body must be of type string: \"integer\"",
        ),
        (
            json!({"cron": "a", "replicas": 11}),
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (
            json!({"cron": "a", "replicas": 7}),
            "spec: Invalid value: \"object\": too many",
        ),
        (
            json!({"cron": "a", "ports": [{"name": "x"}, {"name": "x"}]}),
            "spec.ports[1]: Duplicate value: {\"name\":\"x\"}",
        ),
    ] {
        let refused = made(&server, "b", spec).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Invalid);
        assert!(refused.message.contains(expected), "{}", refused.message);
    }
    let strict = WriteOptions {
        field_validation: FieldValidation::Strict,
        ..WriteOptions::default()
    };
    let body = Body::from(crontab("c", json!({"cron": "a", "x": 1})));
    let refused = server
        .create(&admin(), &target(&server, "v1", ""), body, &strict)
        .await;
    assert_eq!(
        refused.unwrap_err().message,
        "CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: unknown field \"spec.x\""
    );
}

#[tokio::test]
async fn updates_count_generations_and_keep_the_status_apart() {
    let server = server().await;
    let mut object = made(&server, "a", json!({"cron": "a"})).await.unwrap();
    let here = target(&server, "v1", "a");
    object["spec"]["color"] = json!("red");
    object["status"] = json!({"replicas": 9});
    let updated = put(&server, &here, object).await.unwrap();
    assert_eq!(updated["metadata"]["generation"], 2);
    assert!(updated["status"].is_null());
    let status = here.clone().with(Subresource::Status);
    let mut object = updated.clone();
    object["status"] = json!({"replicas": 1});
    object["spec"]["color"] = json!("blue");
    let updated = put(&server, &status, object).await.unwrap();
    assert_eq!(updated["status"]["replicas"], 1);
    assert_eq!(updated["spec"]["color"], "red");
    assert_eq!(updated["metadata"]["generation"], 2);
    let mut unpinned = updated;
    unpinned["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    let refused = put(&server, &here, unpinned).await.unwrap_err();
    assert!(refused.message.contains("must be specified for an update"));
}

#[tokio::test]
async fn patches_are_json_merge_or_apply() {
    let server = server().await;
    made(&server, "a", json!({"cron": "a"})).await.unwrap();
    let here = target(&server, "v1", "a");
    let merged = patch(&server, &here, Merge, json!({"spec": {"color": "red"}})).await;
    assert_eq!(merged.unwrap()["spec"]["color"], "red");
    let ops = json!([{"op": "replace", "path": "/spec/color", "value": "blue"}]);
    let patched = patch(&server, &here, Json, ops).await;
    assert_eq!(patched.unwrap()["spec"]["color"], "blue");
    let refused = patch(&server, &here, Strategic, json!({}))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::UnsupportedMediaType);
}

#[tokio::test]
async fn appliers_own_entries_of_lists_as_maps() {
    let server = server().await;
    let here = target(&server, "v1", "a");
    let ports = |list: Value| crontab("a", json!({"cron": "a", "ports": list}));
    let one = ports(json!([{"name": "x", "port": 1}]));
    apply(&server, &here, "one", false, one).await.unwrap();
    let two = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "a"}, "spec": {"ports": [{"name": "y", "port": 2}]}});
    let both = apply(&server, &here, "two", false, two).await.unwrap();
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
    let taken = ports(json!([{"name": "y", "port": 3}]));
    let conflict = apply(&server, &here, "one", false, taken.clone())
        .await
        .unwrap_err();
    assert_eq!(conflict.reason, Reason::Conflict);
    assert_eq!(
        conflict.message,
        "Apply failed with 1 conflict: conflict with \"two\": .spec.ports[name=\"y\"].port"
    );
    let forced = apply(&server, &here, "one", true, taken).await.unwrap();
    assert_eq!(forced["spec"]["ports"], json!([{"name": "y", "port": 3}]));
}

#[tokio::test]
async fn scales_are_where_the_definition_says() {
    let server = server().await;
    made(&server, "a", json!({"cron": "a"})).await.unwrap();
    let scale = target(&server, "v1", "a").with(Subresource::Scale);
    let read = get(&server, &scale).await.unwrap();
    assert_eq!(read["spec"]["replicas"], 1);
    let change = json!({"spec": {"replicas": 4}});
    let scaled = patch(&server, &scale, Merge, change).await.unwrap();
    assert_eq!(scaled["kind"], "Scale");
    assert_eq!(scaled["spec"]["replicas"], 4);
    let object = get(&server, &target(&server, "v1", "a")).await.unwrap();
    assert_eq!(object["spec"]["replicas"], 4);
}

#[tokio::test]
async fn versions_are_shown_as_asked() {
    let server = server().await;
    made(&server, "a", json!({"cron": "a"})).await.unwrap();
    let shown = get(&server, &target(&server, "v2", "a")).await.unwrap();
    assert_eq!(shown["apiVersion"], "stable.example.com/v2");
    let second = target(&server, "v2", "");
    let mut body = crontab("b", json!({"cron": "b"}));
    body["apiVersion"] = json!("stable.example.com/v2");
    let made = post(&server, &second, body).await.unwrap();
    assert_eq!(made.object.value()["apiVersion"], "stable.example.com/v2");
    let all = target(&server, "v1", "");
    let page = server.list(&admin(), &all, &ListOptions::default()).await;
    for item in page.unwrap().items {
        assert_eq!(item.value()["apiVersion"], "stable.example.com/v1");
    }
}

#[tokio::test]
async fn a_new_definition_reads_old_objects_anew() {
    let server = server().await;
    made(&server, "a", json!({"cron": "a"})).await.unwrap();
    let here = object(DEFINITIONS, "", "crontabs.stable.example.com");
    let mut changed = get(&server, &here).await.unwrap();
    let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let properties = changed.pointer_mut(properties).unwrap();
    properties["fresh"] = json!({"type": "string", "default": "new"});
    put(&server, &here, changed).await.unwrap();
    let read = get(&server, &target(&server, "v1", "a")).await.unwrap();
    assert_eq!(read["spec"]["fresh"], "new");
    let all = target(&server, "v1", "");
    let page = server.list(&admin(), &all, &ListOptions::default()).await;
    assert_eq!(page.unwrap().items[0].value()["spec"]["fresh"], "new");
}

#[tokio::test]
async fn fields_select_objects_and_watches() {
    let server = server().await;
    for (name, color) in [("a", "red"), ("b", "blue")] {
        made(&server, name, json!({"cron": "a", "color": color}))
            .await
            .unwrap();
    }
    let select = |field: &str| ListOptions {
        field_selector: Some(field.to_owned()),
        ..ListOptions::default()
    };
    let all = target(&server, "v1", "");
    let page = server
        .list(&admin(), &all, &select("spec.color=red"))
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    let refused = server
        .list(&admin(), &all, &select("spec.cron=a"))
        .await
        .unwrap_err();
    assert_eq!(refused.message, "field label not supported: spec.cron");
    let options = WatchOptions {
        field_selector: Some("spec.color=blue".to_owned()),
        ..WatchOptions::default()
    };
    let mut events = server.watch(&admin(), &all, &options).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first, WatchEvent::Added(object) if &*object.key.name == "b"));
    let blue = json!({"spec": {"color": "blue"}});
    patch(&server, &target(&server, "v1", "a"), Merge, blue)
        .await
        .unwrap();
    let second = events.next().await.unwrap().unwrap();
    assert!(matches!(second, WatchEvent::Added(object) if &*object.key.name == "a"));
}

#[tokio::test]
async fn a_definition_that_goes_takes_no_objects_any_more() {
    let server = server().await;
    made(&server, "a", json!({"cron": "a"})).await.unwrap();
    let collection = target(&server, "v1", "");
    let here = object(DEFINITIONS, "", "crontabs.stable.example.com");
    let going = delete(&server, &here).await.unwrap();
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    // Also by who holds the kind of before.
    let refused = post(&server, &collection, crontab("b", json!({"cron": "b"}))).await;
    assert_eq!(refused.unwrap_err().reason, Reason::MethodNotAllowed);
    let refused = made(&server, "b", json!({"cron": "b"})).await.unwrap_err();
    assert_eq!(
        refused.message,
        "create not allowed while custom resource definition is terminating"
    );
    assert!(get(&server, &target(&server, "v1", "a")).await.is_ok());
    let free = json!({"metadata": {"finalizers": null}});
    patch(&server, &here, Merge, free).await.unwrap();
    assert!(
        server
            .kinds()
            .by_resource("crontabs.stable.example.com")
            .is_none()
    );
}

#[tokio::test]
async fn dry_runs_and_unknown_versions_write_nothing() {
    let server = server().await;
    let options = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    let body = Body::from(crontab("a", json!({"cron": "a"})));
    let collection = target(&server, "v2", "");
    let mut value = body.value.clone();
    value["apiVersion"] = json!("stable.example.com/v2");
    let rendered = server
        .create(&admin(), &collection, Body::from(value), &options)
        .await;
    let rendered = rendered.unwrap().object.value();
    assert_eq!(rendered["apiVersion"], "stable.example.com/v2");
    assert_eq!(rendered["spec"]["replicas"], 1);
    let there = get(&server, &target(&server, "v1", "a")).await.unwrap_err();
    assert_eq!(there.reason, Reason::NotFound);
    let config = crontab("a", json!({"cron": "a", "nope": 1}));
    let format = PatchType::Apply { force: false };
    let refused = patch(&server, &target(&server, "v1", "a"), format, config).await;
    assert!(refused.is_err());
}
