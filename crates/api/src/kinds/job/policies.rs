//! Rules of what a Job does about pods that fail or succeed.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicy,
};

use super::status::parse_indexes;
use super::validate::is_indexed;
use crate::podspec::names;
use crate::podspec::path::{Errors, Given, Path, to_value};

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

/// Checks `podFailurePolicy`, `successPolicy` and `podReplacementPolicy`.
pub fn validate(errors: &mut Errors, at: &Path<'_>, spec: &JobSpec) {
    if let Some(policy) = &spec.pod_failure_policy {
        let at = at.child("podFailurePolicy");
        let list = at.child("rules");
        if policy.rules.len() > MAX_RULES {
            errors.too_many(list, policy.rules.len(), MAX_RULES);
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            failure_rule(errors, &list.index(i), rule, spec);
        }
    }
    if let Some(policy) = &spec.success_policy {
        let at = at.child("successPolicy");
        match spec.completions.filter(|_| is_indexed(spec)) {
            Some(completions) => success_policy(errors, &at, policy, completions),
            None => errors.invalid(at, to_value(policy), "requires indexed completion mode"),
        }
    }
    let supported: &[&str] = match spec.pod_failure_policy {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    let replacement = spec.pod_replacement_policy.as_deref();
    errors.one_of_if(at.child("podReplacementPolicy"), replacement, supported);
}

fn required_word(errors: &mut Errors, at: Path<'_>, word: &str, supported: &[&str]) {
    if word.is_empty() {
        let quoted: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
        errors.required(at, format!("valid values: [{}]", quoted.join(" ")));
    } else if !supported.contains(&word) {
        errors.not_supported(at, word, supported);
    }
}

fn failure_rule(errors: &mut Errors, at: &Path<'_>, rule: &PodFailurePolicyRule, spec: &JobSpec) {
    if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        let detail = "requires the backoffLimitPerIndex to be set";
        errors.invalid(at.child("action"), rule.action.as_str(), detail);
    } else {
        let actions = &["Count", "FailIndex", "FailJob", "Ignore"];
        required_word(errors, at.child("action"), &rule.action, actions);
    }
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(errors, &at.child("onExitCodes"), codes, spec);
    }
    let patterns = rule.on_pod_conditions.given();
    let list = at.child("onPodConditions");
    if patterns.len() > MAX_RULES {
        errors.too_many(list, patterns.len(), MAX_RULES);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let at = list.index(i);
        let messages = names::qualified_name(&pattern.type_);
        errors.invalid_each(at.child("type"), &pattern.type_, messages);
        let statuses = &["False", "True", "Unknown"];
        required_word(errors, at.child("status"), pattern.status.given(), statuses);
    }
    let detail = match (rule.on_exit_codes.is_some(), patterns.is_empty()) {
        (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.invalid_without_value(*at, detail);
}

fn exit_codes(
    errors: &mut Errors,
    at: &Path<'_>,
    codes: &PodFailurePolicyOnExitCodesRequirement,
    spec: &JobSpec,
) {
    required_word(
        errors,
        at.child("operator"),
        &codes.operator,
        &["In", "NotIn"],
    );
    if let Some(name) = &codes.container_name {
        let pod = spec.template.spec.clone().unwrap_or_default();
        let mut containers = pod.containers.iter().chain(pod.init_containers.given());
        if !containers.any(|container| container.name == *name) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.invalid(at.child("containerName"), name.as_str(), detail);
        }
    }
    let list = at.child("values");
    if codes.values.is_empty() {
        errors.invalid(
            list,
            to_value(&codes.values),
            "at least one value is required",
        );
    } else if codes.values.len() > MAX_EXIT_CODES {
        errors.too_many(list, codes.values.len(), MAX_EXIT_CODES);
    }
    let mut seen = BTreeSet::new();
    for (i, code) in codes.values.iter().enumerate() {
        if codes.operator == "In" && *code == 0 {
            errors.invalid(list.index(i), *code, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(list.index(i), *code);
        }
    }
    if !codes.values.is_sorted() {
        errors.invalid(list, to_value(&codes.values), "must be ordered");
    }
}

fn success_policy(errors: &mut Errors, at: &Path<'_>, policy: &SuccessPolicy, completions: i32) {
    let list = at.child("rules");
    if policy.rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(list, detail);
    }
    if policy.rules.len() > MAX_RULES {
        errors.too_many(list, policy.rules.len(), MAX_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        let at = list.index(i);
        let (count_at, indexes_at) = (at.child("succeededCount"), at.child("succeededIndexes"));
        if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
            let detail = "at least one of succeededCount or succeededIndexes must be specified";
            errors.required(at, detail);
        }
        let mut most = completions;
        let mut of = "(the number of specified completions)";
        if let Some(indexes) = &rule.succeeded_indexes {
            match parse_indexes(indexes, completions) {
                Ok(n) => {
                    most = most.min(n);
                    of = "(the number of indexes in the specified succeededIndexes field)";
                }
                Err(error) => {
                    let detail = format!("error parsing succeededIndexes: {error}");
                    errors.invalid(indexes_at, indexes.as_str(), detail);
                }
            }
        }
        if let Some(count) = rule.succeeded_count {
            errors.nonnegative(count_at, count);
            if count > most {
                let detail = format!("must be less than or equal to {most} {of}");
                errors.invalid(count_at, count, detail);
            }
        }
    }
}
