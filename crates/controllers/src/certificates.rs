//! CertificateSigningRequests: approves those of nodes for themselves, signs what is approved, removes what is over
//! (upstream's csrapproving, csrsigning and csrcleaner, which are one account and here one controller).
//!
//! What may be signed is decided here; the signature itself is made where the key is (`CertificateSigner`).

mod approve;
mod clean;
mod rights;
mod sign;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kontiki_state::Object;
use serde_json::{Value, json};

pub use self::sign::{Certificate, CertificateSigner};

use crate::plan::Plan;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, itself};

pub(crate) const RESOURCE: &str = "certificatesigningrequests.certificates.k8s.io";

/// The signer of nodes' certificates for the API.
const NODE_CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

type Request = Found<CertificateSigningRequest>;

/// The controller.
pub struct Certificates;

impl Controller for Certificates {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: RESOURCE,
                map: itself,
            },
            // A right that was given may be the one that a request waits for.
            Watch {
                resource: rights::BINDINGS,
                map: undecided,
            },
            Watch {
                resource: rights::ROLES,
                map: undecided,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(request) = view.get::<CertificateSigningRequest>("", &key.name)? else {
            return Ok(plan);
        };
        match clean::due_ms(&request) {
            Some(due_ms) if due_ms <= view.now_ms => {
                plan.delete(&request.object);
                return Ok(plan);
            }
            Some(due_ms) => plan.requeue_after_ms(due_ms - view.now_ms),
            None => {}
        }
        approve::approve(view, &request, &mut plan)?;
        sign::sign(view, &request, &mut plan);
        Ok(plan)
    }
}

fn undecided(view: &View<'_>, _: &Object) -> Vec<WorkKey> {
    let requests = view.snapshot.list(RESOURCE, None, None);
    let undecided = requests.filter(|object| {
        let value = object.value();
        value["spec"]["signerName"] == NODE_CLIENT_SIGNER
            && value["status"]["conditions"]
                .as_array()
                .is_none_or(Vec::is_empty)
    });
    undecided.map(|object| WorkKey::of(&object)).collect()
}

/// When the condition of a type was set, in Unix milliseconds.
fn condition_ms(request: &Request, kind: &str) -> Option<u64> {
    let status = request.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|condition| condition.type_ == kind)?;
    Some(
        condition
            .last_update_time
            .as_ref()
            .map_or(0, crate::view::ms_of),
    )
}

fn has(request: &Request, kind: &str) -> bool {
    condition_ms(request, kind).is_some()
}

fn is_issued(request: &Request) -> bool {
    certificate(request).is_some()
}

/// The certificate in PEM, once there is one.
fn certificate(request: &Request) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    Some(&*certificate.0).filter(|pem: &&[u8]| !pem.is_empty())
}

fn add_condition(view: &View<'_>, value: &mut Value, kind: &str, reason: &str, message: &str) {
    let now = kontiki_api::time::rfc3339(view.now_ms);
    let condition = json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    });
    if !value["status"].is_object() {
        value["status"] = json!({});
    }
    match value["status"]
        .get_mut("conditions")
        .and_then(Value::as_array_mut)
    {
        Some(conditions) => conditions.push(condition),
        None => value["status"]["conditions"] = json!([condition]),
    }
}
