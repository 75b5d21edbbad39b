//! Validation of a container's variables.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::names;
use super::path::{Errors, Given, Path};
use super::volumes::Volumes;

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that a volume of the downward API may show.
pub const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks `env` and `envFrom`.
pub fn validate(errors: &mut Errors, at: &Path<'_>, container: &Container, volumes: &Volumes<'_>) {
    let env_at = at.child("env");
    for (i, variable) in container.env.given().iter().enumerate() {
        let at = env_at.index(i);
        if variable.name.is_empty() {
            errors.required(at.child("name"), "");
        } else {
            errors.invalid_each(
                at.child("name"),
                &variable.name,
                names::env_var(&variable.name),
            );
        }
        value_from(errors, &at.child("valueFrom"), variable, volumes);
    }
    let from_at = at.child("envFrom");
    for (i, source) in container.env_from.given().iter().enumerate() {
        env_from(errors, &from_at, i, source);
    }
}

fn value_from(errors: &mut Errors, at: &Path<'_>, variable: &EnvVar, volumes: &Volumes<'_>) {
    let Some(source) = &variable.value_from else {
        return;
    };
    let mut n_sources = 0;
    if let Some(reference) = &source.field_ref {
        n_sources += 1;
        field_selector(errors, &at.child("fieldRef"), reference, ENV_FIELDS);
    }
    if let Some(reference) = &source.resource_field_ref {
        n_sources += 1;
        resource_selector(errors, &at.child("resourceFieldRef"), reference, false);
    }
    if let Some(reference) = &source.config_map_key_ref {
        n_sources += 1;
        key_selector(
            errors,
            &at.child("configMapKeyRef"),
            &reference.name,
            &reference.key,
        );
    }
    if let Some(reference) = &source.secret_key_ref {
        n_sources += 1;
        key_selector(
            errors,
            &at.child("secretKeyRef"),
            &reference.name,
            &reference.key,
        );
    }
    if let Some(reference) = &source.file_key_ref {
        n_sources += 1;
        file_selector(errors, &at.child("fileKeyRef"), reference, volumes);
    }
    let detail = if n_sources == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or \
         `fileKeyRef`"
    } else if !variable.value.given().is_empty() {
        "may not be specified when `value` is not empty"
    } else if n_sources > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    errors.invalid(*at, "", detail);
}

fn key_selector(errors: &mut Errors, at: &Path<'_>, name: &str, key: &str) {
    errors.invalid_each(at.child("name"), name, names::dns1123_subdomain(name));
    if key.is_empty() {
        errors.required(at.child("key"), "");
    } else {
        errors.invalid_each(at.child("key"), key, names::config_key(key));
    }
}

fn file_selector(
    errors: &mut Errors,
    at: &Path<'_>,
    reference: &FileKeySelector,
    volumes: &Volumes<'_>,
) {
    if reference.key.is_empty() {
        errors.required(at.child("key"), "");
    }
    if reference.path.is_empty() {
        errors.required(at.child("path"), "");
    } else {
        names::local_nonreserved_path(errors, at.child("path"), &reference.path);
    }
    if reference.volume_name.is_empty() {
        errors.required(at.child("volumeName"), "");
    } else if !volumes.contains_key(reference.volume_name.as_str()) {
        errors.not_found(at.child("volumeName"), reference.volume_name.as_str());
    }
}

/// Checks a reference to a field of the pod.
pub fn field_selector(
    errors: &mut Errors,
    at: &Path<'_>,
    reference: &ObjectFieldSelector,
    supported: &[&str],
) {
    if reference.api_version.given().is_empty() {
        return errors.required(at.child("apiVersion"), "");
    }
    let path = reference.field_path.as_str();
    if path.is_empty() {
        return errors.required(at.child("fieldPath"), "");
    }
    if reference.api_version.given() != "v1" {
        let detail = format!(
            "error converting fieldPath: unsupported pod version: {}",
            reference.api_version.given()
        );
        return errors.invalid(at.child("fieldPath"), path, detail);
    }
    if let Some((path, subscript)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        match path {
            "metadata.annotations" => {
                let lower = subscript.to_lowercase();
                errors.invalid_each(*at, &lower, names::qualified_name(&lower));
            }
            "metadata.labels" => {
                errors.invalid_each(*at, subscript, names::qualified_name(subscript));
            }
            _ => {
                let detail = "error converting fieldPath: field label does not support subscript";
                errors.invalid(at.child("fieldPath"), reference.field_path.as_str(), detail);
            }
        }
        return;
    }
    if !ENV_FIELDS.contains(&path) && !VOLUME_FIELDS.contains(&path) {
        let detail = format!("error converting fieldPath: field label not supported: {path}");
        return errors.invalid(at.child("fieldPath"), path, detail);
    }
    if !supported.contains(&path) {
        errors.not_supported(at.child("fieldPath"), path, supported);
    }
}

/// Checks a reference to a container's resources.
pub fn resource_selector(
    errors: &mut Errors,
    at: &Path<'_>,
    reference: &ResourceFieldSelector,
    in_volume: bool,
) {
    let resource = reference.resource.as_str();
    let hugepages =
        resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if in_volume && reference.container_name.given().is_empty() {
        errors.required(at.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(at.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !hugepages {
        errors.not_supported(at.child("resource"), resource, RESOURCES);
    }
    if let Some(Quantity(divisor)) = &reference.divisor {
        validate_divisor(errors, at, resource, divisor);
    }
}

fn validate_divisor(errors: &mut Errors, at: &Path<'_>, resource: &str, divisor: &str) {
    const SIZES: &[&str] = &[
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    if matches!(divisor, "" | "0") {
        return;
    }
    let (supported, name): (&[&str], _) = match resource {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"], "cpu"),
        "limits.memory" | "requests.memory" => (SIZES, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => {
            (SIZES, "local ephemeral storage")
        }
        _ if resource.contains(".hugepages-") => (SIZES, "hugepages"),
        _ => return,
    };
    if !supported.contains(&divisor) {
        let list = if name == "cpu" {
            "1m and 1".to_owned()
        } else {
            supported.join(", ")
        };
        let detail = format!("only divisor's values {list} are supported with the {name} resource");
        errors.invalid(at.child("divisor"), Value::from(resource), detail);
    }
}

fn env_from(errors: &mut Errors, list_at: &Path<'_>, index: usize, source: &EnvFromSource) {
    let at = list_at.index(index);
    let prefix = source.prefix.given();
    if !prefix.is_empty() {
        errors.invalid_each(at.child("prefix"), prefix, names::env_var(prefix));
    }
    let mut n_sources = 0;
    let config_map = source
        .config_map_ref
        .as_ref()
        .map(|reference| &reference.name);
    let secret = source.secret_ref.as_ref().map(|reference| &reference.name);
    for (field, name) in [("configMapRef", config_map), ("secretRef", secret)] {
        let Some(name) = name else { continue };
        n_sources += 1;
        let at = at.child(field);
        if name.is_empty() {
            errors.required(at.child("name"), "");
        } else {
            errors.invalid_each(at.child("name"), name, names::dns1123_subdomain(name));
        }
    }
    // Upstream names the list here, not the item.
    if n_sources == 0 {
        errors.invalid(
            *list_at,
            "",
            "must specify one of: `configMapRef` or `secretRef`",
        );
    } else if n_sources > 1 {
        errors.invalid(
            *list_at,
            "",
            "may not have more than one field specified at a time",
        );
    }
}
