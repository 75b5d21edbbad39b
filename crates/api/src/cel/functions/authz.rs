//! Kubernetes' authorizer library: `authorizer.group('apps').resource('deployments').check('create').allowed()`.

use std::sync::Arc;

use super::{Overload, Scope, member, unfit};
use crate::cel::authorizer::{Check, Decision, Stage};
use crate::cel::error::EvalError;
use crate::cel::eval::Evaluated;
use crate::cel::value::Value;

/// Upstream's price of asking the authorizer.
const CHECK_UNITS: u64 = 350_000;

pub(super) fn table() -> Vec<Overload> {
    vec![
        member("path", "authorizer, string", "path", |args, _| {
            step(args, Some(Stage::Path), |check, path| {
                check.path = Some(path)
            })
        }),
        member("group", "authorizer, string", "group", |args, _| {
            step(args, Some(Stage::Group), |check, group| check.group = group)
        }),
        member(
            "serviceAccount",
            "authorizer, string, string",
            "authorizer",
            service_account,
        ),
        member("resource", "group, string", "resource", |args, _| {
            step(args, Some(Stage::Resource), |check, resource| {
                check.resource = resource
            })
        }),
        member("subresource", "resource, string", "resource", |args, _| {
            step(args, None, |check, subresource| {
                check.subresource = subresource
            })
        }),
        member("namespace", "resource, string", "resource", |args, _| {
            step(args, None, |check, namespace| check.namespace = namespace)
        }),
        member("name", "resource, string", "resource", |args, _| {
            step(args, None, |check, name| check.name = name)
        }),
        // Selectors narrow what a list may show; a check without them asks for more.
        member(
            "fieldSelector",
            "resource, string",
            "resource",
            |args, _| step(args, None, |_, _| {}),
        ),
        member(
            "labelSelector",
            "resource, string",
            "resource",
            |args, _| step(args, None, |_, _| {}),
        ),
        member("check", "path, string", "decision", check),
        member("check", "resource, string", "decision", check),
        member("allowed", "decision", "bool", |args, _| {
            told(args, |decision| Value::Bool(decision.is_allowed))
        }),
        member("reason", "decision", "string", |args, _| {
            told(args, |decision| Value::text(decision.reason.clone()))
        }),
        member("errored", "decision", "bool", |args, _| {
            told(args, |decision| Value::Bool(decision.error.is_some()))
        }),
        member("error", "decision", "string", |args, _| {
            told(args, |decision| {
                Value::text(decision.error.clone().unwrap_or_default())
            })
        }),
    ]
}

fn step<'a>(
    args: &[Value<'a>],
    stage: Option<Stage>,
    change: fn(&mut Check, String),
) -> Evaluated<'a> {
    let [Value::Authz(authz), Value::String(text)] = args else {
        return unfit();
    };
    let stage = stage.unwrap_or_else(|| authz.stage.clone());
    let next = authz.next(stage, |check| change(check, text.to_string()));
    Ok(Value::Authz(next))
}

fn service_account<'a>(args: &[Value<'a>], _: &mut Scope<'_>) -> Evaluated<'a> {
    let [
        Value::Authz(authz),
        Value::String(namespace),
        Value::String(name),
    ] = args
    else {
        return unfit();
    };
    if name.is_empty() || namespace.is_empty() {
        return Err(EvalError::failed(
            "Invalid service account name or namespace",
        ));
    }
    let account = (namespace.to_string(), name.to_string());
    let next = authz.next(Stage::Authorizer, |check| {
        check.service_account = Some(account)
    });
    Ok(Value::Authz(next))
}

fn check<'a>(args: &[Value<'a>], scope: &mut Scope<'_>) -> Evaluated<'a> {
    let [Value::Authz(authz), Value::String(verb)] = args else {
        return unfit();
    };
    scope.budget.charge(CHECK_UNITS)?;
    let mut asked = (*authz.check).clone();
    asked.verb = verb.to_string();
    let decision = authz.by.decide(&asked);
    let stage = Stage::Decision(Arc::new(decision));
    Ok(Value::Authz(authz.next(stage, |_| {})))
}

fn told<'a>(args: &[Value<'a>], of: fn(&Decision) -> Value<'static>) -> Evaluated<'a> {
    match args {
        [Value::Authz(authz)] => match &authz.stage {
            Stage::Decision(decision) => Ok(of(decision)),
            _ => unfit(),
        },
        _ => unfit(),
    }
}
