//! IPAddress (upstream `ValidateIPAddress`).

use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::ip;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::names;
use crate::podspec::json::typed;
use crate::podspec::names::required_segment;
use crate::podspec::path::{Errors, Given, Path};
use crate::podspec::scaled::{SPEC, unchanged};
use crate::table;

/// IPAddress.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "ipaddress",
    short_names: &["ip"],
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::text(
            "ParentRef",
            "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent \
             object.",
        ),
    ],
    name_rule: |name, _| ip::strict_messages(name),
    hooks: Hooks {
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<IPAddress>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let parent = |object: &Value| object.pointer("/spec/parentRef").cloned();
    let at = SPEC.child("parentRef");
    let found = parent(new).filter(|found| !found.is_null());
    match &found {
        None => errors.required(at, ""),
        Some(found) => reference(&mut errors, &at, &typed(Some(found))),
    }
    if let Some(old) = old {
        let old = parent(old).unwrap_or_default();
        unchanged(&mut errors, at, &found.unwrap_or_default(), &old);
    }
    errors.0
}

fn reference(errors: &mut Errors, at: &Path<'_>, parent: &ParentReference) {
    let group = parent.group.given();
    if !group.is_empty() {
        errors.invalid_each(at.child("group"), group, names::dns1123_subdomain(group));
    }
    required_segment(errors, at.child("resource"), &parent.resource);
    required_segment(errors, at.child("name"), &parent.name);
    let namespace = parent.namespace.given();
    errors.invalid_each(
        at.child("namespace"),
        namespace,
        names::path_segment(namespace, false),
    );
}

fn row(address: &Value, _: u64) -> Vec<Value> {
    let found = address
        .pointer("/spec/parentRef")
        .filter(|found| !found.is_null());
    let shown = found.map_or_else(
        || "<none>".to_owned(),
        |found| {
            let parent: ParentReference = typed(Some(found));
            let mut shown = match parent.group.given() {
                "" => parent.resource.to_lowercase(),
                group => format!("{}.{group}", parent.resource).to_lowercase(),
            };
            for part in [parent.namespace.given(), &parent.name] {
                if !part.is_empty() {
                    shown.push('/');
                    shown.push_str(part);
                }
            }
            shown
        },
    );
    vec![table::name(address), shown.into()]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use serde_json::json;

    fn address() -> Value {
        json!({"metadata": {"name": "10.96.0.10"}, "spec": {"parentRef": {
            "resource": "services", "namespace": "kube-system", "name": "kube-dns",
        }}})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        check_creates(
            &KIND,
            &address(),
            &[
                (
                    "/metadata/name",
                    json!("10.96.0.010"),
                    "metadata.name: Invalid value: \"10.96.0.010\": must not have leading 0s",
                ),
                (
                    "/metadata/name",
                    json!("2001:DB8::1"),
                    "metadata.name: Invalid value: \"2001:DB8::1\": must be in canonical form (\"2001:db8::1\")",
                ),
                (
                    "/spec/parentRef",
                    Value::Null,
                    "spec.parentRef: Required value",
                ),
                (
                    "/spec/parentRef/resource",
                    json!(""),
                    "spec.parentRef.resource: Required value",
                ),
                (
                    "/spec/parentRef/name",
                    json!("a%b"),
                    "spec.parentRef.name: Invalid value: \"a%b\": may not contain '%'",
                ),
            ],
        );
        check_updates(
            &KIND,
            &address(),
            &[(
                "/spec/parentRef/name",
                json!("other"),
                "spec.parentRef: Invalid value: {\"name\":\"other\",\"namespace\":\"kube-system\",\
                 \"resource\":\"services\"}: field is immutable",
            )],
        );
    }

    #[test]
    fn rows_show_the_parent() {
        let address = created(&KIND, &address());
        assert_eq!(row(&address, 0)[1], "services/kube-system/kube-dns");
    }
}
