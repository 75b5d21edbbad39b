//! Conditions in CEL on top of rules.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::cel::{Environment, admission};
use crate::podspec::names::label_name;
use crate::podspec::path::{Errors, Path};

const MAX_CONDITIONS: usize = 64;

/// Checks a list of conditions, which may name what the environment has.
pub fn validate(
    errors: &mut Errors,
    at: &Path<'_>,
    conditions: &[MatchCondition],
    environment: &Environment,
) {
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(*at, conditions.len(), MAX_CONDITIONS);
    }
    let mut names = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        if condition.expression.trim().is_empty() {
            errors.required(at.child("expression"), "");
        } else if let Err(why) = admission::condition(&condition.expression, environment) {
            let expression = condition.expression.as_str();
            errors.invalid(at.child("expression"), expression, why.detail());
        }
        let name_at = at.child("name");
        if condition.name.is_empty() {
            errors.required(name_at, "");
            continue;
        }
        label_name(errors, name_at, &condition.name);
        if !names.insert(condition.name.as_str()) {
            errors.duplicate(name_at, condition.name.as_str());
        }
    }
}
