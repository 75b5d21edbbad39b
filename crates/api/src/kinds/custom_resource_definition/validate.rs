//! Rules of a definition on create and on update (upstream's `apis/apiextensions/validation`).

use serde_json::Value;

use super::{conversion, names, text, versions, versions_of};
use crate::custom::naming::{APPROVED, Approval, approval, is_protected};
use crate::field_error::FieldError;
use crate::meta::Meta;

const IMMUTABLE: &str = "field is immutable";
const APPROVAL_PAGE: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// Rules of a definition on create and on update.
pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_none() {
        errors.extend(names::own(new));
    }
    errors.extend(spec(new, old));
    if let Some(old) = old {
        errors.extend(immutable(new, old));
    }
    errors.extend(approved(new, old));
    errors.extend(status(new));
    errors
}

/// Rules of a status update.
pub(super) fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    status(new)
}

fn spec(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &new["spec"];
    let mut errors: Vec<FieldError> = names::group(spec).into_iter().collect();
    match text(spec, "scope") {
        "" => errors.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        scope => {
            let known = ["Cluster", "Namespaced"];
            errors.push(FieldError::not_supported("spec.scope", scope, &known));
        }
    }
    let did_preserve = old.is_some_and(|old| old["spec"]["preserveUnknownFields"] == true);
    if spec["preserveUnknownFields"] == true && !did_preserve {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        let path = "spec.preserveUnknownFields";
        errors.push(FieldError::invalid(path, true, detail));
    }
    errors.extend(versions::validate(new, old));
    errors.extend(names::requested(&spec["names"]));
    errors.extend(conversion::validate(spec));
    errors
}

fn immutable(new: &Value, old: &Value) -> Vec<FieldError> {
    let conditions = old["status"]["conditions"].as_array();
    let is_established = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    // What objects are stored under stays; the rest once there may be objects.
    let fields = [
        ("/spec/scope", is_established),
        ("/spec/names/kind", is_established),
        ("/spec/group", true),
        ("/spec/names/plural", true),
    ];
    let changed = fields
        .iter()
        .filter(|(pointer, counts)| *counts && new.pointer(pointer) != old.pointer(pointer));
    let error = |(pointer, _): &(&str, bool)| {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        FieldError::invalid(path, new.pointer(pointer), IMMUTABLE)
    };
    changed.map(error).collect()
}

fn status(new: &Value) -> Vec<FieldError> {
    let status = &new["status"];
    let mut errors = names::spelled("status.acceptedNames", &status["acceptedNames"]);
    let known = |name: &str| {
        versions_of(new)
            .iter()
            .any(|version| version["name"] == name)
    };
    let stored = status["storedVersions"].as_array().into_iter().flatten();
    for (idx, name) in stored.filter_map(Value::as_str).enumerate() {
        if !known(name) {
            let path = format!("status.storedVersions[{idx}]");
            errors.push(FieldError::invalid(
                path,
                name,
                "must appear in spec.versions",
            ));
        }
    }
    errors
}

/// A group of the project's own needs the word of its reviewers.
fn approved(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let group = text(&new["spec"], "group");
    let annotation = |object: &Value| Meta::of(object).annotation(APPROVED).map(str::to_owned);
    if !is_protected(group) || old.is_some_and(|old| annotation(old) == annotation(new)) {
        return Vec::new();
    }
    let path = format!("metadata.annotations[{APPROVED}]");
    match approval(new) {
        Approval::Given(_) | Approval::Bypassed(_) => Vec::new(),
        Approval::Missing => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?}, see {APPROVAL_PAGE}"
            );
            vec![FieldError::required(path, detail)]
        }
        Approval::Invalid(value) => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see {APPROVAL_PAGE}"
            );
            vec![FieldError::invalid(path, value, detail)]
        }
    }
}
