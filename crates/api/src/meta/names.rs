//! Rules of names, label keys and label values, with upstream's messages (`k8s.io/apimachinery/.../content`).
//!
//! Each rule answers what is wrong, nothing when all is well. Written as scans: no regular expressions at run time.

/// A rule of `metadata.name`: `(name, is_prefix)`; a prefix is a `generateName`.
pub type NameRule = fn(&str, bool) -> Vec<String>;

const LABEL_BYTES: usize = 63;
const SUBDOMAIN_BYTES: usize = 253;
const PORT_NAME_BYTES: usize = 15;

/// `must be no more than N bytes`.
pub fn max_len(bytes: usize) -> String {
    format!("must be no more than {bytes} bytes")
}

/// `must be between A and B, inclusive`.
pub fn range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Upstream's `RegexError`.
pub fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{regex}')");
    }
    let examples: Vec<String> = examples
        .iter()
        .map(|example| format!("'{example}', "))
        .collect();
    format!(
        "{message} (e.g. {}regex used for validation is '{regex}')",
        examples.join(" or ")
    )
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether the first and last byte satisfy `edge`, all others `edge` or stand in `inner`.
fn shaped(text: &str, edge: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    edge(*first) && edge(*last) && bytes.iter().all(|byte| edge(*byte) || inner.contains(byte))
}

fn is_label(text: &str) -> bool {
    shaped(text, lower, b"-")
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// RFC 1123 label.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_BYTES {
        errors.push(max_len(LABEL_BYTES));
    }
    if !is_label(value) {
        errors.push(match is_subdomain(value) {
            true => "must not contain dots".to_owned(),
            false => regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
                 '-', and must start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            ),
        });
    }
    errors
}

/// RFC 1123 subdomain.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_BYTES {
        errors.push(max_len(SUBDOMAIN_BYTES));
    }
    if !is_subdomain(value) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    errors
}

/// A host name that begins with `*.`.
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_BYTES {
        errors.push(max_len(SUBDOMAIN_BYTES));
    }
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        errors.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
             consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    errors
}

/// RFC 1035 label.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_BYTES {
        errors.push(max_len(LABEL_BYTES));
    }
    if !(is_label(value) && value.as_bytes()[0].is_ascii_lowercase()) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// A label key, annotation key or finalizer: `[prefix/]name`.
pub fn qualified_name(value: &str) -> Vec<String> {
    const RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                        and end with an alphanumeric character";
    const REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    let wrong_shape = || regex_error(RULE, REGEX, &["MyName", "my.name", "123-abc"]);
    let mut errors = Vec::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')",
                wrong_shape()
            )];
        }
        Some(("", name)) => {
            errors.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            let messages = dns1123_subdomain(prefix).into_iter();
            errors.extend(messages.map(|message| format!("prefix part {message}")));
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_BYTES {
        errors.push(format!("name part {}", max_len(LABEL_BYTES)));
    }
    if !shaped(name, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        errors.push(format!("name part {}", wrong_shape()));
    }
    errors
}

/// A label value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_BYTES {
        errors.push(max_len(LABEL_BYTES));
    }
    if !value.is_empty() && !shaped(value, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > SUBDOMAIN_BYTES {
        errors.push(max_len(SUBDOMAIN_BYTES));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if value.is_empty() || !value.bytes().all(allowed) {
        errors.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if value == "." {
        errors.push("must not be '.'".to_owned());
    } else if value == ".." {
        errors.push("must not be '..'".to_owned());
    } else if value.starts_with("..") {
        errors.push("must not start with '..'".to_owned());
    }
    errors
}

/// Finalizers that need no domain.
pub fn is_standard_finalizer(value: &str) -> bool {
    matches!(value, "kubernetes" | "orphan" | "foregroundDeletion")
}

/// A port number.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) {
        Vec::new()
    } else {
        vec![range_error(1, 65535)]
    }
}

/// A port name (IANA service name).
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > PORT_NAME_BYTES {
        errors.push(max_len(PORT_NAME_BYTES));
    }
    if value.is_empty() || !value.bytes().all(|byte| lower(byte) || byte == b'-') {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// A `generateName` may end in a hyphen: what follows it is not yet there.
fn mask_trailing_dash(name: &str) -> String {
    match name.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => name.to_owned(),
    }
}

fn rule(check: fn(&str) -> Vec<String>, name: &str, prefix: bool) -> Vec<String> {
    if prefix {
        check(&mask_trailing_dash(name))
    } else {
        check(name)
    }
}

/// `NameIsDNSSubdomain`.
pub fn subdomain(name: &str, prefix: bool) -> Vec<String> {
    rule(dns1123_subdomain, name, prefix)
}

/// `NameIsDNSLabel`.
pub fn label(name: &str, prefix: bool) -> Vec<String> {
    rule(dns1123_label, name, prefix)
}

/// `NameIsDNS1035Label`.
pub fn label_1035(name: &str, prefix: bool) -> Vec<String> {
    rule(dns1035_label, name, prefix)
}

/// `NameIsPathSegment`-like: upstream's rule for kinds whose names are free but for URLs.
pub fn path_segment(name: &str, _prefix: bool) -> Vec<String> {
    match name {
        "." | ".." => vec![format!("may not be '{name}'")],
        _ => {
            let illegal = ["/", "%"]
                .into_iter()
                .filter(|illegal| name.contains(illegal));
            illegal
                .map(|illegal| format!("may not contain '{illegal}'"))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str) -> Vec<String>;

    #[test]
    fn shapes() {
        let long = "a".repeat(64);
        let cases: &[(Rule, &str, usize)] = &[
            (dns1123_label, "web-1", 0),
            (dns1123_label, "Web", 1),
            (dns1123_label, "a.b", 1),
            (dns1123_label, &long, 1),
            (dns1123_label, "", 1),
            (dns1123_subdomain, "a.b-c.1", 0),
            (dns1123_subdomain, "a..b", 1),
            (dns1035_label, "1a", 1),
            (dns1035_label, "a1", 0),
            (qualified_name, "example.com/My_Name", 0),
            (qualified_name, "/x", 1),
            (qualified_name, "a/b/c", 1),
            (qualified_name, "a/", 2),
            (label_value, "", 0),
            (label_value, "-x", 1),
            (config_map_key, "..data", 1),
            (config_map_key, "a b", 1),
            (port_name, "http", 0),
            (port_name, "8080", 1),
            (port_name, "-a--b", 2),
        ];
        for (rule, value, n_errors) in cases {
            assert_eq!(rule(value).len(), *n_errors, "{value:?}: {:?}", rule(value));
        }
    }

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(
            dns1123_label("Web")[0],
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
             '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
             '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        );
        assert_eq!(dns1123_label("a.b")[0], "must not contain dots");
    }

    #[test]
    fn prefixes_may_end_in_a_hyphen() {
        assert!(subdomain("web-", true).is_empty());
        assert!(!subdomain("web-", false).is_empty());
    }
}
