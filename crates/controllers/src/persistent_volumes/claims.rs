//! Finds a volume for a claim, or has one made, and tells how it stands.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kontiki_api::volumes::{NodeRef, SELECTED_NODE, best, class_of, is_for, mismatch, volume_of};
use kontiki_state::Object;
use serde_json::{Value, json};

use super::{BY_CONTROLLER, COMPLETED, annotate, annotation, local_path};
use crate::plan::Plan;
use crate::view::{Found, View, typed};
use crate::{Controller, Error, Watch, WorkKey, itself};

const CLAIMS: &str = "persistentvolumeclaims";
/// What volumes that nobody makes by themselves name as their provisioner.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Annotations by which a provisioner outside learns that a volume is wanted of it.
const PROVISIONER: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];

/// The controller of claims.
pub struct ClaimBinder;

struct Work<'a> {
    view: &'a View<'a>,
    claim: Found<PersistentVolumeClaim>,
    plan: Plan,
}

impl Controller for ClaimBinder {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: CLAIMS,
                map: itself,
            },
            Watch {
                resource: "persistentvolumes",
                map: claims_of_volume,
            },
            Watch {
                resource: "storageclasses.storage.k8s.io",
                map: open_claims,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(claim) = view.get::<PersistentVolumeClaim>(&key.namespace, &key.name)? else {
            return Ok(Plan::none());
        };
        let completed = annotation(claim.metadata.annotations.as_ref(), COMPLETED).is_some();
        let mut work = Work {
            view,
            claim,
            plan: Plan::none(),
        };
        if completed {
            work.check_bound()?;
        } else if work.claim.metadata.deletion_timestamp.is_none() {
            work.find_volume()?;
        }
        Ok(work.plan)
    }
}

/// Volume → the claim that it is for, or all that look for one.
fn claims_of_volume(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let Ok(volume) = object.typed::<PersistentVolume>() else {
        return Vec::new();
    };
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    match reference {
        Some(claim) => vec![WorkKey::new(
            claim.namespace.as_deref().unwrap_or_default(),
            claim.name.as_deref().unwrap_or_default(),
        )],
        None => open_claims(view, object),
    }
}

/// All claims that are not bound.
fn open_claims(view: &View<'_>, _: &Object) -> Vec<WorkKey> {
    let claims = view.snapshot.list(CLAIMS, None, None);
    let claims = claims.filter_map(|claim| typed::<PersistentVolumeClaim>(claim).ok());
    let open =
        claims.filter(|claim| annotation(claim.metadata.annotations.as_ref(), COMPLETED).is_none());
    open.map(|claim| WorkKey::of(&claim.object)).collect()
}

