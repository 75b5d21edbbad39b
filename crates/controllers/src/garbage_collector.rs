//! The garbage collector: objects whose owners are gone go too; foreground deletion waits for dependents, orphaning
//! sets them free.
//!
//! An owner is the object of that kind, name and uid in the dependent's namespace (or of cluster scope), read from the
//! authoritative state. An owner of a kind that nobody knows counts as alive.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kontiki_api::Kind;
use kontiki_state::{Key, Object};
use serde_json::Value;

use crate::owned::remove_owner;
use crate::plan::{EventNote, Plan, Propagation};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
const NAMESPACES: &str = "namespaces";
/// Namespaces in which an owner is looked for that is not where it should be: it is for a message, no more.
const SEARCHED_NAMESPACES: usize = 100;
/// After so long we look whether the dependents of an owner that orphans them are all free.
const ORPHANS_FREE_MS: u64 = 50;
/// Between resource and name in a key.
const SEPARATOR: char = '|';

/// The controller.
pub struct GarbageCollector;

#[derive(serde::Deserialize)]
struct Partial {
    metadata: ObjectMeta,
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: "",
            map: concerned,
        }]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some((resource, name)) = key.name.split_once(SEPARATOR) else {
            return Ok(plan);
        };
        let Some(object) = view.snapshot.find(resource, &key.namespace, name) else {
            return Ok(plan);
        };
        let metadata = metadata(&object)?;
        if object.header.deleting {
            finalize(view, &object, &metadata, &mut plan)?;
        } else if !object.header.owners.is_empty() {
            judge(view, &object, &metadata, &mut plan)?;
        }
        Ok(plan)
    }
}

fn metadata(object: &Object) -> Result<ObjectMeta, Error> {
    let partial = object
        .typed::<Partial>()
        .map_err(|error| Error::Undecodable(error.to_string()))?;
    Ok(partial.metadata.clone())
}

fn has_finalizer(metadata: &ObjectMeta, name: &str) -> bool {
    metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == name)
}

fn key_of(object: &Object) -> WorkKey {
    let key = &object.key;
    WorkKey::new(
        key.namespace.clone(),
        format!("{}{SEPARATOR}{}", key.resource, key.name),
    )
}

/// Objects that a change may condemn or set free.
fn concerned(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if view.kinds.by_resource(&object.key.resource).is_none() {
        return Vec::new();
    }
    let stored = view.snapshot.get(&object.key);
    let gone = stored.is_none_or(|stored| stored.header.uid != object.header.uid);
    let mut keys = Vec::new();
    if gone || object.header.deleting {
        let dependents = view.snapshot.by_owner(&object.header.uid);
        keys.extend(dependents.iter().map(|dependent| key_of(dependent)));
    }
    if object.header.deleting && !gone {
        keys.push(key_of(object));
    }
    if !object.header.owners.is_empty()
        && let Ok(metadata) = metadata(object)
    {
        let owners = metadata.owner_references.iter().flatten();
        let owners: Vec<Owner> = owners.map(|owner| look_up(view, object, owner)).collect();
        if owners.iter().any(|owner| !matches!(owner, Owner::Solid)) && !gone {
            keys.push(key_of(object));
        }
        let waiting = owners.into_iter().filter_map(|owner| match owner {
            Owner::Waiting(owner) => Some(owner),
            _ => None,
        });
        keys.extend(waiting.map(|owner| key_of(&owner)));
    }
    keys
}

/// What an owner reference points to.
enum Owner {
    /// A living object.
    Solid,
    /// Nothing, or another object of that name.
    Dangling,
    /// An object that waits for its dependents to go.
    Waiting(std::sync::Arc<Object>),
}

fn kind_of<'a>(view: &'a View<'_>, reference: &OwnerReference) -> Option<&'a Kind> {
    let group = reference
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    view.kinds
        .iter()
        .find(|kind| kind.group() == group && kind.kind() == reference.kind)
}

fn look_up(view: &View<'_>, dependent: &Object, reference: &OwnerReference) -> Owner {
    let Some(kind) = kind_of(view, reference) else {
        return Owner::Solid;
    };
    let namespace = if kind.namespaced() {
        &*dependent.key.namespace
    } else {
        ""
    };
    if kind.namespaced() && namespace.is_empty() {
        return Owner::Solid; // a cluster-scoped object cannot be owned by a namespaced one: never guess
    }
    let key = Key::new(kind.resource().clone(), namespace, reference.name.as_str());
    match view
        .snapshot
        .get(&key)
        .filter(|owner| *owner.header.uid == *reference.uid)
    {
        None => Owner::Dangling,
        Some(owner) if owner.header.deleting => match metadata(&owner) {
            Ok(metadata) if has_finalizer(&metadata, FOREGROUND) => Owner::Waiting(owner),
            _ => Owner::Solid,
        },
        Some(_) => Owner::Solid,
    }
}

