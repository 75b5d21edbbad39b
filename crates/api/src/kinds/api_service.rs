//! APIService (upstream `ValidateAPIService`): who serves a version of a group, this server itself or another one behind
//! a Service.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, StatusMetadata, names};
use crate::podspec::json::{into_object, list, text, typed};
use crate::podspec::names::port_number;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::SPEC;
use crate::table;

/// The resource of these objects.
pub const RESOURCE: &str = "apiservices.apiregistration.k8s.io";
/// Upstream's default of `spec.service.port`.
const DEFAULT_PORT: i64 = 443;
const MAX_GROUP_PRIORITY: i32 = 20_000;
const MAX_VERSION_PRIORITY: i32 = 1_000;

/// APIService.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "apiservice",
    categories: &["api-extensions"],
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column::text(
            "Service",
            "The reference to the service that hosts this API endpoint.",
        ),
        Column::text("Available", "Whether this service is available."),
        Column::AGE,
    ],
    name_rule: names::path_segment,
    hooks: Hooks {
        default: |service| {
            let service = into_object(service)
                .get_mut("spec")
                .and_then(|spec| spec.get_mut("service"));
            if let Some(reference) = service.and_then(Value::as_object_mut) {
                crate::podspec::json::or_pointer(reference, "port", DEFAULT_PORT);
            }
        },
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<APIService>()
});

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: APIServiceSpec = typed(new.get("spec"));
    let (group, version) = (spec.group.given(), spec.version.given());
    let (name, required) = (Meta::of(new).name(), format!("{version}.{group}"));
    if name != required {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
        errors.invalid(Path::root("metadata").child("name"), name, detail);
    }
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it's better to be legacy kube";
        errors.required(SPEC.child("group"), detail);
    }
    if !group.is_empty() {
        errors.invalid_each(SPEC.child("group"), group, names::dns1123_subdomain(group));
    }
    errors.invalid_each(
        SPEC.child("version"),
        version,
        names::dns1035_label(version),
    );
    for (field, value, max) in [
        (
            "groupPriorityMinimum",
            spec.group_priority_minimum,
            MAX_GROUP_PRIORITY,
        ),
        (
            "versionPriority",
            spec.version_priority,
            MAX_VERSION_PRIORITY,
        ),
    ] {
        if value <= 0 || value > max {
            let max = if field == "versionPriority" {
                "1000"
            } else {
                "20000"
            };
            let detail = format!("must be positive and less than {max}");
            errors.invalid(SPEC.child(field), value, detail);
        }
    }
    trust(&mut errors, &spec);
    errors.0
}

/// Who is believed, and of whom.
fn trust(errors: &mut Errors, spec: &APIServiceSpec) {
    let skips = spec.insecure_skip_tls_verify.unwrap_or_default();
    let n_bytes = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
    let Some(service) = &spec.service else {
        if n_bytes > 0 {
            let detail = "local APIServices may not have a caBundle";
            errors.invalid(SPEC.child("caBundle"), format!("{n_bytes} bytes"), detail);
        }
        if skips {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.invalid(SPEC.child("insecureSkipTLSVerify"), true, detail);
        }
        return;
    };
    let at = SPEC.child("service");
    for (field, value) in [("namespace", &service.namespace), ("name", &service.name)] {
        if value.given().is_empty() {
            errors.required(at.child(field), "");
        }
    }
    let port = service.port.unwrap_or_default();
    let messages = port_number(port);
    if !messages.is_empty() {
        let detail = format!("port is not valid: {}", messages.join(", "));
        errors.invalid(at.child("port"), port, detail);
    }
    if skips && n_bytes > 0 {
        let detail = "may not be true if caBundle is present";
        errors.invalid(SPEC.child("insecureSkipTLSVerify"), true, detail);
    }
}

/// The condition that tells whether the version is served.
pub fn available(service: &Value) -> Option<&Value> {
    list(service, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == "Available")
}

fn row(service: &Value, now_unix_ms: u64) -> Vec<Value> {
    let place = match &service["spec"]["service"] {
        Value::Null => "Local".to_owned(),
        reference => format!(
            "{}/{}",
            text(reference, "/namespace"),
            text(reference, "/name")
        ),
    };
    let available = match available(service) {
        None => "Unknown".to_owned(),
        Some(condition) if condition["status"] == "True" => "True".to_owned(),
        Some(condition) => format!(
            "{} ({})",
            text(condition, "/status"),
            text(condition, "/reason")
        ),
    };
    vec![
        table::name(service),
        place.into(),
        available.into(),
        table::age(service, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, created};
    use super::*;
    use serde_json::json;

    fn service() -> Value {
        json!({
            "metadata": {"name": "v1beta1.metrics.example.com"},
            "spec": {
                "group": "metrics.example.com", "version": "v1beta1", "groupPriorityMinimum": 100,
                "versionPriority": 100, "service": {"namespace": "kube-system", "name": "metrics"},
                "insecureSkipTLSVerify": true,
            },
        })
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        assert_eq!(created(&KIND, &service())["spec"]["service"]["port"], 443);
        check_creates(
            &KIND,
            &service(),
            &[
                (
                    "/spec/version",
                    json!("v2"),
                    "metadata.name: Invalid value: \"v1beta1.metrics.example.com\": must be \
                     `spec.version+\".\"+spec.group`: \"v2.metrics.example.com\"",
                ),
                (
                    "/spec/groupPriorityMinimum",
                    json!(20001),
                    "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
                ),
                (
                    "/spec/versionPriority",
                    json!(0),
                    "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
                ),
                (
                    "/spec/service/name",
                    json!(""),
                    "spec.service.name: Required value",
                ),
                (
                    "/spec/caBundle",
                    json!("Zm9v"),
                    "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
                ),
                (
                    "/spec/service",
                    Value::Null,
                    "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have \
                     insecureSkipTLSVerify",
                ),
            ],
        );
    }

    #[test]
    fn rows_tell_who_serves() {
        let mut service = service();
        assert_eq!(
            KIND.row(&service, 0)[1..3],
            [json!("kube-system/metrics"), json!("Unknown")]
        );
        service["spec"]["service"] = Value::Null;
        service["status"]["conditions"] =
            json!([{"type": "Available", "status": "False", "reason": "Gone"}]);
        assert_eq!(
            KIND.row(&service, 0)[1..3],
            [json!("Local"), json!("False (Gone)")]
        );
    }
}
