//! Adoption and release: objects that match an owner's selector are taken in if nobody controls them, and let go
//! when they no longer match (upstream's `ControllerRefManager`).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::{Metadata, Resource};
use kontiki_state::Object;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::plan::{Plan, to_value};
use crate::pods::controller_ref;
use crate::selector::selects;
use crate::view::{Found, View, controller_of, resource_of, typed};
use crate::{Error, WorkKey};

/// The owner's objects of type `T` after adoption and release, which are added to the plan.
pub fn claim<O, T>(
    view: &View<'_>,
    owner: &Found<O>,
    selector: &LabelSelector,
    plan: &mut Plan,
) -> Result<Vec<Found<T>>, Error>
where
    O: Resource + Metadata<Ty = ObjectMeta>,
    T: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    claim_named(view, owner, selector, &|_| true, plan)
}

/// The same, of objects whose names are an owner's too: others are let go, and never taken in.
pub fn claim_named<O, T>(
    view: &View<'_>,
    owner: &Found<O>,
    selector: &LabelSelector,
    named: &dyn Fn(&str) -> bool,
    plan: &mut Plan,
) -> Result<Vec<Found<T>>, Error>
where
    O: Resource + Metadata<Ty = ObjectMeta>,
    T: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    let owner_goes = owner.metadata().deletion_timestamp.is_some();
    let mut claimed = Vec::new();
    for object in view.controlled::<T>(owner.uid())? {
        if selects(selector, object.metadata().labels.as_ref()) && named(object.name()) {
            claimed.push(object);
        } else if !owner_goes {
            release(&object.object, owner.uid(), plan);
        }
    }
    if owner_goes {
        return Ok(claimed);
    }
    // Headers say who owns and what labels there are: orphans are found without decoding anyone.
    let namespace = Some(owner.namespace());
    for object in view.snapshot.list(&resource_of::<T>(), namespace, None) {
        let header = &object.header;
        if header.owners.is_empty()
            && !header.deleting
            && named(&object.key.name)
            && selects(selector, Some(&labels(&object)))
        {
            adopt(&object, &to_value(&controller_ref(owner)), plan);
            claimed.push(typed::<T>(object)?);
        }
    }
    Ok(claimed)
}

/// The labels that a header has.
pub fn labels(object: &Object) -> BTreeMap<String, String> {
    let pairs = object.header.labels.iter();
    pairs
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

/// Makes `reference` the controller of an object.
pub fn adopt(object: &Object, reference: &Value, plan: &mut Plan) {
    plan.edit(object, |value| {
        let metadata = &mut value["metadata"];
        if let Some(owners) = metadata["ownerReferences"].as_array_mut() {
            owners.retain(|owner| owner["uid"] != reference["uid"]);
            owners.push(reference.clone());
        } else {
            metadata["ownerReferences"] = json!([reference]);
        }
    });
}

/// Takes the owner out of an object's references.
pub fn release(object: &Object, owner_uid: &str, plan: &mut Plan) {
    plan.edit(object, |value| remove_owner(value, owner_uid));
}

/// Takes the owner out of a value's references.
pub fn remove_owner(value: &mut Value, owner_uid: &str) {
    let Some(metadata) = value["metadata"].as_object_mut() else {
        return;
    };
    let Some(owners) = metadata
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    owners.retain(|owner| owner["uid"] != owner_uid);
    if owners.is_empty() {
        metadata.remove("ownerReferences");
    }
}

/// Keys of the controller of an object, if it is of kind `T`.
pub fn controller_keys<T: Resource>(object: &Object) -> Vec<WorkKey> {
    #[derive(serde::Deserialize)]
    struct Partial {
        metadata: ObjectMeta,
    }
    let Ok(partial) = object.typed::<Partial>() else {
        return Vec::new();
    };
    controller_of(&partial.metadata)
        .filter(|owner| owner.kind == T::KIND && owner.api_version == T::API_VERSION)
        .map(|owner| WorkKey::new(object.key.namespace.clone(), owner.name.as_str()))
        .into_iter()
        .collect()
}

/// Keys of those of `T` in the object's namespace whose selector matches it, when nobody controls it.
fn matching_keys<T>(
    view: &View<'_>,
    object: &Object,
    selector: fn(&T) -> Option<&LabelSelector>,
) -> Vec<WorkKey>
where
    T: Resource + DeserializeOwned + Send + Sync + 'static,
{
    let labels = labels(object);
    let owners = view
        .list::<T>(Some(&object.key.namespace))
        .unwrap_or_default();
    let matching = owners
        .iter()
        .filter(|owner| selector(owner).is_some_and(|selector| selects(selector, Some(&labels))));
    matching.map(|owner| WorkKey::of(&owner.object)).collect()
}

/// Pod → the ReplicaSet that controls it, or those that could adopt it.
pub fn pod_to_replica_sets(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if object.header.owners.is_empty() {
        return matching_keys::<ReplicaSet>(view, object, |set| {
            set.spec.as_ref().map(|spec| &spec.selector)
        });
    }
    controller_keys::<ReplicaSet>(object)
}

/// Pod → the ReplicationController that controls it, or those that could adopt it.
pub fn pod_to_replication_controllers(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if !object.header.owners.is_empty() {
        return controller_keys::<ReplicationController>(object);
    }
    let labels = labels(object);
    let controllers = view.list::<ReplicationController>(Some(&object.key.namespace));
    let matching = controllers.unwrap_or_default().into_iter().filter(|it| {
        let selector = it.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|wanted| {
            let mut wanted = wanted.iter();
            wanted.all(|(key, value)| labels.get(key) == Some(value))
        })
    });
    matching.map(|it| WorkKey::of(&it.object)).collect()
}

/// Pod → the StatefulSet that controls it, or those that could adopt it.
pub fn pod_to_stateful_sets(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if object.header.owners.is_empty() {
        return matching_keys::<StatefulSet>(view, object, |set| {
            set.spec.as_ref().map(|spec| &spec.selector)
        });
    }
    controller_keys::<StatefulSet>(object)
}

/// Pod → the DaemonSet that controls it, or those that could adopt it.
pub fn pod_to_daemon_sets(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if object.header.owners.is_empty() {
        return matching_keys::<DaemonSet>(view, object, |set| {
            set.spec.as_ref().map(|spec| &spec.selector)
        });
    }
    controller_keys::<DaemonSet>(object)
}

/// Pod → its Job, or those that could adopt it.
pub fn pod_to_jobs(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if object.header.owners.is_empty() {
        return matching_keys::<Job>(view, object, |job| job.spec.as_ref()?.selector.as_ref());
    }
    controller_keys::<Job>(object)
}

/// ReplicaSet → its Deployment, or those that could adopt it.
pub fn replica_set_to_deployments(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if object.header.owners.is_empty() {
        return matching_keys::<Deployment>(view, object, |deployment| {
            deployment.spec.as_ref().map(|spec| &spec.selector)
        });
    }
    controller_keys::<Deployment>(object)
}

/// Pod → the Deployment of its ReplicaSet: recreation waits for the last old pod.
pub fn pod_to_deployments(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let sets = controller_keys::<ReplicaSet>(object);
    let found = sets.iter().filter_map(|key| {
        view.snapshot
            .find("replicasets.apps", &key.namespace, &key.name)
    });
    found
        .flat_map(|set| controller_keys::<Deployment>(&set))
        .collect()
}

/// Job → its CronJob.
pub fn job_to_cron_jobs(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    controller_keys::<CronJob>(object)
}
