//! Namespaces: the four that always exist, and the emptying of those that are being deleted.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_state::Object;
use serde_json::{Value, json};

use crate::plan::{Plan, to_value};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, everything, itself};

/// Namespaces that a cluster starts with.
const SYSTEM: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Objects deleted in one step.
const BURST: usize = 1000;
/// The finalizer in `spec.finalizers` that says that a namespace is not empty yet.
const FINALIZER: &str = "kubernetes";

/// Makes the namespaces that a cluster starts with.
pub struct Bootstrap;

impl Controller for Bootstrap {
    fn name(&self) -> &'static str {
        "system-namespaces-controller"
    }

    fn field_manager(&self) -> &'static str {
        "kube-apiserver"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "namespaces",
            map: everything,
        }]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        for name in SYSTEM {
            if view.snapshot.find("namespaces", "", name).is_none() {
                let labels =
                    BTreeMap::from([("kubernetes.io/metadata.name".into(), name.to_owned())]);
                plan.create(&Namespace {
                    metadata: ObjectMeta {
                        name: Some(name.into()),
                        labels: Some(labels),
                        ..ObjectMeta::default()
                    },
                    ..Namespace::default()
                });
            }
        }
        Ok(plan)
    }
}

/// Empties namespaces that are being deleted, then lets them go.
pub struct NamespaceController;

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "namespaces",
                map: itself,
            },
            Watch {
                resource: "",
                map: content_of_deleted,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(namespace) = view.get::<Namespace>("", &key.name)? else {
            return Ok(plan);
        };
        if namespace.metadata.deletion_timestamp.is_none() {
            return Ok(plan);
        }
        let content = content(view, &key.name);
        for object in content
            .iter()
            .filter(|object| !object.header.deleting)
            .take(BURST)
        {
            plan.delete(object);
        }
        plan.edit(&namespace.object, |value| {
            value["status"]["phase"] = json!("Terminating");
            if content.is_empty() {
                if let Some(list) = value["spec"]["finalizers"].as_array_mut() {
                    list.retain(|name| name != FINALIZER);
                }
            } else {
                set_conditions(view, value, &content);
            }
        });
        Ok(plan)
    }
}

fn content_of_deleted(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if object.key.namespace.is_empty() {
        return Vec::new();
    }
    let namespace = view.snapshot.find("namespaces", "", &object.key.namespace);
    let deleted = namespace.is_some_and(|namespace| namespace.header.deleting);
    deleted
        .then(|| WorkKey::new("", object.key.namespace.clone()))
        .into_iter()
        .collect()
}

/// Everything in a namespace; objects of no served kind are not a user's.
fn content(view: &View<'_>, namespace: &str) -> Vec<std::sync::Arc<Object>> {
    let served = view.snapshot.resources().filter(|resource| {
        view.kinds
            .by_resource(resource)
            .is_some_and(|kind| kind.namespaced())
    });
    served
        .flat_map(|resource| view.snapshot.list(resource, Some(namespace), None))
        .collect()
}

fn set_conditions(view: &View<'_>, namespace: &mut Value, content: &[std::sync::Arc<Object>]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for object in content {
        *counts.entry(&object.key.resource).or_default() += 1;
        if object.header.deleting {
            let value = object.value();
            let names = value["metadata"]["finalizers"]
                .as_array()
                .into_iter()
                .flatten();
            for name in names.filter_map(Value::as_str) {
                *finalizers.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    let remaining: Vec<String> = counts
        .iter()
        .map(|(resource, count)| match resource.contains('.') {
            true => format!("{resource} has {count} resource instances"),
            false => format!("{resource}. has {count} resource instances"),
        })
        .collect();
    let held: Vec<String> = finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let remaining = (!remaining.is_empty())
        .then(|| format!("Some resources are remaining: {}", remaining.join(", ")));
    let held = (!held.is_empty()).then(|| {
        format!(
            "Some content in the namespace has finalizers remaining: {}",
            held.join(", ")
        )
    });
    for (type_, good_reason, good, bad_reason, bad) in [
        (
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
            "",
            None,
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
            "",
            None,
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
            "",
            None,
        ),
        (
            "NamespaceContentRemaining",
            "ContentRemoved",
            "All content successfully removed",
            "SomeResourcesRemain",
            remaining,
        ),
        (
            "NamespaceFinalizersRemaining",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
            "SomeFinalizersRemain",
            held,
        ),
    ] {
        let (status, reason, message) = match bad {
            Some(bad) => ("True", bad_reason, bad),
            None => ("False", good_reason, good.to_owned()),
        };
        set_condition(view, namespace, type_, status, reason, &message);
    }
}

fn set_condition(
    view: &View<'_>,
    namespace: &mut Value,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
) {
    let conditions = &mut namespace["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    let old = conditions
        .iter()
        .position(|condition| condition["type"] == type_);
    let since = old
        .filter(|idx| conditions[*idx]["status"] == status)
        .map_or_else(
            || to_value(&view.now()),
            |idx| conditions[idx]["lastTransitionTime"].clone(),
        );
    let condition = json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    match old {
        Some(idx) => conditions[idx] = condition,
        None => conditions.push(condition),
    }
}
