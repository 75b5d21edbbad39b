//! A Secret that holds a ServiceAccount's token goes with the account (upstream's token controller). The API server fills
//! it when it is created.

use k8s_openapi::api::core::v1::Secret;
use kontiki_api::kinds::secret::{
    SERVICE_ACCOUNT_NAME, SERVICE_ACCOUNT_TOKEN, SERVICE_ACCOUNT_UID,
};
use kontiki_state::Object;

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey};

/// The controller. Its keys are Secrets.
pub struct ServiceAccountTokens;

impl Controller for ServiceAccountTokens {
    fn name(&self) -> &'static str {
        "tokens-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "secrets",
                map: |_, secret| {
                    let is_token = secret.header.field("type") == Some(SERVICE_ACCOUNT_TOKEN);
                    is_token.then(|| WorkKey::of(secret)).into_iter().collect()
                },
            },
            Watch {
                resource: "serviceaccounts",
                map: tokens_of,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(secret) = view.get::<Secret>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        if secret.object.header.deleting || secret.type_.as_deref() != Some(SERVICE_ACCOUNT_TOKEN) {
            return Ok(plan);
        }
        let annotation = |name: &str| secret.metadata.annotations.as_ref()?.get(name);
        let account = annotation(SERVICE_ACCOUNT_NAME)
            .and_then(|name| view.snapshot.find("serviceaccounts", &key.namespace, name));
        let is_same = account.is_some_and(|account| {
            annotation(SERVICE_ACCOUNT_UID).is_none_or(|uid| *account.header.uid == **uid)
        });
        if !is_same {
            plan.delete(&secret.object);
        }
        Ok(plan)
    }
}

/// The token Secrets of an account's namespace: few, and only when an account changes.
fn tokens_of(view: &View<'_>, account: &Object) -> Vec<WorkKey> {
    let secrets = view
        .snapshot
        .list("secrets", Some(&account.key.namespace), None);
    let tokens =
        secrets.filter(|secret| secret.header.field("type") == Some(SERVICE_ACCOUNT_TOKEN));
    tokens.map(|secret| WorkKey::of(&secret)).collect()
}
