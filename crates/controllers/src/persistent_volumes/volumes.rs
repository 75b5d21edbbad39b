//! The phase of a volume, and what becomes of it when its claim is gone.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kontiki_api::volumes::volume_of;
use kontiki_state::Object;
use serde_json::{Value, json};

use super::{BY_CONTROLLER, PROVISIONED_BY, annotation, local_path};
use crate::plan::Plan;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// The controller of volumes.
pub struct VolumePhases;

impl Controller for VolumePhases {
    fn name(&self) -> &'static str {
        "persistentvolume-binder"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "persistentvolumes",
                map: itself,
            },
            Watch {
                resource: "persistentvolumeclaims",
                map: volume_of_claim,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(volume) = view.get::<PersistentVolume>("", &key.name)? else {
            return Ok(plan);
        };
        let spec = volume.spec.clone().unwrap_or_default();
        let reference = spec.claim_ref.unwrap_or_default();
        let uid = reference.uid.as_deref().unwrap_or("");
        if uid.is_empty() {
            set_phase(view, &volume, "Available", None, &mut plan);
            return Ok(plan);
        }
        let claim = view.get::<PersistentVolumeClaim>(
            reference.namespace.as_deref().unwrap_or_default(),
            reference.name.as_deref().unwrap_or_default(),
        )?;
        match claim.filter(|claim| claim.uid() == uid) {
            None => release(view, &volume, &mut plan),
            // The claim's own controller writes both sides.
            Some(claim) if volume_of(&claim) == volume.name() || volume_of(&claim).is_empty() => {}
            Some(_) => unbind(view, &volume, &mut plan),
        }
        Ok(plan)
    }
}

fn volume_of_claim(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let Ok(claim) = object.typed::<PersistentVolumeClaim>() else {
        return Vec::new();
    };
    // Also one that was made for it and that it has not taken yet.
    let made = local_path::name_for(&object.header.uid);
    let named = [volume_of(&claim), &made].map(str::to_owned).into_iter();
    let named = named.filter(|name| !name.is_empty());
    named.map(|name| WorkKey::new("", name)).collect()
}

fn phase(volume: &PersistentVolume) -> &str {
    let status = volume.status.as_ref();
    status.and_then(|it| it.phase.as_deref()).unwrap_or("")
}

fn set_phase(
    view: &View<'_>,
    volume: &Found<PersistentVolume>,
    phase: &str,
    message: Option<&str>,
    plan: &mut Plan,
) {
    let since = view.now();
    plan.edit_status(&volume.object, |value: &mut Value| {
        if value["status"]["phase"] != phase {
            value["status"] = json!({"phase": phase, "lastPhaseTransitionTime": since});
            if let Some(message) = message {
                value["status"]["message"] = json!(message);
            }
        }
    });
}

/// Nobody claims it any more.
fn release(view: &View<'_>, volume: &Found<PersistentVolume>, plan: &mut Plan) {
    if !matches!(phase(volume), "Released" | "Failed") {
        set_phase(view, volume, "Released", None, plan);
        return; // its new phase brings us back
    }
    let spec = volume.spec.clone().unwrap_or_default();
    let maker = annotation(volume.metadata.annotations.as_ref(), PROVISIONED_BY);
    match spec.persistent_volume_reclaim_policy.as_deref() {
        Some("Delete") if maker == Some(local_path::PROVISIONER) => plan.delete(&volume.object),
        // Whoever made it deletes it.
        Some("Delete") if maker.is_some() || spec.csi.is_some() => {}
        Some("Delete") => fail(
            view,
            volume,
            "VolumeFailedDelete",
            "error getting deleter volume plugin for volume",
            plan,
        ),
        Some("Recycle") => fail(
            view,
            volume,
            "VolumeFailedRecycle",
            "No recycler plugin found for the volume!",
            plan,
        ),
        _ => {}
    }
}

fn fail(
    view: &View<'_>,
    volume: &Found<PersistentVolume>,
    reason: &str,
    why: &str,
    plan: &mut Plan,
) {
    if phase(volume) != "Failed" {
        set_phase(view, volume, "Failed", Some(why), plan);
        plan.warn(volume, reason, why);
    }
}

/// Its claim took another one.
fn unbind(view: &View<'_>, volume: &Found<PersistentVolume>, plan: &mut Plan) {
    let annotations = volume.metadata.annotations.as_ref();
    let spec = volume.spec.clone().unwrap_or_default();
    let made = annotation(annotations, PROVISIONED_BY).is_some();
    if made && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete") {
        release(view, volume, plan);
        return;
    }
    let ours = annotation(annotations, BY_CONTROLLER).is_some();
    let since = view.now();
    plan.edit(&volume.object, |value: &mut Value| {
        if ours {
            if let Some(spec) = value["spec"].as_object_mut() {
                spec.remove("claimRef");
            }
            if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
                annotations.remove(BY_CONTROLLER);
            }
        } else if let Some(reference) = value["spec"]["claimRef"].as_object_mut() {
            // Who reserved it by name keeps it reserved.
            reference.remove("uid");
            reference.remove("resourceVersion");
        }
        value["status"] = json!({"phase": "Available", "lastPhaseTransitionTime": since});
    });
}
