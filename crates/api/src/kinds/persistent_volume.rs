//! PersistentVolume: defaults, strategy and columns. Rules are in `persistent_volume/validate.rs`.

mod sources;
mod validate;

use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::{Value, json};

use super::persistent_volume_claim::{
    capacity_cell, class_cell, class_warning, modes_cell, phase_cell,
};
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::Meta;
use crate::podspec::default_volumes;
use crate::podspec::json::{child, ensure, into_object, list, or, or_pointer, text};
use crate::podspec::warnings::FORMER_SOURCES;
use crate::table;

/// PersistentVolume.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "persistentvolume",
    short_names: &["pv"],
    namespaced: false,
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    hooks: Hooks {
        default,
        prepare_create,
        validate: validate::validate,
        warnings,
        row,
        fields,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<PersistentVolume>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Capacity", "What the volume holds."),
    Column::text("Access Modes", "How the volume can be mounted."),
    Column::text(
        "Reclaim Policy",
        "What becomes of the volume when its claim is gone.",
    ),
    Column::text("Status", "The phase of the volume."),
    Column::text("Claim", "The claim that the volume is bound to."),
    Column::text("StorageClass", "The class of storage of the volume."),
    Column::text(
        "VolumeAttributesClass",
        "The class of attributes of the volume.",
    ),
    Column::text("Reason", "Why the volume is in its phase."),
    Column::AGE,
    Column::text(
        "VolumeMode",
        "Whether the volume is a file system or a device.",
    )
    .wide(),
];

/// The annotation that named mount options before `spec.mountOptions` did.
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

fn default(object: &mut Value) {
    let fields = into_object(object);
    or(ensure(fields, "status"), "phase", "Pending");
    let spec = ensure(fields, "spec");
    or(spec, "persistentVolumeReclaimPolicy", "Retain");
    or_pointer(spec, "volumeMode", "Filesystem");
    default_volumes::network_storage(spec);
    if let Some(host_path) = child(spec, "hostPath") {
        or_pointer(host_path, "type", "");
    }
}

fn prepare_create(object: &mut Value) {
    // The time of creation is set already, and is when the first phase began.
    let created = Meta::of(object).get("creationTimestamp").cloned();
    let mut status = json!({"phase": "Pending"});
    if let Some(created) = created {
        status["lastPhaseTransitionTime"] = created;
    }
    into_object(object).insert("status".to_owned(), status);
}

fn warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    let mut warnings: Vec<String> = class_warning(new).into_iter().collect();
    if Meta::of(new).annotation(MOUNT_OPTIONS).is_some() {
        warnings.push(format!(
            "metadata.annotations[{MOUNT_OPTIONS}]: deprecated since v1.31; use \"mountOptions\" \
             attribute instead"
        ));
    }
    if text(new, "/spec/persistentVolumeReclaimPolicy") == "Recycle" {
        let warning = "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. \
                       Instead, the recommended approach is to use dynamic provisioning.";
        warnings.push(warning.to_owned());
    }
    for (source, said) in FORMER_SOURCES {
        if new["spec"][source].is_object() {
            warnings.push(format!("spec.{source}: {said}"));
        }
    }
    warnings
}

/// A node's directories are found by its name, as its pods are.
fn fields(volume: &Value) -> Vec<(&'static str, String)> {
    let node = crate::volumes::local_node(volume);
    node.map(|node| ("spec.nodeName", node.to_owned()))
        .into_iter()
        .collect()
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let claim = match object.pointer("/spec/claimRef") {
        Some(claim @ Value::Object(_)) => {
            format!("{}/{}", text(claim, "/namespace"), text(claim, "/name"))
        }
        _ => String::new(),
    };
    vec![
        table::name(object),
        capacity_cell(object, "/spec/capacity/storage").into(),
        modes_cell(list(object, "/spec/accessModes")).into(),
        table::text(object, "/spec/persistentVolumeReclaimPolicy", ""),
        phase_cell(object),
        claim.into(),
        class_cell(object),
        table::text(object, "/spec/volumeAttributesClassName", "<unset>"),
        table::text(object, "/status/reason", ""),
        table::age(object, now_unix_ms),
        table::text(object, "/spec/volumeMode", "<unset>"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_volumes_are_pending() {
        let mut volume = json!({
            "metadata": {"name": "pv1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"hostPath": {"path": "/data"}, "iscsi": {}},
            "status": {"phase": "Bound"},
        });
        KIND.default(&mut volume);
        KIND.prepare_create(&mut volume);
        assert_eq!(
            volume["spec"],
            json!({
                "hostPath": {"path": "/data", "type": ""},
                "iscsi": {"iscsiInterface": "default"},
                "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem",
            })
        );
        assert_eq!(
            volume["status"],
            json!({"phase": "Pending", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"})
        );
    }

    #[test]
    fn rows_tell_the_claim() {
        let volume = json!({
            "metadata": {"name": "pv1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "capacity": {"storage": "5Gi"}, "accessModes": ["ReadOnlyMany"],
                "persistentVolumeReclaimPolicy": "Delete",
                "claimRef": {"namespace": "default", "name": "data"},
            },
            "status": {"phase": "Bound"},
        });
        assert_eq!(
            row(&volume, 0)[1..8],
            [
                json!("5Gi"),
                json!("ROX"),
                json!("Delete"),
                json!("Terminating"),
                json!("default/data"),
                json!(""),
                json!("<unset>"),
            ]
        );
    }

    #[test]
    fn what_is_gone_is_warned_of() {
        let volume = json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle", "rbd": {}}});
        let warnings = warnings(&volume, None);
        assert_eq!(warnings.len(), 2);
        assert_eq!(
            warnings[1],
            "spec.rbd: deprecated in v1.28, non-functional in v1.31+"
        );
    }
}
