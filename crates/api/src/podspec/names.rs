//! Formats of the words in specs: those of `meta::names`, and variables, paths, addresses and ids besides.
//!
//! Each function answers what is wrong in upstream's words (`apimachinery/pkg/util/validation`), nothing when all
//! is well; those that take a path report it themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::path::{Errors, Path};
use crate::meta;
pub use crate::meta::names::{
    config_map_key as config_key, dns1123_label, dns1123_subdomain, label_value, port_name,
    qualified_name,
};
use crate::meta::names::{range_error, regex_error};

/// A port's number.
pub fn port_number(port: i32) -> Vec<String> {
    meta::names::port_number(port.into())
}

/// A label's key.
pub fn label_name(errors: &mut Errors, at: Path<'_>, key: &str) {
    errors.invalid_each(at, key, qualified_name(key));
}

/// A map of labels.
pub fn labels(errors: &mut Errors, at: &Path<'_>, labels: Option<&BTreeMap<String, String>>) {
    if labels.is_some_and(|labels| !labels.is_empty()) {
        errors
            .0
            .extend(meta::validate_labels_map(labels, &at.to_string()));
    }
}

/// A map of annotations.
pub fn annotations(
    errors: &mut Errors,
    at: &Path<'_>,
    annotations: Option<&BTreeMap<String, String>>,
) {
    let pairs = annotations
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    errors
        .0
        .extend(meta::validate_annotations(pairs, &at.to_string()));
}

/// A variable's name, relaxed since 1.34: printable ASCII without `=`.
pub fn env_var(name: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if name.is_empty() {
        messages.push("environment variable name must be non-empty".to_owned());
    }
    if !name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
        let message = "a valid environment variable name must consist only of printable ASCII \
                       characters other than '='";
        messages.push(message.to_owned());
    }
    messages
}

/// An HTTP header's name.
pub fn http_header(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A user's or group's id.
pub fn unix_id(id: i64) -> Vec<String> {
    if (0..=i64::from(i32::MAX)).contains(&id) {
        return Vec::new();
    }
    vec![range_error(0, i32::MAX.into())]
}

/// A name that is a segment of a URL, and is needed.
pub fn required_segment(errors: &mut Errors, at: Path<'_>, value: &str) {
    if value.is_empty() {
        errors.required(at, "");
    } else {
        errors.invalid_each(at, value, meta::names::path_segment(value, false));
    }
}

/// A domain and a path, such as `acme.io/foo`.
pub fn domain_prefixed_path(errors: &mut Errors, at: Path<'_>, text: &str) {
    let (domain, path) = match text.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => (domain, path),
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            return errors.invalid(at, text, detail);
        }
    };
    errors.invalid_each(at, domain, dns1123_subdomain(domain));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(allowed) {
        let regex = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
        errors.invalid(at, path, regex_error("Invalid path", regex, &[]));
    }
}

/// A domain of at least three parts, such as the name of a webhook.
pub fn fully_qualified(errors: &mut Errors, at: Path<'_>, name: &str) {
    let messages = dns1123_subdomain(name);
    if name.is_empty() {
        errors.required(at, "");
    } else if !messages.is_empty() {
        errors.invalid(at, name, messages.join(","));
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.invalid(at, name, detail);
    }
}

/// The name of a CSI driver.
pub fn csi_driver(errors: &mut Errors, at: Path<'_>, name: &str) {
    const MAX_BYTES: usize = 63;
    if name.is_empty() {
        errors.required(at, "");
    }
    if name.len() > MAX_BYTES {
        errors.too_long(at, MAX_BYTES);
    }
    errors.invalid_each(at, name, dns1123_subdomain(&name.to_lowercase()));
}

/// A percentage.
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![regex_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// A sysctl's name, dots or slashes between its parts.
pub fn is_sysctl(name: &str) -> bool {
    let part = |part: &str| {
        let inner =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(inner)
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

/// An address.
pub fn ip(errors: &mut Errors, at: Path<'_>, address: &str) {
    if address.parse::<IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.invalid(at, address, detail);
    }
}

/// A network in CIDR notation.
pub fn cidr(errors: &mut Errors, at: Path<'_>, text: &str) {
    let valid = text.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !valid {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid(at, text, detail);
    }
}

/// A path within a volume: relative, without `..`.
pub fn local_descending_path(errors: &mut Errors, at: Path<'_>, path: &str) {
    if path.starts_with('/') {
        errors.invalid(at, path, "must be a relative path");
    }
    no_backsteps(errors, at, path);
}

/// A path without `..`.
pub fn no_backsteps(errors: &mut Errors, at: Path<'_>, path: &str) {
    if path.split('/').any(|part| part == "..") {
        errors.invalid(at, path, "must not contain '..'");
    }
}

/// A path within a volume whose name may not start with `..` either, which is kubelet's own.
pub fn local_nonreserved_path(errors: &mut Errors, at: Path<'_>, path: &str) {
    local_descending_path(errors, at, path);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.invalid(at, path, "must not start with '..'");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_judged_as_upstream_does() {
        assert_eq!(
            percent("x"),
            [
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', \
              \u{20}or '93%', regex used for validation is '[0-9]+%')"
            ]
        );
        assert!(env_var("my var.1").is_empty());
        assert!(env_var("A=B")[0].ends_with("printable ASCII characters other than '='"));
        assert!(is_sysctl("net/ipv4.tcp_syncookies") && !is_sysctl("Net.x") && !is_sysctl("a..b"));
    }
}
