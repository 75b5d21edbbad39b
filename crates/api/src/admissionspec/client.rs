//! Where a webhook is: a URL or a Service (upstream `apiserver/pkg/util/webhook`).

use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};

use crate::meta::names;
use crate::podspec::path::{Errors, Given, Path};

const FORM: &str = "; desired format: https://host[/path]";

/// Checks where a webhook is.
pub fn validate(errors: &mut Errors, at: &Path<'_>, config: &WebhookClientConfig) {
    match (config.url.as_deref(), &config.service) {
        (Some(text), None) => url(errors, at.child("url"), text),
        (None, Some(found)) => service(errors, &at.child("service"), found),
        _ => errors.required(*at, "exactly one of url or service is required"),
    }
}

/// The parts of a URL that rules look at.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let quoted = crate::field_error::go_quote(text);
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(format!(
                "parse {quoted}: net/url: invalid control character in URL"
            ));
        }
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let is_scheme = |scheme: &&str| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        };
        let (scheme, rest) = match text.split_once(':') {
            Some(("", _)) => return Err(format!("parse {quoted}: missing protocol scheme")),
            Some((scheme, rest)) if is_scheme(&scheme) => (scheme, rest),
            Some((segment, _)) if !segment.contains('/') => {
                return Err(format!(
                    "parse {quoted}: first path segment in URL cannot contain colon"
                ));
            }
            _ => ("", text),
        };
        let authority = rest.strip_prefix("//").map_or("", |rest| {
            rest.split_once('/')
                .map_or(rest, |(authority, _)| authority)
        });
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        if !host.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!(
                "parse {quoted}: invalid port \":{port}\" after host"
            ));
        }
        Ok(Self {
            scheme,
            user,
            host,
            query,
            fragment,
        })
    }
}

fn url(errors: &mut Errors, at: Path<'_>, text: &str) {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            return errors.required(at, format!("url must be a valid URL: {why}{FORM}"));
        }
    };
    if !url.scheme.eq_ignore_ascii_case("https") {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.invalid(at, url.scheme.to_lowercase(), detail);
    }
    if url.host.is_empty() {
        errors.invalid(at, "", format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        errors.invalid(at, user, "user information is not permitted in the URL");
    }
    for (part, detail) in [
        (url.fragment, "fragments are not permitted in the URL"),
        (url.query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.invalid(at, part, detail);
        }
    }
}

fn service(errors: &mut Errors, at: &Path<'_>, service: &ServiceReference) {
    if service.name.is_empty() {
        errors.required(at.child("name"), "service name is required");
    }
    if service.namespace.is_empty() {
        errors.required(at.child("namespace"), "service namespace is required");
    }
    let port = service.port.unwrap_or_default();
    let messages = names::port_number(port.into());
    if !messages.is_empty() {
        let detail = format!("port is not valid: {}", messages.join(","));
        errors.invalid(at.child("port"), port, detail);
    }
    path(errors, at.child("path"), service.path.given());
}

fn path(errors: &mut Errors, at: Path<'_>, path: &str) {
    match path {
        "" | "/" => return,
        "//" => return errors.invalid(at, path, "segment[0] may not be empty"),
        _ => {}
    }
    let steps = match path.strip_prefix('/') {
        Some(steps) => steps,
        None => {
            errors.invalid(at, path, "must start with a '/'");
            let first = path.chars().next().map_or(0, char::len_utf8);
            &path[first..]
        }
    };
    let steps = steps.strip_suffix('/').unwrap_or(steps);
    for (i, step) in steps.split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(at, path, format!("segment[{i}] may not be empty"));
            continue;
        }
        for message in names::dns1123_subdomain(step) {
            errors.invalid(at, path, format!("segment[{i}]: {message}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_checked() {
        for (config, expected) in [
            (
                json!({}),
                "c: Required value: exactly one of url or service is required",
            ),
            (json!({"url": "https://a.example/x"}), ""),
            (json!({"url": "https://[::1]:8443"}), ""),
            (
                json!({"url": "http://a.example"}),
                "c.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: \
                 https://host[/path]",
            ),
            (
                json!({"url": "https:///x"}),
                "c.url: Invalid value: \"\": host must be specified; desired format: https://host[/path]",
            ),
            (
                json!({"url": "https://u:p@a.example"}),
                "c.url: Invalid value: \"u:p\": user information is not permitted in the URL",
            ),
            (
                json!({"url": "https://a.example/#x"}),
                "c.url: Invalid value: \"x\": fragments are not permitted in the URL",
            ),
            (
                json!({"url": "https://a.example?x=y"}),
                "c.url: Invalid value: \"x=y\": query parameters are not permitted in the URL",
            ),
            (
                json!({"url": ":x"}),
                "c.url: Required value: url must be a valid URL: parse \":x\": missing protocol scheme; desired \
                 format: https://host[/path]",
            ),
            (
                json!({"service": {"name": "", "namespace": "n", "port": 443}}),
                "c.service.name: Required value: service name is required",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 0}}),
                "c.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 443, "path": "x"}}),
                "c.service.path: Invalid value: \"x\": must start with a '/'",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 443, "path": "/a//b"}}),
                "c.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
            ),
        ] {
            let mut errors = Errors::default();
            let typed = crate::podspec::json::typed(Some(&config));
            validate(&mut errors, &Path::root("c"), &typed);
            let first = errors
                .0
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert_eq!(first, expected, "{config}");
        }
    }
}
