//! Names of a definition and of the kind that it defines.

use serde_json::Value;

use super::{joined, text};
use crate::field_error::FieldError;
use crate::meta::names::{dns1035_label, dns1123_subdomain};

const MIXED_CASE: &str = "may have mixed case, but should otherwise match: ";

/// `metadata.name` is made of the plural and the group.
pub(super) fn own(definition: &Value) -> Vec<FieldError> {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let spec = &definition["spec"];
    let wanted = format!("{}.{}", text(&spec["names"], "plural"), text(spec, "group"));
    let detail = "must be spec.names.plural+\".\"+spec.group";
    let error = || FieldError::invalid("metadata.name", name, detail);
    (name != wanted).then(error).into_iter().collect()
}

/// `spec.group`.
pub(super) fn group(spec: &Value) -> Option<FieldError> {
    let path = "spec.group";
    match text(spec, "group") {
        "" => Some(FieldError::required(path, "")),
        group => {
            let broken = dns1123_subdomain(group);
            let dotless = || {
                let detail = "should be a domain with at least one dot";
                (!group.contains('.')).then(|| FieldError::invalid(path, group, detail))
            };
            joined(path.to_owned(), group, &broken, "").or_else(dotless)
        }
    }
}

/// `spec.names`: what has to be there, and how it is written.
pub(super) fn requested(names: &Value) -> Vec<FieldError> {
    let wanted = ["plural", "singular", "kind", "listKind"];
    let absent = wanted.iter().filter(|name| text(names, name).is_empty());
    let absent = absent.map(|name| FieldError::required(format!("spec.names.{name}"), ""));
    absent.chain(spelled("spec.names", names)).collect()
}

/// How names are written, requested or accepted.
pub(super) fn spelled(path: &str, names: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |field: String, value: &str, prefix: &str| {
        let broken = dns1035_label(&value.to_lowercase());
        let broken = if prefix.is_empty() {
            dns1035_label(value)
        } else {
            broken
        };
        if !value.is_empty() {
            errors.extend(joined(format!("{path}.{field}"), value, &broken, prefix));
        }
    };
    check("plural".to_owned(), text(names, "plural"), "");
    check("singular".to_owned(), text(names, "singular"), "");
    check("kind".to_owned(), text(names, "kind"), MIXED_CASE);
    check("listKind".to_owned(), text(names, "listKind"), MIXED_CASE);
    for list in ["shortNames", "categories"] {
        let items = names[list].as_array().into_iter().flatten();
        for (idx, item) in items.filter_map(Value::as_str).enumerate() {
            check(format!("{list}[{idx}]"), item, "");
        }
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(
            format!("{path}.listKind"),
            kind,
            detail,
        ));
    }
    errors
}
