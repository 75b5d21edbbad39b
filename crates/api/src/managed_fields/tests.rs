//! What writes note, entry by entry.

use serde_json::{Value, json};

use super::{Writer, equal_but_times};
use crate::kinds::by_resource;
use crate::{Kind, Subresource};

const CONTROLLER: &str = "kube-controller-manager";

fn writer<'a>(resource: &str, manager: &'a str, time: &'a str) -> Writer<'a> {
    Writer::new(kind(resource), manager, time)
}

fn kind(resource: &str) -> &'static Kind {
    by_resource(resource).unwrap()
}

fn status_writer<'a>(resource: &str, manager: &'a str, time: &'a str) -> Writer<'a> {
    writer(resource, manager, time).to(Some(Subresource::Status))
}

/// (manager, subresource, time) of each entry, in order.
fn managers(object: &Value) -> Vec<(&str, &str, &str)> {
    fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
        entry[field].as_str().unwrap_or_default()
    }
    let entries = object["metadata"]["managedFields"].as_array();
    let told = entries.into_iter().flatten().map(|entry| {
        (
            text(entry, "manager"),
            text(entry, "subresource"),
            text(entry, "time"),
        )
    });
    told.collect()
}

fn owned<'a>(object: &'a Value, manager: &str, subresource: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| {
        entry["manager"] == manager
            && entry["subresource"].as_str().unwrap_or_default() == subresource
    });
    entry.map_or(&Value::Null, |entry| &entry["fieldsV1"])
}

fn set() -> Value {
    let mut set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"},
            "ownerReferences": [{"uid": "u1", "name": "web", "kind": "Deployment", "apiVersion": "apps/v1"}]},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"replicas": 0}});
    writer("replicasets.apps", CONTROLLER, "t1").update(None, &mut set);
    set
}

#[test]
fn a_create_owns_what_it_sets_but_system_metadata_and_status() {
    let set = set();
    assert_eq!(managers(&set), [(CONTROLLER, "", "t1")]);
    let entry = &set["metadata"]["managedFields"][0];
    assert_eq!(entry["operation"], "Update");
    assert_eq!(entry["apiVersion"], "apps/v1");
    let fields = owned(&set, CONTROLLER, "");
    assert_eq!(
        fields["f:metadata"],
        json!({"f:labels": {".": {}, "f:app": {}},
            "f:ownerReferences": {".": {}, "k:{\"uid\":\"u1\"}": {}}})
    );
    assert_eq!(fields["f:spec"]["f:replicas"], json!({}));
    assert_eq!(fields["f:spec"]["f:selector"], json!({}), "atomic");
    assert!(fields.get("f:status").is_none(), "reset by the strategy");
}

#[test]
fn a_status_is_owned_apart_and_by_who_changed_it_last() {
    let old = set();
    let mut new = old.clone();
    new["status"] = json!({"replicas": 2, "readyReplicas": 1});
    status_writer("replicasets.apps", CONTROLLER, "t2").update(Some(&old), &mut new);
    assert_eq!(
        managers(&new),
        [(CONTROLLER, "", "t1"), (CONTROLLER, "status", "t2")]
    );
    assert_eq!(
        owned(&new, CONTROLLER, "status"),
        &json!({"f:status": {"f:readyReplicas": {}, "f:replicas": {}}})
    );
    let mut taken = new.clone();
    taken["status"]["readyReplicas"] = json!(2);
    status_writer("replicasets.apps", "other", "t3").update(Some(&new), &mut taken);
    assert_eq!(
        owned(&taken, CONTROLLER, "status"),
        &json!({"f:status": {"f:replicas": {}}})
    );
    assert_eq!(
        owned(&taken, "other", "status"),
        &json!({"f:status": {"f:readyReplicas": {}}})
    );
    let mut gone = taken.clone();
    gone["status"] = json!({"replicas": 2});
    status_writer("replicasets.apps", CONTROLLER, "t4").update(Some(&taken), &mut gone);
    assert_eq!(
        managers(&gone),
        [(CONTROLLER, "", "t1"), (CONTROLLER, "status", "t2")],
        "what is gone has no owner, and who took nothing keeps its time"
    );
}

