//! Rules of an Ingress (upstream `ValidateIngress`).

use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressLoadBalancerStatus, IngressRule,
    IngressServiceBackend, IngressSpec,
};
use serde_json::Value;

use super::CLASS_ANNOTATION;
use crate::field_error::FieldError;
use crate::ip;
use crate::meta::{Meta, names};
use crate::podspec::json::typed;
use crate::podspec::names as pod_names;
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::SPEC;

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];

/// Rules that hold for a create and for an update.
pub fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let ingress: Ingress = typed(Some(new));
    let spec = ingress.spec.unwrap_or_default();
    if spec.rules.given().is_empty() && spec.default_backend.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(SPEC, to_value(&spec.rules), detail);
    }
    if let Some(found) = &spec.default_backend {
        backend(&mut errors, &SPEC.child("defaultBackend"), found);
    }
    let list = SPEC.child("rules");
    for (i, found) in spec.rules.given().iter().enumerate() {
        rule(&mut errors, &list.index(i), found);
    }
    tls(&mut errors, &spec);
    if let Some(class) = spec.ingress_class_name.as_deref() {
        let at = SPEC.child("ingressClassName");
        errors.invalid_each(at, class, names::dns1123_subdomain(class));
        let annotation = Meta::of(new).annotation(CLASS_ANNOTATION);
        if let Some(other) = annotation.filter(|other| old.is_none() && *other != class) {
            let at = Path::root("annotations");
            let detail = "must match `ingressClassName` when both are specified";
            errors.invalid(at.child(CLASS_ANNOTATION), other, detail);
        }
    }
    errors.0
}

/// Rules of a status.
pub fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let status: IngressLoadBalancerStatus = typed(new.pointer("/status/loadBalancer"));
    let list = Path::root("status.loadBalancer.ingress");
    for (i, point) in status.ingress.given().iter().enumerate() {
        let at = list.index(i);
        if let Some(address) = point.ip.as_deref().filter(|address| !address.is_empty()) {
            ip::legacy(&mut errors, at.child("ip"), address);
        }
        if let Some(name) = point.hostname.as_deref().filter(|name| !name.is_empty()) {
            let at = at.child("hostname");
            errors.invalid_each(at, name, names::dns1123_subdomain(name));
            not_an_ip(&mut errors, at, name);
        }
    }
    errors.0
}

fn not_an_ip(errors: &mut Errors, at: Path<'_>, name: &str) {
    if ip::parse(name).is_some() {
        errors.invalid(at, name, "must be a DNS name, not an IP address");
    }
}

fn host(errors: &mut Errors, at: Path<'_>, host: &str) {
    let messages = match host.contains('*') {
        true => names::wildcard_dns1123_subdomain(host),
        false => names::dns1123_subdomain(host),
    };
    errors.invalid_each(at, host, messages);
}

fn tls(errors: &mut Errors, spec: &IngressSpec) {
    let list = SPEC.child("tls");
    for (i, tls) in spec.tls.given().iter().enumerate() {
        let at = list.index(i);
        let hosts_at = at.child("hosts");
        for (i, name) in tls.hosts.given().iter().enumerate() {
            host(errors, hosts_at.index(i), name);
        }
        if let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) {
            errors.invalid_each(at.child("secretName"), name, names::dns1123_subdomain(name));
        }
    }
}

fn rule(errors: &mut Errors, at: &Path<'_>, rule: &IngressRule) {
    if let Some(name) = rule.host.as_deref().filter(|name| !name.is_empty()) {
        not_an_ip(errors, at.child("host"), name);
        host(errors, at.child("host"), name);
    }
    let Some(http) = &rule.http else { return };
    let list = at.child("http.paths");
    if http.paths.is_empty() {
        errors.required(list, "");
    }
    for (i, path) in http.paths.iter().enumerate() {
        http_path(errors, &list.index(i), path);
    }
}

