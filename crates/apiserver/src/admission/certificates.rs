//! CertificateApproval and CertificateSigning (upstream `plugin/pkg/admission/certificates`): who may change a request in
//! general still needs the right to approve, or to sign, for the signer that the request names.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kontiki_api::Subresource;
use kontiki_api::rbac::Ask;
use kontiki_base::status::Status;
use serde_json::Value;

use super::{Effects, Operation, Plugin, Request};
use crate::authz::Attributes;

const GROUP: &str = "certificates.k8s.io";

/// Approvals and denials.
pub(super) struct Approval;
/// Certificates and failures.
pub(super) struct Signing;

impl Plugin for Approval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        is_update_of(request, Subresource::Approval)
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        _: Option<&'a Value>,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let judged = match request.old {
            Some(old) => require(request, old, "approve"),
            None => Ok(()),
        };
        std::future::ready(judged).boxed()
    }
}

impl Plugin for Signing {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        is_update_of(request, Subresource::Status)
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let judged = match (request.old, new) {
            (Some(old), Some(new)) if differ(old, new) => require(request, old, "sign"),
            _ => Ok(()),
        };
        std::future::ready(judged).boxed()
    }
}

fn is_update_of(request: &Request<'_>, subresource: Subresource) -> bool {
    request.operation == Operation::Update
        && request.target.subresource == Some(subresource)
        && request.is_about(GROUP, "certificatesigningrequests")
}

fn differ(old: &Value, new: &Value) -> bool {
    ["certificate", "conditions"]
        .iter()
        .any(|field| old["status"].get(field) != new["status"].get(field))
}

/// The right to the signer itself, or to all of its domain.
fn require(request: &Request<'_>, old: &Value, verb: &str) -> Result<(), Status> {
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    let domain = signer.split('/').next().unwrap_or_default();
    let may = |name: &str| {
        let attributes = Attributes {
            user: &request.context.user,
            namespace: "",
            ask: Ask {
                verb,
                group: GROUP,
                resource: "signers",
                name,
                ..Ask::default()
            },
            node_name: None,
        };
        request.server.decide(&attributes).is_allowed()
    };
    if may(signer) || may(&format!("{domain}/*")) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(request.forbidden(old, &why))
}
