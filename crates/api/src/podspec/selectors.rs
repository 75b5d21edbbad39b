//! Label selectors of typed objects, as the rules of workloads use them; the logic is in `selector`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::json::typed;
use super::path::{Errors, Given, Path};
use crate::selector;

/// Checks a selector; none is fine.
pub fn validate(errors: &mut Errors, at: &Path<'_>, selector: Option<&LabelSelector>) {
    if let Some(selector) = selector {
        errors
            .0
            .extend(selector::validate(selector, &at.to_string()));
    }
}

/// Whether a selector has no requirement, and so matches everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.given().is_empty()
}

/// Whether a selector matches `labels`.
pub fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let none = BTreeMap::new();
    let parsed = selector::LabelSelector::from_object(selector);
    parsed.is_ok_and(|selector| selector.matches(labels.unwrap_or(&none)))
}

/// The selector at a JSON pointer as tables show it.
pub fn cell_at(object: &Value, pointer: &str) -> String {
    let selector = object.pointer(pointer).map(|given| typed(Some(given)));
    cell(selector.as_ref())
}

/// A selector as tables show it: `<none>` when it is absent or matches everything.
pub fn cell(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else {
        return "<none>".to_owned();
    };
    match selector::LabelSelector::from_object(selector) {
        Err(_) => "<error>".to_owned(),
        Ok(selector) if selector.is_everything() => "<none>".to_owned(),
        Ok(selector) => selector.to_string(),
    }
}
