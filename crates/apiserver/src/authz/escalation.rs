//! Nobody gives away rights that he does not have: writes of roles and bindings (upstream `registry/rbac/*/policybased`).
//!
//! A role's rules must be covered by the writer's own, unless he may `escalate` it; so must the rules of the role that a
//! binding names, unless he may `bind` it.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kontiki_api::rbac::{self as rules, GROUP};
use kontiki_base::status::Status;
use serde_json::Value;

use super::index::rules_of;
use super::{Attributes, MASTERS, forbidden_because};
use crate::options::{Context, Target};
use crate::server::ApiServer;

const CLUSTER_ADMIN_ONLY: &str = "must have cluster-admin privileges to use the aggregationRule";

/// Checks a new or changed role or binding.
pub(super) fn check(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    if target.kind.group() != GROUP || context.user.is_in(MASTERS) {
        return Ok(());
    }
    if old.is_some_and(|old| changes_only_gc_fields(old, new)) {
        return Ok(());
    }
    match target.kind.plural() {
        "roles" | "clusterroles" => check_role(server, context, target, old, new),
        _ => check_binding(server, context, target, new),
    }
}

fn check_role(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let escalate = Attributes::new(&context.user, "escalate", target);
    if server.decide(&escalate).is_allowed() {
        return Ok(());
    }
    let target = &target.named_by(new);
    covered(server, context, target, &rules_in(new))?;
    let aggregates = |role: &Value| role.get("aggregationRule").is_some_and(Value::is_object);
    if aggregates(new) || old.is_some_and(aggregates) {
        // It can gather anything.
        covered(server, context, target, &everything())
            .map_err(|_| forbidden_because(target, CLUSTER_ADMIN_ONLY))?;
    }
    Ok(())
}

fn check_binding(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    new: &Value,
) -> Result<(), Status> {
    let text = |field: &str| new["roleRef"][field].as_str().unwrap_or_default();
    let (kind, name) = (text("kind"), text("name"));
    let plural = if kind == "Role" {
        "roles"
    } else {
        "clusterroles"
    };
    let mut bind = Attributes::new(&context.user, "bind", target);
    bind.ask.resource = plural;
    bind.ask.name = name;
    if server.decide(&bind).is_allowed() {
        return Ok(());
    }
    let snapshot = server.store().snapshot();
    let granted = rules_of(&snapshot, (kind, name), &target.namespace)
        .ok_or_else(|| Status::not_found(GROUP, plural, name))?;
    covered(server, context, &target.named_by(new), granted.rules())
}

/// Refuses rules that the user does not have himself.
fn covered(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    given: &[PolicyRule],
) -> Result<(), Status> {
    let index = server.0.policies.current(server.store());
    let user = &context.user;
    let (owned, errors) = super::rbac::rules_for(&index, user, &target.namespace);
    let missing = rules::missing(&owned, given);
    if missing.is_empty() {
        return Ok(());
    }
    let mut missing: Vec<String> = missing.iter().map(rules::describe).collect();
    missing.sort();
    missing.dedup();
    let mut why = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        kontiki_api::field_error::go_quote(&user.name),
        rules::quoted(&user.groups),
        missing.join("\n")
    );
    if !errors.is_empty() {
        why += &format!("; resolution errors: [{}]", errors.join(" "));
    }
    Err(forbidden_because(target, &why))
}

fn rules_in(role: &Value) -> Vec<PolicyRule> {
    serde_json::from_value(role["rules"].clone()).unwrap_or_default()
}

fn everything() -> [PolicyRule; 2] {
    let all = || vec![rules::ALL.to_owned()];
    let resources = PolicyRule {
        verbs: all(),
        api_groups: Some(all()),
        resources: Some(all()),
        ..PolicyRule::default()
    };
    let urls = PolicyRule {
        verbs: all(),
        non_resource_urls: Some(all()),
        ..PolicyRule::default()
    };
    [resources, urls]
}

/// Whether nothing but finalizers and owner references differ: the garbage collector needs no rights to finish.
fn changes_only_gc_fields(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut bare = object.clone();
        if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
            ] {
                metadata.remove(field);
            }
        }
        bare
    };
    bare(old) == bare(new)
}
