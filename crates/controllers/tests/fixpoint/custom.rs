//! Kinds that users define: names, owners, namespaces, and their end.

use kontiki_api::custom::DEFINITIONS;
use kontiki_controllers::Propagation;
use serde_json::{Value, json};

use crate::world::World;

const WIDGETS: &str = "widgets.shop.example.com";

fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "metadata": {"name": format!("{plural}.shop.example.com")},
        "spec": {"group": "shop.example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}]},
    })
}

fn widget(name: &str, namespace: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"size": 1}})
}

fn defined() -> World {
    let mut world = World::new();
    world.create(DEFINITIONS, definition("widgets", "Widget"));
    world.settle();
    // The next step sees the kind that this one established.
    world.step();
    world
}

fn condition(world: &World, name: &str, kind: &str) -> Value {
    let definition = world.get(DEFINITIONS, "", name).unwrap();
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == kind);
    found.cloned().unwrap_or_default()
}

#[test]
fn names_are_accepted_once() {
    let mut world = defined();
    assert_eq!(condition(&world, WIDGETS, "Established")["status"], "True");
    let other = "gadgets.shop.example.com";
    world.create(DEFINITIONS, definition("gadgets", "Widget"));
    world.settle();
    let names = condition(&world, other, "NamesAccepted");
    assert_eq!(names["reason"], "ListKindConflict");
    assert_eq!(condition(&world, other, "Established")["status"], "False");
    world.delete(DEFINITIONS, "", WIDGETS, Propagation::Background);
    world.settle();
    assert_eq!(condition(&world, other, "Established")["status"], "True");
}

#[test]
fn dependents_go_with_their_owners_and_namespaces_with_their_content() {
    let mut world = defined();
    world.create("namespaces", json!({"metadata": {"name": "shop"}}));
    world.create(WIDGETS, widget("owner", "default"));
    world.create(WIDGETS, widget("other", "shop"));
    let uid = world.get(WIDGETS, "default", "owner").unwrap()["metadata"]["uid"].clone();
    let owners = json!([{"apiVersion": "shop.example.com/v1", "kind": "Widget",
        "name": "owner", "uid": uid}]);
    let mut owned = widget("owned", "default");
    owned["metadata"]["ownerReferences"] = owners.clone();
    world.create(WIDGETS, owned);
    let map = json!({"metadata": {"name": "map", "namespace": "default",
        "ownerReferences": owners}});
    world.create("configmaps", map);
    world.settle();
    world.delete(WIDGETS, "default", "owner", Propagation::Background);
    world.settle();
    assert!(world.get(WIDGETS, "default", "owned").is_none());
    assert!(world.get("configmaps", "default", "map").is_none());
    world.delete("namespaces", "", "shop", Propagation::Background);
    world.settle();
    assert!(world.get(WIDGETS, "shop", "other").is_none());
    assert!(world.get("namespaces", "", "shop").is_none());
}

#[test]
fn a_definition_goes_after_its_objects() {
    let mut world = defined();
    let mut held = widget("held", "default");
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    world.create(WIDGETS, held);
    world.create(WIDGETS, widget("free", "default"));
    world.settle();
    world.delete(DEFINITIONS, "", WIDGETS, Propagation::Background);
    world.settle();
    let terminating = condition(&world, WIDGETS, "Terminating");
    assert_eq!(terminating["reason"], "InstanceDeletionInProgress");
    assert!(world.get(WIDGETS, "default", "free").is_none());
    world.edit(WIDGETS, "default", "held", |object| {
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
    });
    world.settle();
    assert!(world.get(WIDGETS, "default", "held").is_none());
    assert!(world.get(DEFINITIONS, "", WIDGETS).is_none());
}
