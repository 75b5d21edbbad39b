//! Names of pools, attributes and requests.

use crate::meta::names::{dns1123_subdomain, regex_error};
use crate::podspec::names::csi_driver;
use crate::podspec::path::{Errors, Path};

const MAX_POOL_BYTES: usize = 253;
const MAX_ID_BYTES: usize = 32;

/// Whether a list is within its bound; tells when not, and its items are then not looked at.
pub fn bounded(errors: &mut Errors, at: Path<'_>, len: usize, max: usize) -> bool {
    if len > max {
        errors.too_many(at, len, max);
    }
    len <= max
}

/// A pool: subdomains between slashes.
pub fn pool(errors: &mut Errors, at: Path<'_>, name: &str) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    if name.len() > MAX_POOL_BYTES {
        errors.too_long(at, MAX_POOL_BYTES);
    }
    for part in name.split('/') {
        errors.invalid_each(at, part, dns1123_subdomain(part));
    }
}

/// An attribute's or a capacity's name: an identifier, with a domain or without.
pub fn qualified(errors: &mut Errors, at: Path<'_>, name: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [id] => identifier(errors, at, id),
        [domain, id] => {
            if domain.is_empty() {
                errors.invalid(at, "", "the domain must not be empty");
            } else {
                csi_driver(errors, at, domain);
            }
            if id.is_empty() {
                errors.invalid(at, "", "the name must not be empty");
            } else {
                identifier(errors, at, id);
            }
        }
        // Upstream lets names with more slashes pass.
        _ => {}
    }
}

/// As [`qualified`], with a domain for sure.
pub fn fully_qualified(errors: &mut Errors, at: Path<'_>, name: &str) {
    qualified(errors, at, name);
    if !name.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid(at, name, detail);
    }
}

fn identifier(errors: &mut Errors, at: Path<'_>, id: &str) {
    if id.len() > MAX_ID_BYTES {
        errors.too_long(at, MAX_ID_BYTES);
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !id.bytes().all(word) {
        let rule = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                    alphanumeric characters or '_'";
        let examples = &["my_name", "MY_NAME", "MyName"];
        errors.invalid(
            at,
            id,
            regex_error(rule, "[A-Za-z_][A-Za-z0-9_]*", examples),
        );
    }
}

/// Whether a text is a version as semver.org 2.0.0 has it.
pub fn is_semver(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| is_number(text) && (text == "0" || !text.starts_with('0'));
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(number)
        && pre.is_none_or(|pre| {
            pre.split('.')
                .all(|one| part(one) && (!is_number(one) || number(one)))
        })
        && build.is_none_or(|build| build.split('.').all(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic() {
        for good in [
            "1.2.3",
            "0.0.0",
            "1.2.3-alpha.1",
            "1.2.3+b.01",
            "1.2.3-x-y+z",
        ] {
            assert!(is_semver(good), "{good}");
        }
        for bad in [
            "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "v1.2.3", "1.2.3.4",
        ] {
            assert!(!is_semver(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_judged_as_upstream_does() {
        for (name, expected) in [
            ("model", ""),
            ("gpu.example.com/model", ""),
            ("/x", "n: Invalid value: \"\": the domain must not be empty"),
            ("a.b/", "n: Invalid value: \"\": the name must not be empty"),
        ] {
            let mut errors = Errors::default();
            qualified(&mut errors, Path::root("n"), name);
            let first = errors
                .0
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert_eq!(first, expected);
        }
        let mut errors = Errors::default();
        identifier(&mut errors, Path::root("n"), "1a");
        assert_eq!(errors.0.len(), 1);
        fully_qualified(&mut errors, Path::root("n"), "model");
        assert_eq!(errors.0.len(), 2);
    }
}
