//! What a policy or its binding matches.

use serde_json::Value;

use super::rules;
use crate::podspec::json::{list, typed};
use crate::podspec::path::{Errors, Path};
use crate::podspec::selectors;

pub(super) const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];

/// Checks `matchConstraints` or `matchResources`.
pub fn validate(errors: &mut Errors, at: &Path<'_>, resources: &Value) {
    let policy = resources["matchPolicy"].as_str();
    match policy {
        None => errors.required(at.child("matchPolicy"), ""),
        policy => errors.one_of_if(at.child("matchPolicy"), policy, MATCH_POLICIES),
    }
    for field in ["namespaceSelector", "objectSelector"] {
        match resources.get(field).filter(|found| !found.is_null()) {
            None => errors.required(at.child(field), ""),
            Some(found) => {
                let selector = typed(Some(found));
                selectors::validate(errors, &at.child(field), Some(&selector));
            }
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        rules::validate(
            errors,
            &at.child(field),
            list(resources, &format!("/{field}")),
        );
    }
}