/// Deletes a dependent without a living owner, or drops its references to dead ones.
fn judge(
    view: &View<'_>,
    object: &Object,
    metadata: &ObjectMeta,
    plan: &mut Plan,
) -> Result<(), Error> {
    let (mut n_solid, mut n_waiting, mut lost) = (0, 0, Vec::new());
    for reference in metadata.owner_references.iter().flatten() {
        match look_up(view, object, reference) {
            Owner::Solid => n_solid += 1,
            Owner::Dangling => {
                tell_of_other_namespace(view, object, reference, plan);
                lost.push(reference.uid.clone());
            }
            Owner::Waiting(_) => {
                n_waiting += 1;
                lost.push(reference.uid.clone());
            }
        }
    }
    if n_solid > 0 {
        plan.edit(object, |value| {
            lost.iter().for_each(|uid| remove_owner(value, uid))
        });
        return Ok(());
    }
    if lost.is_empty() {
        return Ok(());
    }
    let propagation = if n_waiting > 0 && !view.snapshot.by_owner(&object.header.uid).is_empty() {
        Propagation::Foreground
    } else if has_finalizer(metadata, ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(metadata, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    plan.delete_with(object, None, propagation);
    Ok(())
}

/// Says so when the owner that is missed lives in another namespace, whence nothing can be owned: whoever wrote the
/// reference should learn why his object goes.
fn tell_of_other_namespace(
    view: &View<'_>,
    object: &Object,
    reference: &OwnerReference,
    plan: &mut Plan,
) {
    let Some(kind) = kind_of(view, reference).filter(|kind| kind.namespaced()) else {
        return;
    };
    let namespaces = view.snapshot.list(NAMESPACES, None, None);
    let is_elsewhere = namespaces.take(SEARCHED_NAMESPACES).any(|namespace| {
        let found = view
            .snapshot
            .find(kind.resource(), &namespace.key.name, &reference.name);
        found.is_some_and(|owner| *owner.header.uid == *reference.uid)
    });
    if is_elsewhere {
        let namespace = &object.key.namespace;
        let message = format!(
            "ownerRef [{}/{}, namespace: {namespace}, name: {}, uid: {}] does not exist in namespace {namespace:?}",
            reference.api_version, reference.kind, reference.name, reference.uid
        );
        plan.events.push(EventNote {
            about: object.key.clone(),
            uid: Arc::clone(&object.header.uid),
            warning: true,
            reason: "OwnerRefInvalidNamespace".to_owned(),
            message,
        });
    }
}

/// Objects that may be owned by one: in its namespace, or anywhere if it is in none. A reference from elsewhere owns
/// nothing, and so holds nothing up and is not taken away.
fn dependents_of(view: &View<'_>, owner: &Object) -> Vec<Arc<Object>> {
    let mut dependents = view.snapshot.by_owner(&owner.header.uid);
    let namespace = &owner.key.namespace;
    dependents.retain(|dependent| namespace.is_empty() || dependent.key.namespace == *namespace);
    dependents
}

/// Does what the finalizers of an object that is being deleted ask of us.
fn finalize(
    view: &View<'_>,
    object: &Object,
    metadata_of: &ObjectMeta,
    plan: &mut Plan,
) -> Result<(), Error> {
    let dependents = dependents_of(view, object);
    if has_finalizer(metadata_of, ORPHAN) {
        for dependent in &dependents {
            plan.edit(dependent, |value| remove_owner(value, &object.header.uid));
        }
        if dependents.is_empty() {
            plan.edit(object, |value| remove_finalizer(value, ORPHAN));
        } else {
            // Set free, they no longer say whose they were: nothing else would bring us back.
            plan.requeue_after_ms(ORPHANS_FREE_MS);
        }
    } else if has_finalizer(metadata_of, FOREGROUND) {
        let mut blocked = false;
        for dependent in &dependents {
            let references = metadata(dependent)?.owner_references.unwrap_or_default();
            blocked |= references.iter().any(|reference| {
                reference.uid == *object.header.uid && reference.block_owner_deletion == Some(true)
            });
            if !dependent.header.deleting {
                judge(view, dependent, &metadata(dependent)?, plan)?;
            }
        }
        if !blocked {
            plan.edit(object, |value| remove_finalizer(value, FOREGROUND));
        }
    }
    Ok(())
}

fn remove_finalizer(value: &mut Value, name: &str) {
    let Some(metadata) = value["metadata"].as_object_mut() else {
        return;
    };
    let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) else {
        return;
    };
    list.retain(|finalizer| finalizer != name);
    if list.is_empty() {
        metadata.remove("finalizers");
    }
}
