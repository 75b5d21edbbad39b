//! RoleBinding (upstream `pkg/registry/rbac/rolebinding`, `ValidateRoleBinding`). What ClusterRoleBinding shares is
//! here: defaults, rules of subjects and of the reference, cells.

use k8s_openapi::api::rbac::v1::RoleBinding;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{names, object_mut};
use crate::rbac::GROUP;
use crate::table;

const ROLE: &str = "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If \
                    the RoleRef cannot be resolved, the Authorizer must return an error. This field is immutable.";

/// RoleBinding.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "rolebinding",
    columns: &[
        Column::NAME,
        Column::text("Role", ROLE),
        Column::AGE,
        Column::text("Users", "Users in the roleBinding").wide(),
        Column::text("Groups", "Groups in the roleBinding").wide(),
        Column::text("ServiceAccounts", "ServiceAccounts in the roleBinding").wide(),
    ],
    name_rule: names::path_segment,
    create_on_update: true,
    hooks: Hooks {
        default,
        validate: |new, old| validate(new, old, true),
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<RoleBinding>()
});

/// Groups of the API that go without saying.
pub(super) fn default(binding: &mut Value) {
    let set_group = |reference: &mut Value| {
        if text(reference, "apiGroup").is_empty() {
            object_mut(reference).insert("apiGroup".to_owned(), GROUP.into());
        }
    };
    if let Some(reference) = binding.get_mut("roleRef").filter(|it| it.is_object()) {
        set_group(reference);
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if matches!(text(subject, "kind"), "User" | "Group") {
            set_group(subject);
        }
    }
}

/// The errors of a binding, in a namespace or of the cluster.
pub(super) fn validate(new: &Value, old: Option<&Value>, namespaced: bool) -> Vec<FieldError> {
    let reference = &new["roleRef"];
    let mut errors = validate_reference(reference, namespaced);
    let subjects = new.get("subjects").and_then(Value::as_array);
    for (idx, subject) in subjects.into_iter().flatten().enumerate() {
        errors.extend(validate_subject(
            subject,
            namespaced,
            &format!("subjects[{idx}]"),
        ));
    }
    if old.is_some_and(|old| old["roleRef"] != *reference) {
        let detail = "cannot change roleRef";
        errors.push(FieldError::invalid("roleRef", reference, detail));
    }
    errors
}

fn validate_reference(reference: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (group, kind) = (text(reference, "apiGroup"), text(reference, "kind"));
    if group != GROUP {
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            group,
            &[GROUP],
        ));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported("roleRef.kind", kind, kinds));
    }
    match text(reference, "name") {
        "" => errors.push(FieldError::required("roleRef.name", "")),
        name => errors.extend(FieldError::invalid_each(
            "roleRef.name",
            name,
            names::path_segment(name, false),
        )),
    }
    errors
}

fn validate_subject(subject: &Value, namespaced: bool, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
    let at = |field: &str| format!("{path}.{field}");
    if name.is_empty() {
        errors.push(FieldError::required(at("name"), ""));
    }
    let wanted = match text(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                let messages = names::subdomain(name, false);
                errors.extend(FieldError::invalid_each(&at("name"), name, messages));
            }
            if !namespaced && text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(at("namespace"), ""));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(at("kind"), other, &kinds));
            return errors;
        }
    };
    if group != wanted {
        errors.push(FieldError::not_supported(at("apiGroup"), group, &[wanted]));
    }
    errors
}

/// Cells of both kinds of bindings.
pub(super) fn row(binding: &Value, now_unix_ms: u64) -> Vec<Value> {
    let reference = &binding["roleRef"];
    let role = format!("{}/{}", text(reference, "kind"), text(reference, "name"));
    let subjects = binding.get("subjects").and_then(Value::as_array);
    let of_kind = |kind: &str| -> Value {
        let subjects = subjects.into_iter().flatten();
        let named = subjects.filter(|subject| text(subject, "kind") == kind);
        let names: Vec<String> = named
            .map(|subject| match kind {
                "ServiceAccount" => {
                    format!("{}/{}", text(subject, "namespace"), text(subject, "name"))
                }
                _ => text(subject, "name").to_owned(),
            })
            .collect();
        names.join(", ").into()
    };
    vec![
        table::name(binding),
        role.into(),
        table::age(binding, now_unix_ms),
        of_kind("User"),
        of_kind("Group"),
        of_kind("ServiceAccount"),
    ]
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(binding: &Value, old: Option<&Value>, namespaced: bool) -> Vec<String> {
        let errors = validate(binding, old, namespaced);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn groups_are_filled_in() {
        let mut binding = json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]});
        default(&mut binding);
        assert_eq!(binding["roleRef"]["apiGroup"], GROUP);
        assert_eq!(binding["subjects"][0]["apiGroup"], GROUP);
        assert!(binding["subjects"][1].get("apiGroup").is_none());
        assert!(errors(&binding, None, true).is_empty());
        let cells = row(&binding, 0);
        assert_eq!(
            (&cells[1], &cells[3], &cells[5]),
            (&json!("Role/r"), &json!("u"), &json!("/s"))
        );
    }

    #[test]
    fn subjects_and_references_have_rules_and_references_stay() {
        let binding = json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "a/b"}, "subjects": [
            {"kind": "ServiceAccount", "name": "S", "apiGroup": GROUP}, {"kind": "Robot"},
            {"kind": "Group", "name": "g"}]});
        let found = errors(&binding, None, false);
        assert_eq!(
            found[..2],
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
            ]
        );
        assert!(found[2].starts_with("subjects[0].name: Invalid value: \"S\": a lowercase"));
        assert_eq!(
            found[3..],
            [
                "subjects[0].namespace: Required value",
                "subjects[0].apiGroup: Unsupported value: \"rbac.authorization.k8s.io\": supported values: \"\"",
                "subjects[1].name: Required value",
                "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \
                 \"Group\"",
                "subjects[2].apiGroup: Unsupported value: \"\": supported values: \"rbac.authorization.k8s.io\"",
            ]
        );
        let old = json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "b"}});
        let new = json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "c"}});
        assert!(errors(&new, Some(&old), true)[0].ends_with("cannot change roleRef"));
    }
}