#[test]
fn a_write_of_several_parts_is_noted_as_one_of_each() {
    let old = set();
    let mut new = old.clone();
    new["status"]["replicas"] = json!(1);
    new["spec"]["replicas"] = json!(1);
    new["metadata"]["generation"] = json!(2);
    writer("replicasets.apps", "m", "t2").update_parts(&old, &mut new);
    assert_eq!(owned(&new, "m", ""), &json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(
        owned(&new, "m", "status"),
        &json!({"f:status": {"f:replicas": {}}})
    );
    assert!(
        owned(&new, CONTROLLER, "")["f:spec"]
            .get("f:replicas")
            .is_none()
    );
}

#[test]
fn times_of_entries_alone_make_no_difference() {
    let old = set();
    let mut new = old.clone();
    new["metadata"]["managedFields"][0]["time"] = json!("t9");
    assert!(equal_but_times(&old, &new) && equal_but_times(&old, &old));
    for path in [
        "/spec/replicas",
        "/metadata/name",
        "/metadata/managedFields/0/manager",
    ] {
        let mut other = new.clone();
        *other.pointer_mut(path).unwrap() = json!("x");
        assert!(!equal_but_times(&old, &other), "{path}");
    }
    new["metadata"]["managedFields"] = json!([]);
    assert!(!equal_but_times(&old, &new));
}

#[test]
fn resets_differ_by_kind() {
    let old = set();
    let mut new = old.clone();
    new["metadata"]["labels"]["app"] = json!("x");
    new["spec"]["replicas"] = json!(7);
    status_writer("replicasets.apps", "m", "t2").update(Some(&old), &mut new);
    assert_eq!(
        owned(&new, "m", "status"),
        &json!({"f:metadata": {"f:labels": {"f:app": {}}}})
    );
    let pod = json!({"metadata": {"name": "p", "managedFields": old["metadata"]["managedFields"]}});
    let mut new = pod.clone();
    new["metadata"]["ownerReferences"] = json!([{"uid": "x"}]);
    status_writer("pods", "kubelet", "t2").update(Some(&pod), &mut new);
    assert_eq!(owned(&new, "kubelet", "status"), &Value::Null);
}

#[test]
fn what_was_never_tracked_stays_so_until_it_is_applied_to() {
    let old = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let mut new = json!({"metadata": {"name": "a"}, "data": {"x": "2"}});
    writer("configmaps", "m", "t").update(Some(&old), &mut new);
    assert!(new["metadata"].get("managedFields").is_none());
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        "data": {"x": "3"}});
    let refused = writer("configmaps", "me", "t").apply(Some(&old), &config, false);
    assert_eq!(
        refused.unwrap_err().message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x"
    );
}

#[test]
fn a_client_may_send_entries_back_or_start_afresh_but_not_break_them() {
    let old = set();
    let sent = |entries: Value| {
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(3);
        new["metadata"]["managedFields"] = entries;
        writer("replicasets.apps", "m", "t2").update(Some(&old), &mut new);
        new
    };
    let both = [(CONTROLLER, "", "t1"), ("m", "", "t2")];
    assert_eq!(
        managers(&sent(old["metadata"]["managedFields"].clone())),
        both
    );
    assert_eq!(managers(&sent(Value::Null)), both, "left out");
    assert_eq!(managers(&sent(json!([{"operation": "x"}]))), both, "broken");
    assert_eq!(managers(&sent(json!([]))), [], "a fresh start");
}

#[test]
fn the_oldest_of_too_many_updaters_are_merged() {
    let mut map = json!({"metadata": {"name": "a"}, "data": {}});
    let times: Vec<String> = (10..25).map(|second| format!("t{second}")).collect();
    for (n, time) in times.iter().enumerate() {
        let manager = format!("m{n}");
        let old = (n > 0).then(|| map.clone());
        map["data"][format!("k{n}")] = json!("1");
        writer("configmaps", &manager, time).update(old.as_ref(), &mut map);
    }
    let names: Vec<&str> = managers(&map).iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[0], "ancient-changes");
    assert_eq!(names[9], "m14");
    let ancient = owned(&map, "ancient-changes", "")["f:data"]
        .as_object()
        .unwrap();
    assert_eq!(ancient.len(), 7, "data itself and six keys");
}

#[test]
fn an_applier_conflicts_with_the_controller_that_set_the_field() {
    let live = set();
    let config = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": 5}});
    let me = writer("replicasets.apps", "me", "t2");
    let refused = me.apply(Some(&live), &config, false).unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"kube-controller-manager\" using apps/v1: .spec.replicas"
    );
    let forced = me.apply(Some(&live), &config, true).unwrap();
    assert_eq!(
        owned(&forced, "me", ""),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    let status = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default"}, "status": {"replicas": 9}});
    let mut live = live;
    let before = live.clone();
    live["status"]["replicas"] = json!(2);
    status_writer("replicasets.apps", CONTROLLER, "t2").update(Some(&before), &mut live);
    let me = me.to(Some(Subresource::Status));
    assert_eq!(
        me.apply(Some(&live), &status, false).unwrap_err().message,
        "Apply failed with 1 conflict: conflict with \"kube-controller-manager\" with subresource \"status\" \
         using apps/v1: .status.replicas"
    );
}
