//! Managed fields of what controllers write.

use kontiki_api::by_resource;
use kontiki_api::managed_fields::Writer;
use serde_json::{Value, json};

use crate::with_node;
use crate::world::deployment;

const CONTROLLER: &str = "kube-controller-manager";

/// The fields of one entry.
fn owned<'a>(object: &'a Value, manager: &str, subresource: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array();
    let mut entries = entries.into_iter().flatten().filter(|entry| {
        entry["manager"] == manager
            && entry["subresource"].as_str().unwrap_or_default() == subresource
            && entry["operation"] == "Update"
    });
    entries.next().map_or(&Value::Null, |it| &it["fieldsV1"])
}

#[test]
fn what_a_deployment_leads_to_is_the_controllers_from_its_creation() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 2, "v1"));
    world.settle();
    let set = &world.list("replicasets.apps", "default")[0];
    let fields = owned(set, CONTROLLER, "");
    assert_eq!(fields["f:spec"]["f:replicas"], json!({}));
    let owner = format!(
        "k:{}",
        json!({"uid": set["metadata"]["ownerReferences"][0]["uid"]})
    );
    assert_eq!(
        fields["f:metadata"]["f:ownerReferences"],
        json!({".": {}, owner: {}})
    );
    assert_eq!(
        owned(set, CONTROLLER, "status")["f:status"]["f:replicas"],
        json!({})
    );
    for pod in world.list("pods", "default") {
        let fields = owned(&pod, CONTROLLER, "");
        assert_eq!(fields["f:metadata"]["f:generateName"], json!({}));
        let container = &fields["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
        assert_eq!(container["f:image"], json!({}));
        assert!(fields["f:spec"].get(".").is_none(), "Go's empty pod has it");
    }
}

#[test]
fn a_deployment_stays_its_users_but_for_what_is_noted_on_it() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 2, "v1"));
    world.settle();
    let web = world.get("deployments.apps", "default", "web").unwrap();
    assert_eq!(owned(&web, CONTROLLER, ""), &Value::Null);
    assert_eq!(
        owned(&web, CONTROLLER, "status")["f:metadata"],
        json!({"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}})
    );
    assert_eq!(
        owned(&web, "kubectl", "")["f:spec"]["f:replicas"],
        json!({})
    );
    let home = world.get("namespaces", "", "default").unwrap();
    assert_eq!(
        owned(&home, "kube-apiserver", "")["f:metadata"]["f:labels"],
        json!({".": {}, "f:kubernetes.io/metadata.name": {}})
    );
}

#[test]
fn applying_what_a_controller_set_is_a_conflict() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 2, "v1"));
    world.settle();
    let set = world.list("replicasets.apps", "default").remove(0);
    let config = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": set["metadata"]["name"], "namespace": "default"},
        "spec": {"replicas": 7}});
    let kind = by_resource("replicasets.apps").unwrap();
    let me = Writer::new(kind, "me", "2026-01-01T00:00:00Z");
    let refused = me.apply(Some(&set), &config, false).unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"kube-controller-manager\" using apps/v1: .spec.replicas"
    );
}

#[test]
fn what_is_the_same_is_no_write_and_what_was_never_tracked_stays_so() {
    let mut world = with_node();
    world.create("deployments.apps", deployment("web", 1, "v1"));
    world.settle();
    world.edit("deployments.apps", "default", "web", |it| {
        it["metadata"]["managedFields"] = json!([]);
    });
    world.now_ms += 10_000;
    world.settle();
    let before = world.snapshot().revision();
    world.now_ms += 10_000;
    world.settle();
    assert_eq!(
        world.snapshot().revision(),
        before,
        "times alone change nothing"
    );
    world.edit("deployments.apps", "default", "web", |it| {
        it["spec"]["replicas"] = json!(2);
    });
    world.settle();
    let web = world.get("deployments.apps", "default", "web").unwrap();
    assert_eq!(web["status"]["replicas"], 2);
    assert!(web["metadata"].get("managedFields").is_none());
}
