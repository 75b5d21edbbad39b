//! The ConfigMap by which aggregated API servers know whom to believe: the authority of users' certificates, and the one
//! of this server when it passes on a request in a user's name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_state::Object;
use serde_json::json;

use crate::plan::Plan;
use crate::service_account::{lives, namespace_of};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
/// Common name of the certificate that this server shows to extensions.
pub const FRONT_PROXY_NAME: &str = "front-proxy-client";

/// The controller.
pub struct ExtensionAuthentication;

impl Controller for ExtensionAuthentication {
    fn name(&self) -> &'static str {
        "extension-apiserver-authentication-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "namespaces",
                map: itself,
            },
            Watch {
                resource: "configmaps",
                map: if_ours,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let authority = &view.settings.front_proxy_ca_pem;
        if &*key.name != NAMESPACE || authority.is_empty() || !lives(view, NAMESPACE) {
            return Ok(plan);
        }
        let data = BTreeMap::from(
            [
                ("client-ca-file", view.settings.root_ca_pem.clone()),
                ("requestheader-client-ca-file", authority.clone()),
                (
                    "requestheader-allowed-names",
                    json!([FRONT_PROXY_NAME]).to_string(),
                ),
                (
                    "requestheader-username-headers",
                    json!(["X-Remote-User"]).to_string(),
                ),
                (
                    "requestheader-uid-headers",
                    json!(["X-Remote-Uid"]).to_string(),
                ),
                (
                    "requestheader-group-headers",
                    json!(["X-Remote-Group"]).to_string(),
                ),
                (
                    "requestheader-extra-headers-prefix",
                    json!(["X-Remote-Extra-"]).to_string(),
                ),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        match view.get::<ConfigMap>(NAMESPACE, NAME)? {
            Some(map) => plan.edit(&map.object, |value| value["data"] = json!(data)),
            None => plan.create(&ConfigMap {
                metadata: ObjectMeta {
                    name: Some(NAME.into()),
                    namespace: Some(NAMESPACE.into()),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..ConfigMap::default()
            }),
        }
        Ok(plan)
    }
}

fn if_ours(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    if &*object.key.namespace == NAMESPACE && &*object.key.name == NAME {
        namespace_of(view, object)
    } else {
        Vec::new()
    }
}
