//! ServiceAccount (upstream `pkg/registry/core/serviceaccount`).

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
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
    fn secret_references_keep_only_their_name() {
        let mut object = json!({"secrets": [{"name": "a", "namespace": "b"}]});
        KIND.prepare_create(&mut object);
        assert_eq!(object["secrets"], json!([{"name": "a"}]));
    }
}
