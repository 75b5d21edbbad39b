//! Admission webhooks: servers of others that change or judge what is written.
//!
//! ```text
//! configurations, by name ▸ hooks, in order ▸ does it match? ▸ AdmissionReview ▸ reply ▸ patch, warning, refusal
//! ```
//!
//! Mutating hooks are asked one after the other, each with what the one before made of the object; once more if a later
//! one changed it and they ask for that (`reinvocation`). Validating hooks are asked all at once. A configuration is
//! compiled once for each of its revisions.

use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use kontiki_base::status::Status;
use serde_json::Value;

use super::{Effects, Operation, Plugin, Request, matching};
use call::{Failure, Reply};
use configuration::{Configuration, Hook};

mod answer;
mod call;
mod configuration;
mod patch;
mod reinvocation;
#[cfg(test)]
mod tests;

pub(super) use reinvocation::Reinvocation;

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// `MutatingAdmissionWebhook`.
pub(super) struct Mutating;

/// `ValidatingAdmissionWebhook`.
pub(super) struct Validating;

/// All configurations, in the order of their names.
fn configurations(request: &Request<'_>, resource: &str) -> Vec<Arc<Configuration>> {
    let snapshot = request.server.store().snapshot();
    let objects = snapshot.list(resource, None, None);
    objects
        .filter_map(|object| object.typed::<Configuration>().ok())
        .collect()
}

fn has_any(request: &Request<'_>, resource: &str) -> bool {
    request.server.store().snapshot().count(resource) > 0 && !matching::is_exempt(request)
}

impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        has_any(request, MUTATING)
    }

    fn mutate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: &'a mut Value,
        effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let mut object = Some(std::mem::take(new));
            let mutated = mutate(request, &mut object, effects).await;
            *new = object.unwrap_or_default();
            mutated
        })
    }

    /// A deletion has no mutating phase, but mutating hooks may refuse it.
    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        _: Option<&'a Value>,
        effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            match request.operation {
                Operation::Delete => mutate(request, &mut None, effects).await,
                _ => Ok(()),
            }
        })
    }
}

async fn mutate(
    request: &Request<'_>,
    object: &mut Option<Value>,
    effects: &mut Effects,
) -> Result<(), Status> {
    effects.reinvocation.enter(object.as_ref());
    for configuration in configurations(request, MUTATING) {
        for (i, hook) in configuration.hooks.iter().enumerate() {
            let uid = format!("{}/{}/{i}", configuration.name, hook.name);
            let Some(kind) = hook.matched(request, object.as_ref())? else {
                continue;
            };
            if !effects.reinvocation.is_due(&uid) {
                continue;
            }
            let called = hook.call(request, &kind, object.as_ref()).await;
            let changed = match settled(hook, called, effects)? {
                Some(reply) => patch::apply(request, hook, &kind, object, &reply)?,
                None => false,
            };
            effects.reinvocation.called(uid, hook.is_reinvoked, changed);
        }
    }
    effects.reinvocation.leave(object.as_ref());
    Ok(())
}

impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        has_any(request, VALIDATING)
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let configurations = configurations(request, VALIDATING);
            let mut hooks = Vec::new();
            for hook in configurations.iter().flat_map(|found| &found.hooks) {
                if let Some(kind) = hook.matched(request, new)? {
                    hooks.push((hook, kind));
                }
            }
            let calls = hooks
                .iter()
                .map(|(hook, kind)| hook.call(request, kind, new));
            let replies = join_all(calls).await;
            for ((hook, _), reply) in hooks.into_iter().zip(replies) {
                settled(hook, reply, effects)?;
            }
            Ok(())
        })
    }
}

/// What a hook's reply means for the request: none when it failed and may.
fn settled(
    hook: &Hook,
    called: Result<Reply, Failure>,
    effects: &mut Effects,
) -> Result<Option<Reply>, Status> {
    match called {
        Ok(mut reply) => {
            effects.warnings.append(&mut reply.warnings);
            let annotations = std::mem::take(&mut reply.annotations).into_iter();
            let named = annotations.map(|(key, value)| (format!("{}/{key}", hook.name), value));
            effects.annotations.extend(named);
            match reply.refusal.take() {
                Some(refusal) => Err(refusal),
                None => Ok(Some(reply)),
            }
        }
        Err(Failure::Call(why)) if hook.may_fail => {
            tracing::warn!(
                webhook = hook.name,
                why,
                "failed calling webhook, failing open"
            );
            Ok(None)
        }
        Err(Failure::Call(why)) => {
            tracing::warn!(
                webhook = hook.name,
                why,
                "failed calling webhook, failing closed"
            );
            let name = &hook.name;
            Err(Status::internal(format!(
                "Internal error occurred: failed calling webhook {name:?}: {why}"
            )))
        }
        Err(Failure::Request(status)) => Err(status),
    }
}
