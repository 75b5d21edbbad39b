//! Rules of a persistent volume's source: exactly one, with the fields that it cannot do without.

use serde_json::Value;

use crate::meta::names;
use crate::podspec::json::text;
use crate::podspec::names as words;
use crate::podspec::path::{Errors, Path};
use crate::podspec::{sources, volumes};

/// Sources in upstream's order.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
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
        .filter_map(|field| Some(((*field).to_owned(), spec.get(field)?.clone())));
    Value::Object(fields.collect())
}

/// Checks the one source of a spec.
pub fn validate(errors: &mut Errors, at: &Path<'_>, spec: &Value) {
    let mut given = SOURCES.iter().filter(|field| spec[**field].is_object());
    let Some(field) = given.next() else {
        return errors.required(*at, "must specify a volume type");
    };
    source(errors, &at.child(field), field, &spec[*field]);
    for extra in given {
        errors.forbidden(at.child(extra), "may not specify more than 1 volume type");
    }
    if spec["local"].is_object() && !spec["nodeAffinity"].is_object() {
        let detail = "Local volume requires node affinity";
        errors.required(at.child("nodeAffinity"), detail);
    }
}

fn source(errors: &mut Errors, at: &Path<'_>, field: &str, source: &Value) {
    let path = text(source, "/path");
    match field {
        "hostPath" | "local" => {
            if path.is_empty() {
                errors.required(at.child("path"), "");
            }
            words::no_backsteps(errors, at.child("path"), path);
            volumes::host_path_type(errors, at.child("type"), source["type"].as_str());
        }
        "csi" => csi(errors, at, source),
        _ => sources::validate(errors, at, field, source),
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
