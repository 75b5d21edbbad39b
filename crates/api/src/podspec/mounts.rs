//! Validation of a container's mounts and block devices.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::names;
use super::path::{Errors, Given, Path};
use super::volumes::Volumes;

/// Checks `volumeMounts` and `volumeDevices`.
pub fn validate(errors: &mut Errors, at: &Path<'_>, container: &Container, volumes: &Volumes<'_>) {
    volume_mounts(errors, &at.child("volumeMounts"), container, volumes);
    volume_devices(errors, &at.child("volumeDevices"), container, volumes);
}

fn volume_mounts(errors: &mut Errors, at: &Path<'_>, container: &Container, volumes: &Volumes<'_>) {
    let devices = container.volume_devices.given();
    let mut paths = BTreeSet::new();
    for (i, mount) in container.volume_mounts.given().iter().enumerate() {
        let item = at.index(i);
        let (name, path) = (mount.name.as_str(), mount.mount_path.as_str());
        if name.is_empty() {
            errors.required(item.child("name"), "");
        }
        if !volumes.contains_key(name) {
            errors.not_found(item.child("name"), name);
        }
        if path.is_empty() {
            errors.required(item.child("mountPath"), "");
        }
        if !paths.insert(path) {
            errors.invalid(item.child("mountPath"), path, "must be unique");
        }
        if devices.iter().any(|device| device.name == name) {
            errors.invalid(
                item.child("name"),
                name,
                "must not already exist in volumeDevices",
            );
        }
        if devices.iter().any(|device| device.device_path == path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(item.child("mountPath"), path, detail);
        }
        sub_paths(errors, at, &item, mount);
        if let Some(propagation) = mount.mount_propagation.as_deref() {
            let at = at.child("mountPropagation");
            mount_propagation(errors, at, propagation, container);
        }
        if let Some(mode) = mount.recursive_read_only.as_deref() {
            recursive_read_only(errors, at.child("recursiveReadOnly"), mode, mount);
        }
    }
}

/// Upstream reports paths below the list, not the item, for these two rules.
fn sub_paths(errors: &mut Errors, list: &Path<'_>, item: &Path<'_>, mount: &VolumeMount) {
    let (path, expression) = (mount.sub_path.given(), mount.sub_path_expr.given());
    if !path.is_empty() {
        names::local_descending_path(errors, list.child("subPath"), path);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(item.child("subPathExpr"), expression, detail);
        }
        names::local_descending_path(errors, list.child("subPathExpr"), expression);
    }
}

fn mount_propagation(errors: &mut Errors, at: Path<'_>, mode: &str, container: &Container) {
    errors.one_of_if(
        at,
        Some(mode),
        &["Bidirectional", "HostToContainer", "None"],
    );
    let context = container.security_context.as_ref();
    let privileged = context
        .and_then(|context| context.privileged)
        .unwrap_or_default();
    if mode == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(at, detail);
    }
}

fn recursive_read_only(errors: &mut Errors, at: Path<'_>, mode: &str, mount: &VolumeMount) {
    match mode {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.read_only.unwrap_or_default() {
                errors.forbidden(at, "may only be specified when readOnly is true");
            }
            if !matches!(mount.mount_propagation.given(), "" | "None") {
                errors.forbidden(
                    at,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        _ => errors.not_supported(at, mode, &["Disabled", "IfPossible", "Enabled"]),
    }
}

fn volume_devices(
    errors: &mut Errors,
    at: &Path<'_>,
    container: &Container,
    volumes: &Volumes<'_>,
) {
    let mounts = container.volume_mounts.given();
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in container.volume_devices.given().iter().enumerate() {
        let at = at.index(i);
        let (name, path) = (device.name.as_str(), device.device_path.as_str());
        if name.is_empty() {
            errors.required(at.child("name"), "");
        }
        if !names.insert(name) {
            errors.invalid(at.child("name"), name, "must be unique");
        }
        match volumes.get(name) {
            None => errors.not_found(at.child("name"), name),
            Some(volume)
                if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() =>
            {
                let detail = "can only use volume source type of PersistentVolumeClaim or \
                              Ephemeral for block mode";
                errors.invalid(at.child("name"), name, detail);
            }
            Some(_) => {}
        }
        if path.is_empty() {
            errors.required(at.child("devicePath"), "");
        }
        if path.split('/').any(|part| part == "..") {
            errors.invalid(
                at.child("devicePath"),
                path,
                "can not contain backsteps ('..')",
            );
        } else if !paths.insert(path) {
            errors.invalid(at.child("devicePath"), path, "must be unique");
        }
        if mounts.iter().any(|mount| mount.name == name) {
            errors.invalid(
                at.child("name"),
                name,
                "must not already exist in volumeMounts",
            );
        }
        if mounts.iter().any(|mount| mount.mount_path == path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(at.child("devicePath"), path, detail);
        }
    }
}
