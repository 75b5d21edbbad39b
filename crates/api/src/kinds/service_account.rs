//! ServiceAccount (upstream `pkg/registry/core/serviceaccount`).

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::Meta;
use crate::table;

/// ServiceAccount.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource::Token],
    columns: &[
        Column::NAME,
        Column::text(
            "Secrets",
            "Secrets is a list of the secrets in the same namespace that pods running using this \
             ServiceAccount are allowed to use.",
        ),
        Column::AGE,
    ],
    hooks: Hooks {
        prepare_create: keep_secret_names,
        prepare_update: |new, _| keep_secret_names(new),
        warnings,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ServiceAccount>()
});

/// References name secrets of the same namespace, so all but the name goes.
fn keep_secret_names(object: &mut Value) {
    let secrets = object.get_mut("secrets").and_then(Value::as_array_mut);
    for secret in secrets.into_iter().flatten() {
        *secret = match secret.get("name") {
            Some(name) => json!({"name": name}),
            None => json!({}),
        };
    }
}

/// Told once: when the annotation comes.
fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
    let has = |object: &Value| Meta::of(object).annotation(ENFORCE).is_some();
    if !has(new) || old.is_some_and(has) {
        return Vec::new();
    }
    vec![format!(
        "metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted \
         secrets"
    )]
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(object),
        table::count(object, "/secrets").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_secrets_is_out_of_fashion() {
        let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
        let object = json!({"metadata": {"annotations": annotations}});
        assert_eq!(warnings(&object, None).len(), 1);
        assert!(warnings(&object, Some(&object)).is_empty());
        assert!(warnings(&json!({"metadata": {}}), None).is_empty());
    }

    #[test]
    fn secret_references_keep_only_their_name() {
        let mut object = json!({"secrets": [{"name": "a", "namespace": "b"}]});
        KIND.prepare_create(&mut object);
        assert_eq!(object["secrets"], json!([{"name": "a"}]));
    }
}