impl Work<'_> {
    fn volume(&self) -> Result<Option<Found<PersistentVolume>>, Error> {
        self.view.get("", volume_of(&self.claim))
    }

    /// A claim that was bound stays so, or has lost its volume.
    fn check_bound(&mut self) -> Result<(), Error> {
        if volume_of(&self.claim).is_empty() {
            let why =
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
            self.lose("ClaimLost", why);
            return Ok(());
        }
        match self.volume()? {
            None => {
                let why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
                self.lose("ClaimLost", why);
            }
            Some(volume) => {
                let free = volume
                    .spec
                    .as_ref()
                    .is_some_and(|it| it.claim_ref.is_none());
                if free || is_for(&volume, &self.claim) {
                    local_path::grow(&volume, &self.claim, &mut self.plan);
                    self.bind(&volume);
                } else {
                    let why =
                        "Two claims are bound to the same volume, this one is bound incorrectly";
                    self.lose("ClaimMisbound", why);
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self, reason: &str, why: &str) {
        if self.set_phase("Lost") {
            self.plan.warn(&self.claim, reason, why);
        }
    }

    /// Whether the phase is news.
    fn set_phase(&mut self, phase: &str) -> bool {
        let before = self.plan.writes.len();
        self.plan.edit_status(&self.claim.object, |value| {
            value["status"]["phase"] = json!(phase);
            if phase != "Bound"
                && let Some(status) = value["status"].as_object_mut()
            {
                status.remove("capacity");
                status.remove("accessModes");
            }
        });
        self.plan.writes.len() > before
    }

    fn find_volume(&mut self) -> Result<(), Error> {
        if !volume_of(&self.claim).is_empty() {
            return self.take_named();
        }
        let class = class_of(&self.claim).to_owned();
        let class = self.view.get::<StorageClass>("", &class)?;
        let annotations = self.claim.metadata.annotations.clone();
        let node = annotation(annotations.as_ref(), SELECTED_NODE);
        let node = match node {
            Some(name) => self.view.get::<Node>("", name)?,
            None => None,
        };
        let first = "WaitForFirstConsumer";
        let binding = class
            .as_ref()
            .and_then(|it| it.volume_binding_mode.as_deref());
        let waits = binding == Some(first) && node.is_none();
        let volumes = self.view.list::<PersistentVolume>(None)?;
        let labels = node.as_ref().and_then(|node| node.metadata.labels.clone());
        let labels = labels.unwrap_or_default();
        let from = node.as_ref().map(|node| NodeRef {
            name: node.name(),
            labels: &labels,
        });
        let all = volumes.iter().map(|volume| &**volume);
        let chosen = best(all, &self.claim, from, waits);
        let chosen = chosen.and_then(|it| it.metadata.name.as_deref());
        if let Some(volume) = volumes.iter().find(|it| Some(it.name()) == chosen) {
            self.bind(volume);
            return Ok(());
        }
        self.set_phase("Pending");
        if waits {
            let why = "waiting for first consumer to be created before binding";
            self.plan.event(&self.claim, first, why);
        } else if class_of(&self.claim).is_empty() {
            let why = "no persistent volumes available for this claim and no storage class is set";
            self.plan.event(&self.claim, "FailedBinding", why);
        } else {
            self.provision(class, node.as_ref());
        }
        Ok(())
    }

    /// A claim that names its volume waits for that one.
    fn take_named(&mut self) -> Result<(), Error> {
        let name = volume_of(&self.claim).to_owned();
        let Some(volume) = self.volume()? else {
            self.set_phase("Pending");
            let why = format!("volume \"{name}\" not found");
            self.plan.warn(&self.claim, "FailedBinding", why);
            return Ok(());
        };
        let free = volume
            .spec
            .as_ref()
            .is_some_and(|it| it.claim_ref.is_none());
        if !free && !is_for(&volume, &self.claim) {
            self.set_phase("Pending");
            let why = format!("volume \"{name}\" already bound to a different claim.");
            self.plan.warn(&self.claim, "FailedBinding", why);
        } else if let Some(why) = mismatch(&volume, &self.claim) {
            self.set_phase("Pending");
            let why = format!("Cannot bind to requested volume \"{name}\": {why}");
            self.plan.warn(&self.claim, "VolumeMismatch", why);
        } else {
            self.bind(&volume);
        }
        Ok(())
    }

    /// Writes both sides.
    fn bind(&mut self, volume: &Found<PersistentVolume>) {
        let reserved = volume
            .spec
            .as_ref()
            .is_some_and(|it| it.claim_ref.is_some());
        let chosen = volume_of(&self.claim).is_empty();
        let (claim, spec) = (&self.claim, volume.spec.clone().unwrap_or_default());
        let reference = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": claim.namespace(), "name": claim.name(), "uid": claim.uid(),
            "resourceVersion": claim.object.revision.to_string(),
        });
        let known = spec.claim_ref.as_ref().and_then(|it| it.uid.as_deref()) == Some(claim.uid());
        let since = self.view.now();
        self.plan.edit(&volume.object, |value: &mut Value| {
            if !known {
                value["spec"]["claimRef"] = reference;
            }
            if !reserved {
                annotate(value, BY_CONTROLLER);
            }
            if value["status"]["phase"] != "Bound" {
                value["status"]["phase"] = json!("Bound");
                value["status"]["lastPhaseTransitionTime"] = json!(since);
            }
        });
        self.plan.edit(&claim.object, |value: &mut Value| {
            value["spec"]["volumeName"] = json!(volume.name());
            if chosen {
                annotate(value, BY_CONTROLLER);
            }
            annotate(value, COMPLETED);
            value["status"]["phase"] = json!("Bound");
            value["status"]["accessModes"] = json!(spec.access_modes);
            if value["status"]["capacity"]["storage"].is_null() {
                value["status"]["capacity"] = json!(spec.capacity);
            }
        });
        self.plan.atomic = true;
    }

    fn provision(&mut self, class: Option<Found<StorageClass>>, node: Option<&Found<Node>>) {
        let Some(class) = class else {
            let name = class_of(&self.claim);
            let why = format!("storageclass.storage.k8s.io \"{name}\" not found");
            self.plan.warn(&self.claim, "ProvisioningFailed", why);
            return;
        };
        match class.provisioner.as_str() {
            NO_PROVISIONER => {}
            local_path::PROVISIONER => {
                match local_path::volume(&self.claim, &class, node.map(|node| &**node)) {
                    Ok(volume) => {
                        self.plan.create(&volume);
                        let name = volume.metadata.name.unwrap_or_default();
                        let message = format!("Successfully provisioned volume {name}");
                        let reason = "ProvisioningSucceeded";
                        self.plan.event(&self.claim, reason, message);
                    }
                    Err(why) => self.plan.warn(&self.claim, "ProvisioningFailed", why),
                }
            }
            outside => {
                self.plan.writes.clear();
                self.plan.edit(&self.claim.object, |value| {
                    for name in PROVISIONER {
                        value["metadata"]["annotations"][name] = json!(outside);
                    }
                    value["status"]["phase"] = json!("Pending");
                });
                let why = format!(
                    "Waiting for a volume to be created either by the external provisioner '{outside}' or manually by \
                     the system administrator. If volume creation is delayed, please verify that the provisioner is \
                     running and correctly registered."
                );
                self.plan.event(&self.claim, "ExternalProvisioning", why);
            }
        }
    }
}
