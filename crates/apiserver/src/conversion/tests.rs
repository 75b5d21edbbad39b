//! Conversions: what an answer may say, and a webhook against a real TLS server.

use serde_json::{Value, json};

use super::*;
use crate::body::Body;
use crate::options::{GetOptions, ListOptions, Target, WriteOptions};
use crate::outbound::tests::{Extension, Reply};
use crate::testing::{admin, define};

const NAME: &str = "hook.default.svc";

/// A kind whose first version has one field where the second has two.
fn definition(extension: &Extension) -> Value {
    let version = |name: &str, is_stored: bool, fields: Value| {
        json!({"name": name, "served": true, "storage": is_stored, "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": fields}}}}})
    };
    let text = json!({"type": "string"});
    json!({
        "metadata": {"name": "people.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster",
            "names": {"plural": "people", "kind": "Person"},
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": extension.client_config("/convert"),
                "conversionReviewVersions": ["v1"]}},
            "versions": [
                version("v1", true, json!({"name": text})),
                version("v2", false, json!({"first": text, "last": text})),
            ]},
    })
}

fn convert(review: &Value) -> Reply {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().into_iter().flatten();
    let one = |object: &Value| {
        let (mut object, spec) = (object.clone(), &object["spec"]);
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        object["spec"] = if wanted.ends_with("v1") {
            json!({"name": format!("{} {}", text("first"), text("last"))})
        } else {
            let name = text("name");
            let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
            json!({"first": first, "last": last})
        };
        object["apiVersion"] = wanted.into();
        object
    };
    let converted: Vec<Value> = objects.map(one).collect();
    Reply::Json(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": {"status": "Success"},
            "convertedObjects": converted},
    }))
}

fn target(server: &ApiServer, version: &str, name: &str) -> Target {
    let kinds = server.kinds();
    let kind = kinds.by_path("example.com", version, "people");
    Target::object(kind.expect("a served version"), "", name)
}

#[tokio::test]
async fn a_webhook_makes_one_version_of_another() {
    let extension = Extension::start(&[NAME], |_, review| convert(&review)).await;
    let server = extension.server().await;
    define(&server, definition(&extension)).await;
    let ada = json!({"apiVersion": "example.com/v2", "kind": "Person",
        "metadata": {"name": "ada"}, "spec": {"first": "Ada", "last": "Lovelace"}});
    let options = WriteOptions::default();
    let created = server
        .create(
            &admin(),
            &target(&server, "v2", ""),
            Body::from(ada),
            &options,
        )
        .await
        .expect("created")
        .object
        .value();
    assert_eq!(created["spec"], json!({"first": "Ada", "last": "Lovelace"}));
    let stored = server
        .store()
        .snapshot()
        .find("people.example.com", "", "ada");
    assert_eq!(
        stored.expect("stored").value()["spec"],
        json!({"name": "Ada Lovelace"})
    );
    let read = server
        .get(
            &admin(),
            &target(&server, "v1", "ada"),
            &GetOptions::default(),
        )
        .await
        .expect("read")
        .value();
    assert_eq!(read["spec"], json!({"name": "Ada Lovelace"}));
    let change = json!({"spec": {"last": "King"}});
    let patched = server
        .patch(
            &admin(),
            &target(&server, "v2", "ada"),
            crate::options::PatchType::Merge,
            Body::from(change),
            &options,
        )
        .await
        .expect("patched")
        .object
        .value();
    assert_eq!(patched["spec"], json!({"first": "Ada", "last": "King"}));
    let page = server
        .list(
            &admin(),
            &target(&server, "v2", ""),
            &ListOptions::default(),
        )
        .await
        .expect("listed");
    assert_eq!(page.items[0].value()["spec"]["last"], "King");
}

#[tokio::test]
async fn a_webhook_that_fails_fails_the_request() {
    let extension = Extension::start(&[NAME], |_, _| Reply::Code(500, "")).await;
    let server = extension.server().await;
    define(&server, definition(&extension)).await;
    let ada = json!({"apiVersion": "example.com/v2", "kind": "Person",
        "metadata": {"name": "ada"}, "spec": {"first": "Ada"}});
    let options = WriteOptions::default();
    let refused = server
        .create(
            &admin(),
            &target(&server, "v2", ""),
            Body::from(ada),
            &options,
        )
        .await
        .expect_err("no conversion, no object");
    let expected = "conversion webhook for example.com/v2, Kind=Person failed: Post";
    assert!(refused.message.contains(expected), "{}", refused.message);
}

#[test]
fn responses_answer_what_was_asked() {
    let before = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}});
    let after = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "a"}});
    let response = |uid: &str, status: &str, objects: Value| {
        json!({"uid": uid, "result": {"status": status, "message": "no"},
            "convertedObjects": objects})
    };
    let read = |response: Value| check(&response, "u", &[&before], "g/v2");
    assert_eq!(
        read(response("u", "Success", json!([after]))),
        Ok(vec![after.clone()])
    );
    for (wrong, why) in [
        (
            response("x", "Success", json!([after])),
            "expected response.uid=\"u\", got \"x\"",
        ),
        (response("u", "Failed", json!([after])), "no"),
        (
            response("u", "Success", json!([])),
            "webhook returned 0 objects, expected 1",
        ),
        (
            response("u", "Success", json!([before])),
            "invalid converted object at index 0: invalid groupVersion (expected g/v2, received g/v1)",
        ),
        (
            response(
                "u",
                "Success",
                json!([{"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "b"}}]),
            ),
            "invalid converted object at index 0: must have the same name",
        ),
    ] {
        assert_eq!(read(wrong), Err(why.to_owned()));
    }
}

#[test]
fn metadata_stays_but_for_labels_and_annotations() {
    let original = json!({"metadata": {"name": "a", "uid": "u", "labels": {"x": "1"}}});
    let converted = json!({"spec": {}, "metadata": {"name": "b", "annotations": {"y": "2"}}});
    assert_eq!(
        with_metadata_of(original, converted),
        json!({"spec": {}, "metadata": {"name": "a", "uid": "u", "annotations": {"y": "2"}}})
    );
}
