//! Validation of a pod's volumes.
//!
//! Sources that a node here can provide are checked in full, the many that need a vendor's driver for the fields that
//! they cannot do without (`sources`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection,
};
use serde_json::Value;

use super::env::{VOLUME_FIELDS, field_selector, resource_selector};
use super::path::{Errors, Given, Path, to_value};
use super::{names, sources};

/// The volumes of a pod by name.
pub type Volumes<'a> = BTreeMap<&'a str, &'a Volume>;

/// Checks the volumes and returns those with a usable name. `pod` is the pod's name, or empty within a template.
pub fn validate<'a>(
    errors: &mut Errors,
    at: &Path<'_>,
    volumes: &'a [Volume],
    pod: &str,
) -> Volumes<'a> {
    let mut known = Volumes::new();
    for (i, volume) in volumes.iter().enumerate() {
        let at = at.index(i);
        let before = errors.0.len();
        if volume.name.is_empty() {
            errors.required(at.child("name"), "");
        } else {
            let messages = names::dns1123_label(&volume.name);
            errors.invalid_each(at.child("name"), &volume.name, messages);
        }
        if known.contains_key(volume.name.as_str()) {
            errors.duplicate(at.child("name"), volume.name.as_str());
        }
        let named = errors.0.len() == before;
        source(errors, &at, volume, pod);
        if named {
            known.insert(&volume.name, volume);
        }
    }
    known
}

fn source(errors: &mut Errors, at: &Path<'_>, volume: &Volume, pod: &str) {
    let Value::Object(fields) = to_value(volume) else {
        return;
    };
    let mut given = fields.keys().filter(|key| *key != "name");
    if given.next().is_none() {
        errors.required(*at, "must specify a volume type");
    }
    for extra in given {
        errors.forbidden(at.child(extra), "may not specify more than 1 volume type");
    }
    for (field, source) in fields.iter().filter(|(_, source)| source.is_object()) {
        sources::validate(errors, &at.child(field), field, source);
    }
    if let Some(host_path) = &volume.host_path {
        let at = at.child("hostPath");
        if host_path.path.is_empty() {
            errors.required(at.child("path"), "");
        } else {
            names::no_backsteps(errors, at.child("path"), &host_path.path);
            host_path_type(errors, at.child("type"), host_path.type_.as_deref());
        }
    }
    if let Some(empty_dir) = &volume.empty_dir
        && let Some(limit) = &empty_dir.size_limit
        && limit.0.starts_with('-')
    {
        let detail = "SizeLimit field must be a valid resource quantity";
        errors.forbidden(at.child("emptyDir.sizeLimit"), detail);
    }
    if let Some(secret) = &volume.secret {
        let at = at.child("secret");
        if secret.secret_name.given().is_empty() {
            errors.required(at.child("secretName"), "");
        }
        mode(errors, at.child("defaultMode"), secret.default_mode);
        items(errors, &at.child("items"), secret.items.given());
    }
    if let Some(config_map) = &volume.config_map {
        let at = at.child("configMap");
        if config_map.name.is_empty() {
            errors.required(at.child("name"), "");
        }
        mode(errors, at.child("defaultMode"), config_map.default_mode);
        items(errors, &at.child("items"), config_map.items.given());
    }
    if let Some(downward) = &volume.downward_api {
        let at = at.child("downwardAPI");
        mode(errors, at.child("defaultMode"), downward.default_mode);
        for file in downward.items.given() {
            // Upstream reports all files at the source itself.
            downward_file(errors, &at, file);
        }
    }
    if let Some(claim) = &volume.persistent_volume_claim
        && claim.claim_name.is_empty()
    {
        errors.required(at.child("persistentVolumeClaim.claimName"), "");
    }
    if let Some(projected) = &volume.projected {
        validate_projected(errors, &at.child("projected"), projected);
    }
    if let Some(csi) = &volume.csi
        && csi.driver.is_empty()
    {
        errors.required(at.child("csi.driver"), "");
    }
    if let Some(ephemeral) = &volume.ephemeral {
        let at_source = at.child("ephemeral");
        if ephemeral.volume_claim_template.is_none() {
            errors.required(at_source.child("volumeClaimTemplate"), "");
        }
        let claim = format!("{pod}-{}", volume.name);
        if !pod.is_empty() && !volume.name.is_empty() {
            for message in names::dns1123_subdomain(&claim) {
                let detail = format!("PVC name {claim:?}: {message}");
                errors.invalid(at.child("name"), volume.name.as_str(), detail);
            }
        }
    }
    if let Some(image) = &volume.image {
        let at = at.child("image");
        if image.reference.given().is_empty() {
            errors.required(at.child("reference"), "");
        }
        errors.one_of(
            at.child("pullPolicy"),
            image.pull_policy.given(),
            &["Always", "IfNotPresent", "Never"],
        );
    }
}

