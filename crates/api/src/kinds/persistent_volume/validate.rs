//! Rules of persistent volumes (upstream `ValidatePersistentVolumeSpec` and `ValidatePersistentVolumeUpdate`).

use k8s_openapi::api::core::v1::PersistentVolumeSpec;
use serde_json::Value;

use super::sources;
use crate::field_error::FieldError;
use crate::kinds::persistent_volume_claim::{VOLUME_MODES, access_modes};
use crate::meta::names;
use crate::podspec::json::{difference, into_object, same, typed};
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::placement;
use crate::podspec::resources::parse;
use crate::podspec::scaled::{SPEC, unchanged};

const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];

/// Rules of a volume on create, and on update when there is an old one.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: PersistentVolumeSpec = typed(new.get("spec"));
    let tree = new.get("spec").cloned().unwrap_or_default();
    let modes_at = SPEC.child("accessModes");
    if spec.access_modes.given().is_empty() {
        errors.required(modes_at, "");
    }
    access_modes(&mut errors, modes_at, spec.access_modes.given());
    capacity(&mut errors, &spec);
    let policy = spec.persistent_volume_reclaim_policy.given();
    let policy_at = SPEC.child("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        errors.one_of_if(policy_at, Some(policy), RECLAIM_POLICIES);
    }
    if let Some(affinity) = &spec.node_affinity {
        let at = SPEC.child("nodeAffinity.required");
        match &affinity.required {
            Some(selector) => placement::node_selector(&mut errors, &at, selector),
            None => errors.required(at, "must specify required node constraints"),
        }
    }
    sources::validate(&mut errors, &SPEC, &tree);
    let is_root = |path: &str| {
        let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        path.starts_with('/') && parts.next().is_none()
    };
    if spec
        .host_path
        .as_ref()
        .is_some_and(|host| is_root(&host.path))
        && policy == "Recycle"
    {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden(policy_at, detail);
    }
    classes(&mut errors, &spec);
    let mode = spec.volume_mode.as_deref();
    errors.one_of_if(SPEC.child("volumeMode"), mode, VOLUME_MODES);
    if let Some(old) = old {
        update(&mut errors, new, old);
    }
    errors.0
}

