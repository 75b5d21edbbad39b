//! The templates that a workload has had, as ControllerRevisions (upstream's `controller/history`).
//!
//! `kubectl rollout history` and `undo` read them: `data` is a strategic merge patch that puts the template back. A
//! StatefulSet and a DaemonSet differ in the labels and in what they keep, so that is theirs, in their own files.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use k8s_openapi::{Metadata, Resource};
use serde_json::{Value, json};

use crate::Error;
use crate::hash::template_hash;
use crate::owned::{adopt, labels};
use crate::plan::{Plan, to_value};
use crate::pods::controller_ref;
use crate::selector::selects;
use crate::view::{Found, View, ms_of, typed};

const RESOURCE: &str = "controllerrevisions.apps";
/// Longest name of an owner in a revision's name; the hash comes behind it.
const PREFIX_CHARS: usize = 223;
/// Names tried in one step when others have them.
const TRIES: i32 = 16;

/// The revisions of an owner, oldest first; orphans that match are taken in.
pub fn revisions<O>(
    view: &View<'_>,
    owner: &Found<O>,
    selector: &LabelSelector,
    plan: &mut Plan,
) -> Result<Vec<Found<ControllerRevision>>, Error>
where
    O: Resource + Metadata<Ty = ObjectMeta>,
{
    let mut found = view.controlled::<ControllerRevision>(owner.uid())?;
    if owner.metadata().deletion_timestamp.is_none() {
        for object in (view.snapshot).list(RESOURCE, Some(owner.namespace()), None) {
            let orphan = object.header.owners.is_empty() && !object.header.deleting;
            if orphan && selects(selector, Some(&labels(&object))) {
                adopt(&object, &to_value(&controller_ref(owner)), plan);
                found.push(typed(object)?);
            }
        }
    }
    found.sort_by_cached_key(|it| {
        let created = it.metadata.creation_timestamp.as_ref().map_or(0, ms_of);
        (it.revision, created, it.name().to_owned())
    });
    Ok(found)
}

/// The patch that puts a template back.
pub fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = to_value(template);
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template of a patch.
pub fn template_of(revision: &ControllerRevision) -> Result<PodTemplateSpec, Error> {
    let data = revision.data.as_ref().map(|data| &data.0);
    let template = data.and_then(|data| data.pointer("/spec/template"));
    let mut template = template.cloned().unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    serde_json::from_value(template).map_err(|error| Error::Undecodable(error.to_string()))
}

/// Whether a revision is of this template. `resource` is the owner's, whose defaults are filled in on both sides: a
/// template stored before some default existed must not look new, or it would be rolled out.
pub fn is_of(revision: &ControllerRevision, data: &Value, resource: &str) -> bool {
    let Some(RawExtension(stored)) = &revision.data else {
        return false;
    };
    stored == data || defaulted(stored, resource) == defaulted(data, resource)
}

fn defaulted(data: &Value, resource: &str) -> Value {
    let mut object = json!({"metadata": {}, "spec": {"template": data["spec"]["template"]}});
    if let Some(kind) = kontiki_api::by_resource(resource) {
        kind.default(&mut object);
    }
    object["spec"]["template"].take()
}

/// The next number.
pub fn next_number(revisions: &[Found<ControllerRevision>]) -> i64 {
    revisions.last().map_or(0, |last| last.revision) + 1
}

/// A name and a hash that nobody else has, or the revision of just this template that has it. Collisions are counted.
pub fn place_for<O>(
    view: &View<'_>,
    owner: &Found<O>,
    data: &Value,
    collisions: &mut i32,
) -> Result<Place, Error> {
    let prefix: String = owner.name().chars().take(PREFIX_CHARS).collect();
    for _ in 0..TRIES {
        let hash = template_hash(data, Some(*collisions));
        let name = format!("{prefix}-{hash}");
        let taken = view.get::<ControllerRevision>(owner.namespace(), &name)?;
        match taken {
            None => return Ok(Place::Free { name, hash }),
            Some(it) if it.data.as_ref().is_some_and(|it| it.0 == *data) => {
                return Ok(Place::Same(it));
            }
            Some(_) => *collisions += 1,
        }
    }
    let why = format!("no name is left for a revision of {}", owner.name());
    Err(Error::Invalid(why))
}

/// Where a new revision goes.
pub enum Place {
    /// Under this name, which ends in this hash.
    Free {
        /// `metadata.name`.
        name: String,
        /// Hash of the template and of the collisions before.
        hash: String,
    },
    /// It is there already.
    Same(Found<ControllerRevision>),
}

/// A new revision.
pub fn revision_of<O>(
    owner: &Found<O>,
    name: &str,
    number: i64,
    data: Value,
    labels: BTreeMap<String, String>,
) -> ControllerRevision
where
    O: Resource + Metadata<Ty = ObjectMeta>,
{
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(owner.namespace().to_owned()),
            labels: Some(labels),
            annotations: owner.metadata().annotations.clone(),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_gives_its_template_back() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "web:1"}]},
        }))
        .unwrap();
        let data = data_of(&template);
        assert_eq!(data["spec"]["template"]["$patch"], "replace");
        let revision = ControllerRevision {
            data: Some(RawExtension(data.clone())),
            ..ControllerRevision::default()
        };
        assert_eq!(template_of(&revision).unwrap(), template);
        assert!(is_of(&revision, &data, "statefulsets.apps"));
        let mut defaulted = data.clone();
        defaulted["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
        assert!(is_of(&revision, &defaulted, "statefulsets.apps"));
        let mut other = data;
        other["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
        assert!(!is_of(&revision, &other, "statefulsets.apps"));
    }
}
