//! The parameters of a policy under a binding: objects of the policy's `paramKind` that the binding names or selects.

use std::sync::Arc;

use kontiki_api::selector::LabelSelector;
use kontiki_state::Object;
use serde_json::Value;

use super::super::{Request, matching};
use super::binding::Binding;
use super::policy::Policy;

/// Parameters of one evaluation each; one evaluation without any where none are asked for.
pub(super) async fn collect(
    policy: &Policy,
    binding: &Binding,
    request: &Request<'_>,
) -> Result<Vec<Option<Arc<Value>>>, String> {
    let (Some((api_version, kind)), false) = (&policy.param_kind, binding.param_ref.is_null())
    else {
        return Ok(vec![None]);
    };
    let reference = &binding.param_ref;
    let served = request.server.kinds();
    let known = served.by_gvk(api_version, kind);
    let known =
        known.ok_or_else(|| format!("paramKind kind `{api_version}, Kind={kind}` not known"))?;
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let namespace = match (known.namespaced(), text("namespace")) {
        (false, "") => "",
        (false, _) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                    .to_owned(),
            );
        }
        (true, "") => matching::namespace_of(request, None),
        (true, namespace) => namespace,
    };
    if known.namespaced() && namespace.is_empty() {
        return Err(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                .to_owned(),
        );
    }
    let snapshot = request.server.store().snapshot();
    let found: Vec<Arc<Object>> = match (text("name"), &reference["selector"]) {
        ("", Value::Null) => return Err("one of name or selector must be provided".to_owned()),
        ("", selector) => {
            let selector = LabelSelector::from_value(selector).map_err(|why| why.to_string())?;
            let all = snapshot.list(known.resource(), Some(namespace), None);
            all.filter(|object| selector.matches(&object.header.labels))
                .collect()
        }
        (name, _) => snapshot
            .find(known.resource(), namespace, name)
            .into_iter()
            .collect(),
    };
    if found.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
        );
    }
    let mut params = Vec::with_capacity(found.len());
    for object in found {
        // In the version that the policy names, by way of a webhook if need be.
        let shown = request.server.shown(known, object).await;
        let shown = shown.map_err(|why| why.message)?;
        params.push(Some(Arc::new(shown.value())));
    }
    Ok(params)
}
