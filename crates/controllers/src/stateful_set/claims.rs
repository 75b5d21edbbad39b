//! The claims that a StatefulSet's pods bring: made from templates, kept or deleted as
//! `persistentVolumeClaimRetentionPolicy` says.
//!
//! Deletion is the garbage collector's: a claim that should go with the set belongs to the set, one that should go
//! when its pod is scaled away belongs to the pod from then on.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::{Metadata, Resource};
use serde_json::json;

use super::Work;
use super::identity::ordinal;
use crate::Error;
use crate::pods::controller_ref;
use crate::view::{Found, controller_of};

/// Who should own a claim.
struct Owners {
    set: bool,
    pod: bool,
}

fn belongs_to<T: Resource>(claim: &PersistentVolumeClaim, uid: &str) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    let mut owners = owners.filter(|owner| owner.kind == T::KIND);
    owners.any(|owner| owner.uid == uid)
}

impl Work<'_> {
    fn deletes(&self, when: &str) -> bool {
        let policy = (self.spec.persistent_volume_claim_retention_policy).as_ref();
        let value = policy.and_then(|policy| match when {
            "scaled" => policy.when_scaled.as_deref(),
            _ => policy.when_deleted.as_deref(),
        });
        value == Some("Delete")
    }

    fn owners(&self, ordinal: i32) -> Owners {
        let pod = self.deletes("scaled") && !self.in_range(ordinal);
        Owners {
            set: self.deletes("deleted") && !pod,
            pod,
        }
    }

    /// Names of claims of an ordinal, by the names of their templates.
    fn claim_names(&self, ordinal: i32) -> Vec<(String, String)> {
        let templates = self.spec.volume_claim_templates.iter().flatten();
        let names = templates.filter_map(|template| template.metadata.name.clone());
        names
            .map(|name| (format!("{name}-{}-{ordinal}", self.set.name()), name))
            .map(|(claim, template)| (template, claim))
            .collect()
    }

    /// Volumes of the claims, in place of volumes of the same names.
    pub fn mount_claims(&self, spec: &mut PodSpec, ordinal: i32) {
        let names = self.claim_names(ordinal);
        let mut volumes: Vec<Volume> = Vec::new();
        for (template, claim_name) in &names {
            volumes.push(Volume {
                name: template.clone(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: claim_name.clone(),
                    read_only: None,
                }),
                ..Volume::default()
            });
        }
        let others = spec.volumes.take().into_iter().flatten();
        volumes.extend(others.filter(|it| names.iter().all(|(name, _)| *name != it.name)));
        spec.volumes = (!volumes.is_empty()).then_some(volumes);
    }

    /// Whether a pod has the volumes of its claims, which cannot be given to it later.
    pub fn has_claims(&self, pod: &Pod) -> bool {
        let Some(ordinal) = ordinal(pod) else {
            return false;
        };
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        let mounts = |template: &str, claim: &str| {
            let mut volumes = volumes.into_iter().flatten();
            volumes.any(|volume| {
                let source = volume.persistent_volume_claim.as_ref();
                volume.name == template && source.is_some_and(|it| it.claim_name == claim)
            })
        };
        let names = self.claim_names(ordinal);
        names
            .iter()
            .all(|(template, claim)| mounts(template, claim))
    }

    fn claim(&self, name: &str) -> Result<Option<Found<PersistentVolumeClaim>>, Error> {
        self.view
            .get::<PersistentVolumeClaim>(self.set.namespace(), name)
    }

    /// Whether a claim is about to go with a pod of this name that is no more.
    pub fn has_stale_claim(&self, ordinal: i32) -> Result<bool, Error> {
        if !self.deletes("scaled") {
            return Ok(false);
        }
        let pod = format!("{}-{ordinal}", self.set.name());
        for (_, name) in self.claim_names(ordinal) {
            let Some(claim) = self.claim(&name)? else {
                continue;
            };
            let owners = claim.metadata.owner_references.iter().flatten();
            let mut owners = owners.filter(|owner| owner.kind == Pod::KIND);
            if owners.any(|owner| owner.name == pod) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the claims of an ordinal that are missing. Whether the pod may be made: not while a claim goes.
    pub fn make_claims(&mut self, ordinal: i32) -> Result<bool, Error> {
        let names = self.claim_names(ordinal);
        let templates = self.spec.volume_claim_templates.clone();
        let pod = format!("{}-{ordinal}", self.set.name());
        for (template, (_, name)) in templates.into_iter().flatten().zip(names) {
            if let Some(claim) = self.claim(&name)? {
                if claim.metadata.deletion_timestamp.is_some() {
                    let message = format!(
                        "create Pod {pod} in StatefulSet {} failed error: pvc {name} is being deleted",
                        self.set.name()
                    );
                    self.plan.warn(&self.set, "FailedCreate", message);
                    return Ok(false);
                }
                continue;
            }
            let claim = self.new_claim(template, &name, ordinal);
            let told = format!("Claim {{}} Pod {pod} in StatefulSet {}", self.set.name());
            let success = format!("create {told} success");
            let failure = format!("create {} failed error: ", told.replacen("{}", &name, 1));
            self.plan.create_told(&claim, &self.set, &success, &failure);
        }
        Ok(true)
    }

    fn new_claim(
        &self,
        template: PersistentVolumeClaim,
        name: &str,
        ordinal: i32,
    ) -> PersistentVolumeClaim {
        let mut claim = template;
        claim.metadata.name = Some(name.to_owned());
        claim.metadata.namespace = Some(self.set.namespace().to_owned());
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(self.spec.selector.match_labels.clone().unwrap_or_default());
        // Born to its owner: nothing is left behind if the next write never comes.
        let owner = self.owners(ordinal).set.then(|| controller_ref(&self.set));
        claim.metadata.owner_references = owner.map(|owner| vec![owner]);
        claim.status = None;
        claim
    }

    /// Gives the claims of a pod to whom the policy says. Whether something was to be done.
    pub fn hand_over_claims(&mut self, pod: &Found<Pod>) -> Result<bool, Error> {
        let Some(ordinal) = ordinal(pod) else {
            return Ok(false);
        };
        let wanted = self.owners(ordinal);
        let (set_uid, pod_uid) = (self.set.uid().to_owned(), pod.uid().to_owned());
        let mut handed = false;
        for (_, name) in self.claim_names(ordinal) {
            let Some(claim) = self.claim(&name)? else {
                continue;
            };
            let (of_set, of_pod) = (
                belongs_to::<StatefulSet>(&claim, &set_uid),
                belongs_to::<Pod>(&claim, &pod_uid),
            );
            let foreign = controller_of(claim.metadata())
                .is_some_and(|owner| owner.uid != set_uid && owner.uid != pod_uid);
            if foreign || (of_set == wanted.set && of_pod == wanted.pod) {
                continue;
            }
            let owner: Option<OwnerReference> = match (wanted.set, wanted.pod) {
                (true, _) => Some(controller_ref(&self.set)),
                (_, true) => Some(controller_ref(pod)),
                _ => None,
            };
            self.plan.edit(&claim.object, |value| {
                for uid in [&set_uid, &pod_uid] {
                    crate::owned::remove_owner(value, uid);
                }
                let Some(owner) = owner else { return };
                match value["metadata"]["ownerReferences"].as_array_mut() {
                    Some(owners) => owners.push(json!(owner)),
                    None => value["metadata"]["ownerReferences"] = json!([owner]),
                }
            });
            handed = true;
        }
        Ok(handed)
    }
}
