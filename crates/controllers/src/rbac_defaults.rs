//! The roles and bindings that every cluster has, made and mended each time a replica takes the lead.
//!
//! As upstream's reconciliation: what is missing comes back, what was added stays, and nothing is touched where the
//! annotation `rbac.authorization.kubernetes.io/autoupdate` says "false". While a leader reigns, deletions stand. The
//! table itself is data: `rbac_defaults/*.policy`, read by `policy`.

mod policy;
#[cfg(test)]
mod tests;

use k8s_openapi::api::rbac::v1::{PolicyRule, Subject};
use kontiki_api::rbac::{GROUP, missing};
use kontiki_state::Object;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::plan::{Plan, to_value};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey};
use policy::{DefaultRole, defaults};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";
/// Prefix of the labels by which roles are gathered.
const AGGREGATE: &str = "rbac.authorization.k8s.io/";

/// The controller. Its keys are scopes: the cluster, and each namespace with default roles.
pub struct RbacDefaults;

impl Controller for RbacDefaults {
    fn name(&self) -> &'static str {
        "rbac-bootstrap"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "namespaces",
            map: reserved_namespace,
        }]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        for default in defaults().iter().filter(|it| it.namespace == *key.name) {
            role(view, default, &mut plan);
            binding(view, default, &mut plan);
        }
        Ok(plan)
    }
}

/// The namespaces with default roles, once there.
fn reserved_namespace(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let is_reserved = defaults().iter().any(|it| it.namespace == *object.key.name);
    let is_concerned = is_reserved && !object.header.deleting;
    is_concerned
        .then(|| WorkKey::new("", object.key.name.clone()))
        .into_iter()
        .collect()
}

fn resource(default: &DefaultRole, what: &str) -> Arc<str> {
    let scope = if default.namespace.is_empty() {
        "cluster"
    } else {
        ""
    };
    format!("{scope}{what}.{GROUP}").into()
}

fn metadata(default: &DefaultRole, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {BOOTSTRAPPING: "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    });
    if !default.namespace.is_empty() {
        metadata["namespace"] = default.namespace.as_str().into();
    }
    metadata
}

fn role(view: &View<'_>, default: &DefaultRole, plan: &mut Plan) {
    let resource = resource(default, "roles");
    let mut labels = json!({});
    if let Some(feeds) = &default.feeds {
        labels[format!("{AGGREGATE}{feeds}")] = "true".into();
    }
    let gathered = default
        .gathers
        .as_ref()
        .map(|label| json!({"matchLabels": {format!("{AGGREGATE}{label}"): "true"}}));
    match view
        .snapshot
        .find(&resource, &default.namespace, &default.name)
    {
        None => {
            let mut object = json!({"metadata": metadata(default, &default.name)});
            merge(&mut object["metadata"]["labels"], &labels);
            match gathered {
                Some(selector) => {
                    object["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
                    object["rules"] = json!([]);
                }
                None => object["rules"] = to_value(&default.rules),
            }
            plan.create_value(resource, object);
        }
        Some(found) => mend(&found, plan, |object| {
            merge(&mut object["metadata"]["labels"], &labels);
            if let Some(selector) = &gathered {
                add_missing(
                    &mut object["aggregationRule"]["clusterRoleSelectors"],
                    selector,
                );
                return;
            }
            let held: Vec<PolicyRule> =
                serde_json::from_value(object["rules"].clone()).unwrap_or_default();
            let lost = missing(&held, &default.rules);
            if !lost.is_empty() {
                let rules = held.into_iter().chain(lost).collect::<Vec<_>>();
                object["rules"] = to_value(&rules);
            }
        }),
    }
}

fn binding(view: &View<'_>, default: &DefaultRole, plan: &mut Plan) {
    let Some((name, subjects)) = &default.binding else {
        return;
    };
    let resource = resource(default, "rolebindings");
    let kind = if default.namespace.is_empty() {
        "ClusterRole"
    } else {
        "Role"
    };
    let reference = json!({"apiGroup": GROUP, "kind": kind, "name": default.name});
    let mut object = json!({"metadata": metadata(default, name), "roleRef": reference});
    if !subjects.is_empty() {
        object["subjects"] = to_value(subjects);
    }
    match view.snapshot.find(&resource, &default.namespace, name) {
        None => plan.create_value(resource, object),
        // A binding of another role can't be changed: it makes room, and the next reconcile makes ours.
        Some(found) if found.value()["roleRef"] != reference => {
            if !is_left_alone(&found.value()) {
                plan.delete(&found);
                plan.requeue_after_ms(1000);
            }
        }
        Some(found) => mend(&found, plan, |object| {
            for subject in subjects {
                add_missing(&mut object["subjects"], &to_value::<Subject>(subject));
            }
        }),
    }
}

fn is_left_alone(object: &Value) -> bool {
    object["metadata"]["annotations"][AUTOUPDATE] == "false"
}

/// Adds what is missing to what is there, unless it is to be left alone.
fn mend(found: &Object, plan: &mut Plan, change: impl FnOnce(&mut Value)) {
    if is_left_alone(&found.value()) {
        return;
    }
    plan.edit(found, |object| {
        let (label, annotation) = (
            json!({BOOTSTRAPPING: "rbac-defaults"}),
            json!({AUTOUPDATE: "true"}),
        );
        merge(&mut object["metadata"]["labels"], &label);
        merge(&mut object["metadata"]["annotations"], &annotation);
        change(object);
    });
}

/// Sets the entries of `more`.
fn merge(map: &mut Value, more: &Value) {
    let more = more.as_object().into_iter().flatten();
    for (key, value) in more {
        map[key.as_str()] = value.clone();
    }
}

/// Appends an item unless the list has it.
fn add_missing(list: &mut Value, item: &Value) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.contains(item)
    {
        list.push(item.clone());
    }
}
