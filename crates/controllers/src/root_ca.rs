//! Every namespace has the API's CA in a ConfigMap, for pods that call the API.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kontiki_state::Object;
use serde_json::json;

use crate::plan::Plan;
use crate::service_account::{lives, namespace_of};
use crate::view::View;
use crate::{Controller, Error, Watch, WorkKey, itself};

const NAME: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when \
                           using internal endpoints such as the internal service IP or \
                           kubernetes.default.svc. No other usage is guaranteed across \
                           distributions of Kubernetes clusters.";

/// The controller.
pub struct RootCa;

impl Controller for RootCa {
    fn name(&self) -> &'static str {
        "root-ca-certificate-publisher-controller"
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
        let pem = &view.settings.root_ca_pem;
        if pem.is_empty() || !lives(view, &key.name) {
            return Ok(plan);
        }
        let data = BTreeMap::from([("ca.crt".to_owned(), pem.clone())]);
        match view.get::<ConfigMap>(&key.name, NAME)? {
            Some(map) => plan.edit(&map.object, |value| value["data"] = json!(data)),
            None => plan.create(&ConfigMap {
                metadata: ObjectMeta {
                    name: Some(NAME.into()),
                    namespace: Some(key.name.to_string()),
                    annotations: Some(BTreeMap::from([(
                        "kubernetes.io/description".into(),
                        DESCRIPTION.into(),
                    )])),
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
    if &*object.key.name == NAME {
        namespace_of(view, object)
    } else {
        Vec::new()
    }
}
