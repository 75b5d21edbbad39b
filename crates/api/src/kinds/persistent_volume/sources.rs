//! Rules of a persistent volume's source: exactly one, with the fields that it cannot do without.

use serde_json::Value;

use crate::meta::names;
use crate::podspec::json::{list, text};
use crate::podspec::names as words;
use crate::podspec::path::{Errors, Path};
use crate::podspec::volumes;

/// Sources in upstream's order: their field, and the fields that must not be empty.
const SOURCES: &[(&str, &[&str])] = &[
    ("hostPath", &["path"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("flocker", &[]),
    ("nfs", &["server", "path"]),
    ("rbd", &["monitors", "image"]),
    ("quobyte", &["registry", "volume"]),
    ("cephfs", &["monitors"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("local", &["path"]),
    ("storageos", &[]),
    ("csi", &[]),
];

/// Longest name of a CSI driver.
const DRIVER_BYTES: usize = 63;
/// References to Secrets that a CSI source may have.
const CSI_SECRETS: &[&str] = &[
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeStageSecretRef",
    "nodeExpandSecretRef",
];

/// The source alone of a volume's spec.
pub fn source_of(spec: &Value) -> Value {
    let fields = SOURCES
        .iter()
        .filter_map(|(field, _)| Some(((*field).to_owned(), spec.get(field)?.clone())));
    Value::Object(fields.collect())
}

/// Checks the one source of a spec.
pub fn validate(errors: &mut Errors, at: &Path<'_>, spec: &Value) {
    let mut given = (SOURCES.iter()).filter(|(field, _)| spec[*field].is_object());
    let Some((field, needed)) = given.next() else {
        return errors.required(*at, "must specify a volume type");
    };
    source(errors, &at.child(field), field, &spec[*field], needed);
    for (extra, _) in given {
        errors.forbidden(at.child(extra), "may not specify more than 1 volume type");
    }
    if spec["local"].is_object() && !spec["nodeAffinity"].is_object() {
        let detail = "Local volume requires node affinity";
        errors.required(at.child("nodeAffinity"), detail);
    }
}

fn source(errors: &mut Errors, at: &Path<'_>, field: &str, source: &Value, needed: &[&str]) {
    for name in needed {
        let is_empty = match &source[*name] {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => true,
        };
        if is_empty {
            errors.required(at.child(name), "");
        }
    }
    let path = text(source, "/path");
    match field {
        "hostPath" => {
            words::no_backsteps(errors, at.child("path"), path);
            volumes::host_path_type(errors, at.child("type"), source["type"].as_str());
        }
        "local" => words::no_backsteps(errors, at.child("path"), path),
        "nfs" if !path.is_empty() && !path.starts_with('/') => {
            errors.invalid(at.child("path"), path, "must be an absolute path");
        }
        "gcePersistentDisk" | "awsElasticBlockStore" => byte(errors, at, source, "partition"),
        "iscsi" => iscsi(errors, at, source),
        "fc" => fibre_channel(errors, at, source),
        "csi" => csi(errors, at, source),
        _ => {}
    }
}

/// A number that has to fit into a byte.
fn byte(errors: &mut Errors, at: &Path<'_>, source: &Value, field: &str) {
    let number = source[field].as_i64().unwrap_or_default();
    if !(0..=255).contains(&number) {
        errors.invalid(at.child(field), number, names::range_error(0, 255));
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

fn csi(errors: &mut Errors, at: &Path<'_>, source: &Value) {
    let driver = text(source, "/driver");
    let driver_at = at.child("driver");
    if driver.is_empty() {
        errors.required(driver_at, "");
    } else {
        if driver.len() > DRIVER_BYTES {
            errors.too_long(driver_at, DRIVER_BYTES);
        }
        let messages = names::dns1123_subdomain(&driver.to_lowercase());
        errors.invalid_each(driver_at, driver, messages);
    }
    if text(source, "/volumeHandle").is_empty() {
        errors.required(at.child("volumeHandle"), "");
    }
    for field in CSI_SECRETS {
        let Some(secret) = source[*field].as_object() else {
            continue;
        };
        let at = at.child(field);
        for part in ["name", "namespace"] {
            if secret
                .get(part)
                .and_then(Value::as_str)
                .is_none_or(str::is_empty)
            {
                errors.required(at.child(part), "");
            }
        }
    }
}
