//! `ValidatingAdmissionPolicy`: rules in CEL, brought to bear by bindings.
//!
//! A policy says what must hold, of which requests, with what kind of parameters; a binding says where, with which
//! parameters, and what a failure brings: a refusal, a warning, a note for the audit log. Policies and bindings are
//! compiled once for each of their revisions; an expression is evaluated within upstream's budget.
//!
//! Not here: whether expressions fit the kinds that are matched; a controller tells it in the policy's status.

use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_api::Kind;
use kontiki_api::cel::admission;
use kontiki_base::status::{Cause, Reason, Status};
use kontiki_state::Object;
use serde_json::{Value, json};

use super::expressions::Source;
use super::matching::{self, name_of};
use super::review::Versioned;
use super::{Effects, Plugin, Request};
use crate::authz::forbidden_because;
use crate::options::Target;
use binding::Binding;
use decision::{Decision, Verdict};
use policy::Policy;

mod binding;
mod decision;
mod params;
mod policy;
#[cfg(test)]
mod tests;

const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
/// The audit annotation of failures that are only noted.
const FAILURE_ANNOTATION: &str = "validation.policy.admission.k8s.io/validation_failure";

/// `ValidatingAdmissionPolicy`.
pub(super) struct Policies;

impl Plugin for Policies {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        request.server.store().snapshot().count(BINDINGS) > 0 && !matching::is_exempt(request)
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(validate(request, new, effects))
    }
}

/// A failure that refuses the request.
struct Denial {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: Reason,
}

async fn validate(
    request: &Request<'_>,
    new: Option<&Value>,
    effects: &mut Effects,
) -> Result<(), Status> {
    let snapshot = request.server.store().snapshot();
    let bindings: Vec<Arc<Binding>> = snapshot
        .list(BINDINGS, None, None)
        .filter_map(|object| object.typed::<Binding>().ok())
        .collect();
    let mut denials = Vec::new();
    let policies: Vec<Arc<Object>> = snapshot.list(POLICIES, None, None).collect();
    for object in policies {
        let bound = |binding: &&Arc<Binding>| *binding.policy == *object.key.name;
        let mut bindings = bindings.iter().filter(bound).peekable();
        if bindings.peek().is_none() {
            continue;
        }
        let Ok(policy) = object.typed::<Policy>() else {
            continue;
        };
        let matched = policy.criteria.matched(request, new);
        let kind = match (matched, &policy.broken) {
            (Ok(None), _) => continue,
            (Ok(Some(kind)), None) => kind,
            (Err(why), _) => {
                denials.extend(policy.misconfigured(None, &why.message));
                continue;
            }
            (Ok(_), Some(why)) => {
                denials.extend(policy.misconfigured(None, why));
                continue;
            }
        };
        for binding in bindings {
            let bound = Bound {
                policy: &policy,
                binding,
                kind: kind.clone(),
            };
            match bound.decide(request, new).await {
                Ok(decisions) => bound.act(decisions, &mut denials, effects),
                Err(why) => denials.extend(policy.misconfigured(Some(&binding.name), &why)),
            }
        }
    }
    match denials.into_iter().next() {
        None => Ok(()),
        Some(denial) => Err(refused(request, new, &denial)),
    }
}

/// A policy under one of its bindings, for a request in one version.
struct Bound<'p> {
    policy: &'p Policy,
    binding: &'p Binding,
    kind: Kind,
}

impl Bound<'_> {
    /// What the policy says, for each of the binding's parameters.
    async fn decide(
        &self,
        request: &Request<'_>,
        new: Option<&Value>,
    ) -> Result<Vec<Decision>, String> {
        let matched = self.binding.criteria.matched(request, new);
        if matched.map_err(|why| why.message)?.is_none() {
            return Ok(Vec::new());
        }
        let params = params::collect(self.policy, self.binding, request).await?;
        let versioned = Versioned::new(request, &self.kind, new);
        let source = Source::new(request, &versioned, true);
        let request_type = admission::request_type();
        let decided = params.iter().map(|params| {
            let variables = source.variables(&request_type);
            self.policy.decide(variables, params.as_deref())
        });
        Ok(decided.collect())
    }

    fn act(&self, decisions: Vec<Decision>, denials: &mut Vec<Denial>, effects: &mut Effects) {
        let (policy, binding) = (&self.policy.name, &self.binding.name);
        for decision in decisions {
            for (i, verdict) in decision.failures {
                let Verdict { message, reason } = verdict;
                if self.binding.audits {
                    let failure = json!([{
                        "message": message, "policy": policy, "binding": binding, "expressionIndex": i,
                        "validationActions": self.binding.actions,
                    }]);
                    let annotation = (FAILURE_ANNOTATION.to_owned(), failure.to_string());
                    effects.annotations.push(annotation);
                }
                if self.binding.warns {
                    effects.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {message}"
                    ));
                }
                if self.binding.denies {
                    denials.push(self.denial(message, reason));
                }
            }
            let broken = decision.broken_annotations.into_iter();
            denials.extend(broken.map(|why| self.denial(why, Reason::Invalid)));
            for (key, value) in decision.annotations {
                noted(effects, format!("{policy}/{key}"), value);
            }
        }
    }

    fn denial(&self, message: String, reason: Reason) -> Denial {
        Denial {
            policy: self.policy.name.clone(),
            binding: Some(self.binding.name.clone()),
            message,
            reason,
        }
    }
}

/// Values of one key, of several bindings, stand side by side.
fn noted(effects: &mut Effects, key: String, value: String) {
    let known = effects
        .annotations
        .iter_mut()
        .find(|(known, _)| *known == key);
    match known {
        None => effects.annotations.push((key, value)),
        Some((_, known)) if known.split(", ").any(|part| part == value) => {}
        Some((_, known)) => {
            known.push_str(", ");
            known.push_str(&value);
        }
    }
}

impl Policy {
    /// What it means that the policy or a binding makes no sense: a refusal, unless failures are ignored.
    fn misconfigured(&self, binding: Option<&str>, why: &str) -> Option<Denial> {
        let part = if binding.is_some() {
            "binding"
        } else {
            "policy"
        };
        (!self.may_fail).then(|| Denial {
            policy: self.name.clone(),
            binding: binding.map(str::to_owned),
            message: format!("failed to configure {part}: {why}"),
            reason: Reason::Invalid,
        })
    }
}

fn refused(request: &Request<'_>, new: Option<&Value>, denial: &Denial) -> Status {
    let (policy, message) = (&denial.policy, &denial.message);
    let message = match &denial.binding {
        Some(binding) => format!(
            "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {message}"
        ),
        None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {message}"),
    };
    let target = Target {
        name: name_of(request, new).to_owned(),
        ..request.target.clone()
    };
    let mut status = forbidden_because(&target, &message);
    status.reason = denial.reason;
    status.details.get_or_insert_default().causes.push(Cause {
        reason: String::new(),
        message,
        field: String::new(),
    });
    status
}
