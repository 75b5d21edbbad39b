//! How versions are made of one another: `spec.conversion`.

use serde_json::Value;

use super::text;
use crate::field_error::FieldError;

/// Versions of the review that the server speaks.
const REVIEWS: [&str; 1] = ["v1"];

/// Rules of `spec.conversion`.
pub(super) fn validate(spec: &Value) -> Vec<FieldError> {
    let conversion = &spec["conversion"];
    let mut errors = Vec::new();
    match text(conversion, "strategy") {
        "" => errors.push(FieldError::required("spec.conversion.strategy", "")),
        "None" => {
            if conversion["webhook"].is_object() {
                let path = "spec.conversion.webhook";
                let detail = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden(path, detail));
            }
        }
        "Webhook" => errors.extend(webhook(&conversion["webhook"])),
        other => {
            let path = "spec.conversion.strategy";
            errors.push(FieldError::not_supported(path, other, &["None", "Webhook"]));
        }
    }
    errors
}

fn webhook(webhook: &Value) -> Vec<FieldError> {
    let path = "spec.conversion.webhookClientConfig";
    let mut errors = Vec::new();
    let client = &webhook["clientConfig"];
    let (url, service) = (&client["url"], &client["service"]);
    match (url.as_str(), service.is_object()) {
        (None, false) | (Some(_), true) => {
            let detail = "exactly one of url or service is required";
            errors.push(FieldError::required(path, detail));
        }
        (Some(url), false) => errors.extend(address(&format!("{path}.url"), url)),
        (None, true) => errors.extend(service_errors(&format!("{path}.service"), service)),
    }
    let versions = webhook["conversionReviewVersions"].as_array();
    let versions: Vec<&str> = versions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let path = "spec.conversion.conversionReviewVersions";
    if versions.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !versions.iter().any(|version| REVIEWS.contains(version)) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(FieldError::invalid(path, &versions, detail));
    }
    errors
}

fn address(path: &str, url: &str) -> Option<FieldError> {
    const FORM: &str = "; desired format: https://host[/path]";
    let wrong = |why: &str| Some(FieldError::invalid(path, url, format!("{why}{FORM}")));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong("'https' is the only allowed URL scheme");
    };
    let (host, query) = (rest.split(['/', '?', '#']).next().unwrap_or_default(), rest);
    match () {
        () if scheme != "https" => wrong("'https' is the only allowed URL scheme"),
        () if host.is_empty() => wrong("host must be specified"),
        () if host.contains('@') => wrong("user information is not permitted in the URL"),
        () if query.contains('#') => wrong("fragments are not permitted in the URL"),
        () if query.contains('?') => wrong("query parameters are not permitted in the URL"),
        () => None,
    }
}

fn service_errors(path: &str, service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["name", "namespace"] {
        if text(service, field).is_empty() {
            let detail = format!("service {field} is required");
            errors.push(FieldError::required(format!("{path}.{field}"), detail));
        }
    }
    let port = service["port"].as_i64().unwrap_or(443);
    for why in crate::meta::names::port_number(port) {
        let detail = format!("port is not valid: {why}");
        errors.push(FieldError::invalid(format!("{path}.port"), port, detail));
    }
    errors
}
