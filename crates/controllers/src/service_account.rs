//! Every namespace has a ServiceAccount named `default`.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_state::Object;

use crate::plan::Plan;
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

/// The controller.
pub struct ServiceAccountController;

impl Controller for ServiceAccountController {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "namespaces",
                map: itself,
            },
            Watch {
                resource: "serviceaccounts",
                map: namespace_of,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let alive = lives(view, &key.name);
        if alive
            && view
                .snapshot
                .find("serviceaccounts", &key.name, "default")
                .is_none()
        {
            plan.create(&ServiceAccount {
                metadata: ObjectMeta {
                    name: Some("default".into()),
                    namespace: Some(key.name.to_string()),
                    ..ObjectMeta::default()
                },
                ..ServiceAccount::default()
            });
        }
        Ok(plan)
    }
}

/// Whether a namespace exists and is not being deleted.
pub fn lives(view: &View<'_>, namespace: &str) -> bool {
    view.snapshot
        .find("namespaces", "", namespace)
        .is_some_and(|found| !found.header.deleting)
}

/// Maps an object to its namespace.
pub fn namespace_of(_: &View<'_>, object: &Object) -> Vec<WorkKey> {
    vec![WorkKey::new("", object.key.namespace.clone())]
}