/// The type of a path on the node.
pub fn host_path_type(errors: &mut Errors, at: Path<'_>, kind: Option<&str>) {
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    errors.one_of_if(at, kind, TYPES);
}

fn mode(errors: &mut Errors, at: Path<'_>, mode: Option<i32>) {
    if let Some(mode) = mode
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(at, mode, detail);
    }
}

fn items(errors: &mut Errors, at: &Path<'_>, items: &[KeyToPath]) {
    for (i, item) in items.iter().enumerate() {
        let at = at.index(i);
        if item.key.is_empty() {
            errors.required(at.child("key"), "");
        }
        if item.path.is_empty() {
            errors.required(at.child("path"), "");
        }
        names::local_nonreserved_path(errors, at.child("path"), &item.path);
        if let Some(mode) = item.mode
            && !(0..=0o777).contains(&mode)
        {
            let detail = "must be a number between 0 and 0777 (octal), both inclusive";
            errors.invalid(at.child("mode"), mode, detail);
        }
    }
}

fn downward_file(errors: &mut Errors, at: &Path<'_>, file: &DownwardAPIVolumeFile) {
    if file.path.is_empty() {
        errors.required(at.child("path"), "");
    }
    names::local_nonreserved_path(errors, at.child("path"), &file.path);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(reference), other) => {
            field_selector(errors, &at.child("fieldRef"), reference, VOLUME_FIELDS);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(*at, "resource", detail);
            }
        }
        (None, Some(reference)) => {
            resource_selector(errors, &at.child("resourceFieldRef"), reference, true);
        }
        (None, None) => {
            errors.required(*at, "one of fieldRef and resourceFieldRef is required");
        }
    }
    mode(errors, at.child("mode"), file.mode);
}

fn validate_projected(errors: &mut Errors, at: &Path<'_>, projected: &ProjectedVolumeSource) {
    mode(errors, at.child("defaultMode"), projected.default_mode);
    for (i, source) in projected.sources.given().iter().enumerate() {
        let at = at.child("sources");
        projection(errors, &at.index(i), source);
    }
}

fn projection(errors: &mut Errors, at: &Path<'_>, source: &VolumeProjection) {
    let Value::Object(fields) = to_value(source) else {
        return;
    };
    if fields.is_empty() {
        errors.required(*at, "must specify a volume type");
    }
    for extra in fields.keys().skip(1) {
        errors.forbidden(at.child(extra), "may not specify more than 1 volume type");
    }
    if let Some(secret) = &source.secret {
        let at = at.child("secret");
        if secret.name.is_empty() {
            errors.required(at.child("name"), "");
        }
        items(errors, &at.child("items"), secret.items.given());
    }
    if let Some(config_map) = &source.config_map {
        let at = at.child("configMap");
        if config_map.name.is_empty() {
            errors.required(at.child("name"), "");
        }
        items(errors, &at.child("items"), config_map.items.given());
    }
    for file in source
        .downward_api
        .iter()
        .flat_map(|downward| downward.items.given())
    {
        downward_file(errors, &at.child("downwardAPI"), file);
    }
    if let Some(token) = &source.service_account_token {
        let at = at.child("serviceAccountToken");
        let seconds = token.expiration_seconds.unwrap_or_default();
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            errors.invalid(at.child("expirationSeconds"), seconds, detail);
        }
        if seconds > 1 << 32 {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.invalid(at.child("expirationSeconds"), seconds, detail);
        }
        if token.path.is_empty() {
            errors.required(at.child("path"), "");
        }
        names::local_nonreserved_path(errors, at.child("path"), &token.path);
    }
}