fn capacity(errors: &mut Errors, spec: &PersistentVolumeSpec) {
    let at = SPEC.child("capacity");
    let capacity = spec.capacity.clone().unwrap_or_default();
    if capacity.is_empty() {
        errors.required(at, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.not_supported(at, to_value(&capacity), &["storage"]);
    }
    for (name, amount) in &capacity {
        let Some(value) = parse(amount) else { continue };
        if value.sign() < 0 {
            let detail = "must be a valid resource quantity";
            errors.invalid(at.key(name), amount.0.as_str(), detail);
        }
        if value.sign() < 1 {
            let detail = "must be greater than zero";
            errors.invalid(at.key(name), amount.0.as_str(), detail);
        }
    }
}

fn classes(errors: &mut Errors, spec: &PersistentVolumeSpec) {
    let class = spec.storage_class_name.given();
    if !class.is_empty() {
        let messages = names::dns1123_subdomain(class);
        errors.invalid_each(SPEC.child("storageClassName"), class, messages);
    }
    let Some(class) = &spec.volume_attributes_class_name else {
        return;
    };
    let at = SPEC.child("volumeAttributesClassName");
    if class.is_empty() {
        errors.required(at, "an empty string is disallowed");
    } else {
        errors.invalid_each(at, class, names::dns1123_subdomain(class));
    }
    if spec.csi.is_none() {
        let detail = "has to be specified when using volumeAttributesClassName";
        errors.required(SPEC.child("csi"), detail);
    }
}

/// What a volume is made of stays for its life.
fn update(errors: &mut Errors, new: &Value, old: &Value) {
    let part = |object: &Value, pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let mut source = sources::source_of(&new["spec"]);
    let was = sources::source_of(&old["spec"]);
    // The secret for growing may be given once.
    if was["csi"].is_object() && was["csi"]["controllerExpandSecretRef"].is_null() {
        into_object(&mut source["csi"]).remove("controllerExpandSecretRef");
    }
    if !same(&source, &was) {
        let detail = format!(
            "spec.persistentvolumesource is immutable after creation\n{}",
            difference(&was, &source)
        );
        errors.forbidden(SPEC.child("persistentvolumesource"), detail);
    }
    unchanged(
        errors,
        Path::root("volumeMode"),
        &part(new, "/spec/volumeMode"),
        &part(old, "/spec/volumeMode"),
    );
    let affinity = part(old, "/spec/nodeAffinity");
    let given = part(new, "/spec/nodeAffinity");
    if !affinity.is_null()
        && !same(
            &with_present_labels(&affinity),
            &with_present_labels(&given),
        )
    {
        unchanged(errors, Path::root("nodeAffinity"), &given, &affinity);
    }
}

/// Node labels that were renamed may be renamed in a volume's affinity as well.
fn with_present_labels(affinity: &Value) -> Value {
    let text = affinity.to_string();
    let text = text
        .replace(
            "\"failure-domain.beta.kubernetes.io/zone\"",
            "\"topology.kubernetes.io/zone\"",
        )
        .replace(
            "\"failure-domain.beta.kubernetes.io/region\"",
            "\"topology.kubernetes.io/region\"",
        );
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::KIND;
    use super::*;
    use serde_json::json;

    fn volume() -> Value {
        let mut volume = json!({
            "metadata": {"name": "pv1"},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/data"},
            },
        });
        KIND.default(&mut volume);
        volume
    }

    fn texts(new: &Value, old: Option<&Value>) -> Vec<String> {
        validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        assert_eq!(texts(&volume(), None), [""; 0]);
        for (field, value, expected) in [
            ("accessModes", json!([]), "spec.accessModes: Required value"),
            ("capacity", json!({}), "spec.capacity: Required value"),
            (
                "capacity",
                json!({"storage": "1", "cpu": "1"}),
                "spec.capacity: Unsupported value: {\"cpu\":\"1\",\"storage\":\"1\"}: supported \
                 values: \"storage\"",
            ),
            (
                "capacity",
                json!({"storage": "0"}),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                "persistentVolumeReclaimPolicy",
                json!("Burn"),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Burn\": supported values: \
                 \"Delete\", \"Recycle\", \"Retain\"",
            ),
            (
                "hostPath",
                json!(null),
                "spec: Required value: must specify a volume type",
            ),
            (
                "hostPath",
                json!({"path": "/a/../b"}),
                "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            ),
            (
                "nfs",
                json!({"server": "s", "path": "/x"}),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                "nodeAffinity",
                json!({}),
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
            ),
            (
                "volumeAttributesClassName",
                json!("gold"),
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ),
        ] {
            let mut object = volume();
            object["spec"][field] = value;
            assert_eq!(texts(&object, None)[0], expected);
        }
    }

    #[test]
    fn sources_need_their_fields() {
        for (source, given, expected) in [
            (
                "local",
                json!({"path": "/mnt"}),
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ),
            (
                "nfs",
                json!({"server": "s"}),
                "spec.nfs.path: Required value",
            ),
            (
                "nfs",
                json!({"server": "s", "path": "x"}),
                "spec.nfs.path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                "csi",
                json!({"volumeHandle": "h"}),
                "spec.csi.driver: Required value",
            ),
            (
                "csi",
                json!({"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}}),
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ),
            (
                "iscsi",
                json!({"targetPortal": "p", "iqn": "iqn.x", "lun": 256}),
                "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            ),
        ] {
            let mut object = volume();
            object["spec"]["hostPath"] = json!(null);
            object["spec"][source] = given;
            assert_eq!(texts(&object, None)[0], expected);
        }
    }

    #[test]
    fn the_source_stays_and_root_is_not_recycled() {
        let old = volume();
        let mut new = volume();
        new["spec"]["capacity"]["storage"] = json!("6Gi");
        assert_eq!(texts(&new, Some(&old)), [""; 0]);
        new["spec"]["hostPath"]["path"] = json!("/other");
        new["spec"]["volumeMode"] = json!("Block");
        assert_eq!(
            texts(&new, Some(&old)),
            [
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable \
                 after creation\n  - hostPath.path: \"/data\"\n  + hostPath.path: \"/other\"\n",
                "volumeMode: Invalid value: \"Block\": field is immutable",
            ]
        );
        let mut new = volume();
        new["spec"]["hostPath"]["path"] = json!("/");
        new["spec"]["persistentVolumeReclaimPolicy"] = json!("Recycle");
        assert_eq!(
            texts(&new, None),
            [
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath \
                 mount of '/'"
            ]
        );
    }
}
