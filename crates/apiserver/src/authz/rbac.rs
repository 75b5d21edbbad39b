//! The RBAC authorizer: a request is allowed by the first rule that any of the user's bindings grants.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kontiki_api::rbac::allows;

use super::index::Index;
use super::{Attributes, Decision, Why};
use crate::options::User;

/// Whether some binding allows what is asked.
pub(super) fn decide(index: &Index, attributes: &Attributes<'_>) -> Decision {
    let mut missing = Vec::new();
    for (grant, subject) in index.grants(attributes.user, attributes.namespace) {
        match grant.rules() {
            Ok(rules) if rules.iter().any(|rule| allows(rule, &attributes.ask)) => {
                return Decision::Allow(Why::Grant(Arc::clone(grant), *subject));
            }
            Ok(_) => {}
            Err(error) if missing.contains(&error) => {}
            Err(error) => missing.push(error),
        }
    }
    Decision::NoOpinion(match missing.as_slice() {
        [] => String::new(),
        _ => format!("RBAC: {}", aggregated(&missing)),
    })
}

/// All rules of a user in a namespace, and the roles that bindings name in vain.
pub(crate) fn rules_for(
    index: &Index,
    user: &User,
    namespace: &str,
) -> (Vec<PolicyRule>, Vec<String>) {
    let (mut rules, mut errors) = (Vec::new(), Vec::new());
    for (grant, _) in index.grants(user, namespace) {
        match grant.rules() {
            Ok(granted) => rules.extend_from_slice(granted),
            Err(error) => errors.push(error),
        }
    }
    (rules, errors)
}

/// Several errors as upstream prints them.
pub(crate) fn aggregated(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}
