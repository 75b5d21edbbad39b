//! Definitions of users' kinds: whose names are accepted and which kind is served, and the end of a kind with all of its
//! objects.
//!
//! Upstream has a controller for each condition (naming, establishing, non-structural schemas, API approval, finalizing);
//! what each says is worked out in `kontiki_api::custom`, and one write stores it.

use kontiki_api::custom::{CLEANUP_FINALIZER, DEFINITIONS, conditions_of, set_terminating};
use kontiki_api::time;
use kontiki_state::Object;
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

/// Objects deleted in one step.
const BURST: usize = 1000;

/// Accepts names and establishes kinds.
pub struct Names;

impl Controller for Names {
    fn name(&self) -> &'static str {
        "crd-naming-controller"
    }

    fn field_manager(&self) -> &'static str {
        "kube-apiserver"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: DEFINITIONS,
            map: group,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        // One group at a time, in order of age: of two that want a name, the older one has it.
        let mut definitions = of_group(view, &key.name);
        definitions.sort_by_key(|(object, _)| object.created);
        let mut settled: Vec<Value> = definitions.iter().map(|(_, value)| value.clone()).collect();
        for idx in 0..definitions.len() {
            let others = settled
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != idx);
            let others: Vec<&Value> = others.map(|(_, value)| value).collect();
            let now = time::rfc3339(view.now_ms);
            let status = conditions_of(&settled[idx], &others, &now);
            let conditions = Value::from(status.conditions);
            let is_same = settled[idx]["status"]["acceptedNames"] == status.accepted_names
                && settled[idx]["status"]["conditions"] == conditions;
            if is_same {
                continue;
            }
            settled[idx]["status"]["acceptedNames"] = status.accepted_names.clone();
            settled[idx]["status"]["conditions"] = conditions.clone();
            plan.edit_status(&definitions[idx].0, |value| {
                value["status"]["acceptedNames"] = status.accepted_names;
                value["status"]["conditions"] = conditions;
            });
        }
        Ok(plan)
    }
}

/// The group of a definition: names are taken within one.
fn group(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let group = object
        .key
        .name
        .split_once('.')
        .map_or("", |(_, group)| group);
    vec![WorkKey::new("", group)]
}

fn of_group(view: &View<'_>, group: &str) -> Vec<(std::sync::Arc<Object>, Value)> {
    let all = view.snapshot.list(DEFINITIONS, None, None);
    let own = all.filter(|object| {
        let name = object.key.name.split_once('.');
        name.is_some_and(|(_, known)| known == group)
    });
    own.map(|object| {
        let value = object.value();
        (object, value)
    })
    .collect()
}

/// Deletes the objects of a kind whose definition is being deleted, then lets the definition go.
pub struct Cleanup;

impl Controller for Cleanup {
    fn name(&self) -> &'static str {
        "crd-finalizing-controller"
    }

    fn field_manager(&self) -> &'static str {
        "kube-apiserver"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: DEFINITIONS,
                map: itself,
            },
            Watch {
                resource: "",
                map: of_deleted,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(definition) = view.snapshot.find(DEFINITIONS, "", &key.name) else {
            return Ok(plan);
        };
        if !definition.header.deleting {
            return Ok(plan);
        }
        let resource = &*definition.key.name;
        let is_empty = view.snapshot.count(resource) == 0;
        let objects = view.snapshot.list(resource, None, None);
        let living = objects.filter(|object| !object.header.deleting);
        for object in living.take(BURST) {
            plan.delete(&object);
        }
        let now = time::rfc3339(view.now_ms);
        // As a write of the status, also of the finalizer, as upstream: who guards definitions does not hold their end up.
        plan.edit_status(&definition, |value| {
            if is_empty {
                remove_finalizer(value);
                let done = (
                    "False",
                    "InstanceDeletionCompleted",
                    "removed all instances",
                );
                set_terminating(value, done, &now);
            } else {
                let under_way = (
                    "True",
                    "InstanceDeletionInProgress",
                    "CustomResource deletion is in progress",
                );
                set_terminating(value, under_way, &now);
            }
        });
        Ok(plan)
    }
}

/// The definition of an object, when it is being deleted.
fn of_deleted(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let Some(definition) = view.snapshot.find(DEFINITIONS, "", &object.key.resource) else {
        return Vec::new();
    };
    let key = || WorkKey::of(&definition);
    definition.header.deleting.then(key).into_iter().collect()
}

fn remove_finalizer(definition: &mut Value) {
    let Some(list) = definition["metadata"]["finalizers"].as_array() else {
        return;
    };
    let kept = list.iter().filter(|name| **name != CLEANUP_FINALIZER);
    let kept: Vec<Value> = kept.cloned().collect();
    match kept.is_empty() {
        true => drop(
            definition["metadata"]
                .as_object_mut()
                .map(|m| m.remove("finalizers")),
        ),
        false => definition["metadata"]["finalizers"] = json!(kept),
    }
}
