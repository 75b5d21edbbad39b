//! Rules of audit policies (upstream `ValidatePolicy`).

use super::{GroupResources, Policy, Rule};
use crate::field_error::FieldError;

const API_VERSION: &str = "audit.k8s.io/v1";

pub(super) fn policy(policy: &Policy) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if policy.api_version != API_VERSION {
        errors.push(FieldError::not_supported(
            "apiVersion",
            policy.api_version.as_str(),
            &[API_VERSION],
        ));
    }
    if policy.kind != "Policy" {
        errors.push(FieldError::not_supported(
            "kind",
            policy.kind.as_str(),
            &["Policy"],
        ));
    }
    if policy.rules.is_empty() {
        errors.push(FieldError::required(
            "rules",
            "a policy without rules records nothing",
        ));
    }
    for (idx, rule) in policy.rules.iter().enumerate() {
        let at = format!("rules[{idx}]");
        kinds_of_requests(&mut errors, &at, rule);
        urls(&mut errors, &at, rule);
        for (idx, group) in rule.resources.iter().enumerate() {
            resources(&mut errors, &format!("{at}.resources[{idx}]"), group);
        }
    }
    errors
}

fn kinds_of_requests(errors: &mut Vec<FieldError>, at: &str, rule: &Rule) {
    let is_about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if is_about_resources && !rule.non_resource_urls.is_empty() {
        errors.push(FieldError::invalid(
            format!("{at}.nonResourceURLs"),
            rule.non_resource_urls.clone(),
            "rules cannot apply to both regular resources and non-resource URLs",
        ));
    }
}

fn urls(errors: &mut Vec<FieldError>, at: &str, rule: &Rule) {
    for (idx, url) in rule.non_resource_urls.iter().enumerate() {
        let mut refuse = |detail: &str| {
            let at = format!("{at}.nonResourceURLs[{idx}]");
            errors.push(FieldError::invalid(at, url.as_str(), detail));
        };
        if url == "*" {
            continue;
        }
        if !url.starts_with('/') {
            refuse("non-resource URL rules must begin with a '/' character");
        }
        if url.strip_suffix('*').unwrap_or(url).contains('*') {
            refuse("non-resource URL wildcards '*' must be the final character of the rule");
        }
    }
}

fn resources(errors: &mut Vec<FieldError>, at: &str, group: &GroupResources) {
    if !group.group.is_empty() {
        for detail in crate::meta::names::subdomain(&group.group, false) {
            let at = format!("{at}.group");
            errors.push(FieldError::invalid(at, group.group.as_str(), detail));
        }
    }
    if !group.resource_names.is_empty() && group.resources.is_empty() {
        let detail = "using resourceNames requires at least one resource";
        let at = format!("{at}.resourceNames");
        errors.push(FieldError::invalid(
            at,
            group.resource_names.clone(),
            detail,
        ));
    }
}
