//! Sources of volumes that a pod's volume and a persistent volume can both have: the fields that each cannot do without.

use serde_json::Value;

use super::json::{list, text};
use super::path::{Errors, Path};
use crate::meta::names::range_error;

/// Source, and its fields that must not be empty.
const NEEDED: &[(&str, &[&str])] = &[
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("nfs", &["server", "path"]),
    ("rbd", &["monitors", "image"]),
    ("quobyte", &["volume"]),
    ("cephfs", &["monitors"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

/// Checks the source at `at`, which stands in `field`; sources that are not listed here are checked elsewhere.
pub fn validate(errors: &mut Errors, at: &Path<'_>, field: &str, source: &Value) {
    let needed = NEEDED.iter().find(|(known, _)| *known == field);
    for name in needed.map_or(&[][..], |(_, needed)| needed) {
        let is_empty = match &source[*name] {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => true,
        };
        if is_empty {
            errors.required(at.child(name), "");
        }
    }
    match field {
        "nfs" => {
            let path = text(source, "/path");
            if !path.is_empty() && !path.starts_with('/') {
                errors.invalid(at.child("path"), path, "must be an absolute path");
            }
        }
        "gcePersistentDisk" | "awsElasticBlockStore" => byte(errors, at, source, "partition"),
        "quobyte" if text(source, "/registry").is_empty() => {
            let detail = "must be a host:port pair or multiple pairs separated by commas";
            errors.required(at.child("registry"), detail);
        }
        "flocker" => flocker(errors, at, source),
        "iscsi" => iscsi(errors, at, source),
        "fc" => fibre_channel(errors, at, source),
        _ => {}
    }
}

/// A number that has to fit into a byte.
fn byte(errors: &mut Errors, at: &Path<'_>, source: &Value, field: &str) {
    let number = source[field].as_i64().unwrap_or_default();
    if !(0..=255).contains(&number) {
        errors.invalid(at.child(field), number, range_error(0, 255));
    }
}

fn flocker(errors: &mut Errors, at: &Path<'_>, source: &Value) {
    let (name, uuid) = (text(source, "/datasetName"), text(source, "/datasetUUID"));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => errors.required(*at, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid(*at, "resource", detail);
        }
        _ => {}
    }
    if name.contains('/') {
        errors.invalid(at.child("datasetName"), name, "must not contain '/'");
    }
}

fn iscsi(errors: &mut Errors, at: &Path<'_>, source: &Value) {
    let iqn = text(source, "/iqn");
    if !iqn.is_empty()
        && !["iqn", "eui", "naa"]
            .iter()
            .any(|form| iqn.starts_with(form))
    {
        let detail = "must be valid format starting with iqn, eui, or naa";
        errors.invalid(at.child("iqn"), iqn, detail);
    }
    byte(errors, at, source, "lun");
    let authenticates = ["chapAuthDiscovery", "chapAuthSession"]
        .iter()
        .any(|field| source[*field] == true);
    if authenticates && source["secretRef"].is_null() {
        errors.required(at.child("secretRef"), "");
    }
}

fn fibre_channel(errors: &mut Errors, at: &Path<'_>, source: &Value) {
    let (names, ids) = (list(source, "/targetWWNs"), list(source, "/wwids"));
    let names_at = at.child("targetWWNs");
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => errors.required(
            names_at,
            "must specify either targetWWNs or wwids, but not both",
        ),
        (false, false) => errors.invalid(
            names_at,
            names,
            "targetWWNs and wwids can not be specified simultaneously",
        ),
        (false, true) if source["lun"].is_null() => {
            errors.required(
                at.child("lun"),
                "lun is required if targetWWNs is specified",
            );
        }
        (false, true) => byte(errors, at, source, "lun"),
        (true, false) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_source_needs_its_fields() {
        for (field, source, expected) in [
            (
                "rbd",
                json!({"monitors": []}),
                "v.rbd.monitors: Required value",
            ),
            (
                "fc",
                json!({"targetWWNs": ["x"]}),
                "v.fc.lun: Required value: lun is required if targetWWNs is specified",
            ),
            (
                "flocker",
                json!({}),
                "v.flocker: Required value: one of datasetName and datasetUUID is required",
            ),
            (
                "iscsi",
                json!({"targetPortal": "p", "iqn": "x"}),
                "v.iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
            ),
            (
                "gcePersistentDisk",
                json!({"pdName": "d", "partition": 256}),
                "v.gcePersistentDisk.partition: Invalid value: 256: must be between 0 and 255, inclusive",
            ),
        ] {
            let mut errors = Errors::default();
            let at = Path::root("v");
            validate(&mut errors, &at.child(field), field, &source);
            assert_eq!(errors.0[0].to_string(), expected);
        }
        let mut errors = Errors::default();
        validate(&mut errors, &Path::root("v"), "emptyDir", &json!({}));
        assert_eq!(errors.0, []);
    }
}