fn http_path(errors: &mut Errors, at: &Path<'_>, path: &HTTPIngressPath) {
    let text = path.path.given();
    let path_at = at.child("path");
    let is_absolute = text.starts_with('/');
    match path.path_type.as_str() {
        "" => return errors.required(at.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !is_absolute {
                errors.invalid(path_at, text, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if text.contains(part) {
                    errors.invalid(path_at, text, format!("must not contain '{part}'"));
                }
            }
            for suffix in ["/..", "/."] {
                if text.ends_with(suffix) {
                    errors.invalid(path_at, text, format!("cannot end with '{suffix}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !is_absolute {
                errors.invalid(path_at, text, "must be an absolute path");
            }
        }
        other => errors.not_supported(at.child("pathType"), other, PATH_TYPES),
    }
    backend(errors, &at.child("backend"), &path.backend);
}

fn backend(errors: &mut Errors, at: &Path<'_>, backend: &IngressBackend) {
    match (&backend.resource, &backend.service) {
        (Some(_), Some(_)) => {
            errors.invalid(*at, "", "cannot set both resource and service backends");
        }
        (Some(resource), None) => reference(errors, &at.child("resource"), resource),
        (None, Some(found)) => service(errors, at, found),
        (None, None) => errors.invalid(*at, "", "resource or service backend is required"),
    }
}

fn service(errors: &mut Errors, at: &Path<'_>, service: &IngressServiceBackend) {
    let name_at = at.child("service.name");
    let name = service.name.as_str();
    if name.is_empty() {
        errors.required(name_at, "");
    } else {
        errors.invalid_each(name_at, name, names::dns1035_label(name));
    }
    let port = service.port.clone().unwrap_or_default();
    match (port.name.given(), port.number.unwrap_or_default()) {
        ("", 0) => errors.required(*at, "port name or number is required"),
        ("", number) => {
            for message in names::port_number(number.into()) {
                errors.invalid(at.child("service.port.number"), number, message);
            }
        }
        (name, 0) => {
            errors.invalid_each(at.child("service.port.name"), name, names::port_name(name));
        }
        _ => errors.invalid(*at, "", "cannot set both port name & port number"),
    }
}

fn reference(errors: &mut Errors, at: &Path<'_>, reference: &TypedLocalObjectReference) {
    if let Some(group) = reference.api_group.as_deref() {
        errors.invalid_each(at.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
    for (field, value) in [("kind", &reference.kind), ("name", &reference.name)] {
        pod_names::required_segment(errors, at.child(field), value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{check_creates, check_statuses, check_updates};
    use super::super::KIND;
    use super::*;
    use serde_json::json;

    fn ingress() -> Value {
        json!({"spec": {"rules": [{"host": "a.example", "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"number": 80}}},
        }]}}]}})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        const PATH: &str = "/spec/rules/0/http/paths/0";
        let at = |field: &str| format!("{PATH}/{field}");
        check_creates(
            &KIND,
            &ingress(),
            &[
                (
                    "/spec/rules",
                    Value::Null,
                    "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
                ),
                (
                    "/spec/rules/0/host",
                    json!("10.0.0.1"),
                    "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
                ),
                ("/spec/rules/0/host", json!("*.example"), ""),
                (
                    "/spec/rules/0/host",
                    json!("a.*.example"),
                    "spec.rules[0].host: Invalid value: \"a.*.example\": a wildcard DNS-1123 subdomain must start \
                     with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric \
                     characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex \
                     used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ),
                (
                    "/spec/rules/0/http/paths",
                    json!([]),
                    "spec.rules[0].http.paths: Required value",
                ),
                (
                    &at("pathType"),
                    Value::Null,
                    "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
                ),
                (
                    &at("pathType"),
                    json!("Regex"),
                    "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \
                     \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
                ),
                (
                    &at("path"),
                    json!("x"),
                    "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
                ),
                (
                    &at("path"),
                    json!("/a//b"),
                    "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'",
                ),
                (
                    &at("path"),
                    json!("/a/.."),
                    "spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'",
                ),
                (
                    &at("backend"),
                    json!({}),
                    "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
                ),
                (
                    &at("backend/service/port"),
                    json!({}),
                    "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
                ),
                (
                    &at("backend/service/port/name"),
                    json!("http"),
                    "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number",
                ),
                (
                    "/spec/defaultBackend",
                    json!({"resource": {"kind": "a/b", "name": "n"}}),
                    "spec.defaultBackend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
                ),
                (
                    "/spec/tls",
                    json!([{"secretName": "A"}]),
                    "spec.tls[0].secretName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of \
                     lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric \
                     character (e.g. 'example.com', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ),
            ],
        );
    }

    #[test]
    fn class_and_annotation_agree_at_the_create_only() {
        let mut both = ingress();
        both["metadata"] = json!({"annotations": {CLASS_ANNOTATION: "a"}});
        check_creates(
            &KIND,
            &both,
            &[(
                "/spec/ingressClassName",
                json!("b"),
                "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when \
                 both are specified",
            )],
        );
        check_updates(&KIND, &both, &[("/spec/ingressClassName", json!("b"), "")]);
    }

    #[test]
    fn statuses_name_points() {
        check_statuses(
            &KIND,
            &ingress(),
            &[
                (
                    "/status",
                    json!({"loadBalancer": {"ingress": [{"ip": "x"}]}}),
                    "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. \
                     10.9.8.7 or 2001:db8::ffff)",
                ),
                (
                    "/status",
                    json!({"loadBalancer": {"ingress": [{"hostname": "1.2.3.4"}]}}),
                    "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not \
                     an IP address",
                ),
            ],
        );
    }
}
