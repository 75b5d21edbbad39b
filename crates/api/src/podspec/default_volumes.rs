//! Defaults of volumes: modes, kinds and the source itself when a user names none.

use serde_json::{Value, json};

use super::defaults::pull_policy;
use super::json::{Fields, child, each, or, or_pointer, unset};

/// File mode 0644, upstream's default for projected files.
const DEFAULT_MODE: i64 = 0o644;

/// Fills in the defaults of one volume.
pub fn volume(volume: &mut Fields) {
    if volume
        .iter()
        .all(|(key, value)| key == "name" || value.is_null())
    {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child(volume, source) {
            or_pointer(source, "defaultMode", DEFAULT_MODE);
        }
    }
    if let Some(downward) = child(volume, "downwardAPI") {
        each(downward, "items").for_each(downward_item);
    }
    if let Some(projected) = child(volume, "projected") {
        each(projected, "sources").for_each(projection);
    }
    if let Some(host_path) = child(volume, "hostPath") {
        or_pointer(host_path, "type", "");
    }
    if let Some(image) = child(volume, "image")
        && unset(image, "pullPolicy")
    {
        let reference = image
            .get("reference")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let policy = pull_policy(reference);
        image.insert("pullPolicy".to_owned(), policy.into());
    }
    if let Some(ephemeral) = child(volume, "ephemeral")
        && let Some(template) = child(ephemeral, "volumeClaimTemplate")
        && let Some(spec) = child(template, "spec")
    {
        or_pointer(spec, "volumeMode", "Filesystem");
    }
    network_storage(volume);
}

fn projection(source: &mut Fields) {
    if let Some(token) = child(source, "serviceAccountToken") {
        or_pointer(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = child(source, "downwardAPI") {
        each(downward, "items").for_each(downward_item);
    }
    if let Some(certificate) = child(source, "podCertificate") {
        or_pointer(certificate, "maxExpirationSeconds", 86_400);
    }
}

fn downward_item(item: &mut Fields) {
    if let Some(reference) = child(item, "fieldRef") {
        or(reference, "apiVersion", "v1");
    }
    if let Some(reference) = child(item, "resourceFieldRef") {
        or_pointer(reference, "divisor", "0");
    }
}

/// Fills in the defaults of sources beyond the node, of a pod's volume or a persistent one.
pub fn network_storage(volume: &mut Fields) {
    if let Some(iscsi) = child(volume, "iscsi") {
        or(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = child(volume, "rbd") {
        or(rbd, "pool", "rbd");
        or(rbd, "user", "admin");
        or(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(azure) = child(volume, "azureDisk") {
        or_pointer(azure, "cachingMode", "ReadWrite");
        or_pointer(azure, "kind", "Shared");
        or_pointer(azure, "fsType", "ext4");
        or_pointer(azure, "readOnly", false);
    }
    if let Some(scale_io) = child(volume, "scaleIO") {
        or(scale_io, "storageMode", "ThinProvisioned");
        or(scale_io, "fsType", "xfs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podspec::json::into_object;

    #[test]
    fn sources_get_modes_and_types() {
        for (given, expected) in [
            (json!({"name": "v"}), json!({"name": "v", "emptyDir": {}})),
            (
                json!({"name": "v", "secret": {"secretName": "s"}}),
                json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}),
            ),
            (
                json!({"name": "v", "hostPath": {"path": "/x"}}),
                json!({"name": "v", "hostPath": {"path": "/x", "type": ""}}),
            ),
            (
                json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
                json!({"name": "v", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                ]}}),
            ),
        ] {
            let mut value = given;
            volume(into_object(&mut value));
            assert_eq!(value, expected);
        }
    }
}
