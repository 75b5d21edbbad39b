//! The provisioner that is built in: directories of the nodes, made by the agent at the first mount and removed when
//! the volume is gone. Its class is the default one until another is.
//!
//! A volume names no path but a handle: where an agent keeps its volumes is its own affair.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec,
    VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
pub use kontiki_api::volumes::LOCAL_PATH as PROVISIONER;
use kontiki_api::volumes::{NODE_ATTRIBUTE, capacity, class_of, requested};
use serde_json::{Value, json};

use super::{PROVISIONED_BY, annotation};
use crate::plan::Plan;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, everything};

const HOSTNAME: &str = "kubernetes.io/hostname";
const CLASS: &str = "local-path";
const CLASSES: &str = "storageclasses.storage.k8s.io";

/// Keeps the class there. What users change of it stays.
pub struct LocalPathClass;

impl Controller for LocalPathClass {
    fn name(&self) -> &'static str {
        "local-path-class-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[Watch {
            resource: CLASSES,
            map: everything,
        }]
    }

    fn initial(&self) -> Vec<WorkKey> {
        vec![WorkKey::all()]
    }

    fn reconcile(&self, view: &View<'_>, _: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        if view.snapshot.find(CLASSES, "", CLASS).is_none() {
            let default = "storageclass.kubernetes.io/is-default-class";
            plan.create(&StorageClass {
                metadata: ObjectMeta {
                    name: Some(CLASS.into()),
                    annotations: Some(BTreeMap::from([(default.into(), "true".into())])),
                    ..ObjectMeta::default()
                },
                provisioner: PROVISIONER.into(),
                allow_volume_expansion: Some(true),
                reclaim_policy: Some("Delete".into()),
                volume_binding_mode: Some("WaitForFirstConsumer".into()),
                ..StorageClass::default()
            });
        }
        Ok(plan)
    }
}

/// The name of the volume that is made for a claim.
pub fn name_for(claim_uid: &str) -> String {
    format!("pvc-{claim_uid}")
}

/// A new volume for a claim on the node that was chosen, or why there is none.
pub fn volume(
    claim: &Found<PersistentVolumeClaim>,
    class: &StorageClass,
    node: Option<&Node>,
) -> Result<PersistentVolume, String> {
    let spec = claim.spec.clone().unwrap_or_default();
    let Some(node) = node else {
        return Err(
            "no node has been selected: volumeBindingMode must be WaitForFirstConsumer".into(),
        );
    };
    let labels = node.metadata.labels.as_ref();
    let Some(host) = labels.and_then(|labels| labels.get(HOSTNAME)) else {
        return Err(format!("the selected node has no label {HOSTNAME}"));
    };
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("a directory cannot be a volume of mode Block".into());
    }
    let shared = |mode: &&String| !matches!(mode.as_str(), "ReadWriteOnce" | "ReadWriteOncePod");
    if let Some(mode) = spec.access_modes.iter().flatten().find(shared) {
        return Err(format!(
            "a directory of one node cannot be mounted {mode}: ReadWriteOnce and ReadWriteOncePod are supported"
        ));
    }
    let requests = spec
        .resources
        .and_then(|it| it.requests)
        .unwrap_or_default();
    let name = name_for(claim.uid());
    let node = node.metadata.name.clone().unwrap_or_default();
    Ok(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            annotations: Some(BTreeMap::from([(
                PROVISIONED_BY.into(),
                PROVISIONER.into(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            capacity: requests
                .get("storage")
                .map(|storage| BTreeMap::from([("storage".into(), storage.clone())])),
            access_modes: spec.access_modes,
            volume_mode: Some("Filesystem".into()),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
            storage_class_name: Some(class_of(claim).to_owned()),
            mount_options: class.mount_options.clone(),
            claim_ref: Some(reference_to(claim)),
            csi: Some(CSIPersistentVolumeSource {
                driver: PROVISIONER.into(),
                volume_handle: name,
                volume_attributes: Some(BTreeMap::from([(NODE_ATTRIBUTE.into(), node)])),
                ..CSIPersistentVolumeSource::default()
            }),
            node_affinity: Some(only_on(host)),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}

fn reference_to(claim: &Found<PersistentVolumeClaim>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        namespace: Some(claim.namespace().into()),
        name: Some(claim.name().into()),
        uid: Some(claim.uid().into()),
        ..ObjectReference::default()
    }
}

fn only_on(host: &str) -> VolumeNodeAffinity {
    VolumeNodeAffinity {
        required: Some(NodeSelector {
            node_selector_terms: vec![NodeSelectorTerm {
                match_expressions: Some(vec![NodeSelectorRequirement {
                    key: HOSTNAME.into(),
                    operator: "In".into(),
                    values: Some(vec![host.into()]),
                }]),
                match_fields: None,
            }],
        }),
    }
}

/// A claim that asks for more gets it: a directory is as large as its disk.
pub fn grow(
    volume: &Found<PersistentVolume>,
    claim: &Found<PersistentVolumeClaim>,
    plan: &mut Plan,
) {
    let ours =
        annotation(volume.metadata.annotations.as_ref(), PROVISIONED_BY) == Some(PROVISIONER);
    if !ours || requested(claim) <= capacity(volume) {
        return;
    }
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec
        .resources
        .and_then(|it| it.requests)
        .unwrap_or_default();
    let Some(Quantity(wanted)) = requests.get("storage") else {
        return;
    };
    plan.edit(&volume.object, |value: &mut Value| {
        value["spec"]["capacity"]["storage"] = json!(wanted);
    });
    plan.edit_status(&claim.object, |value: &mut Value| {
        value["status"]["capacity"]["storage"] = json!(wanted);
    });
    plan.atomic = true;
}
