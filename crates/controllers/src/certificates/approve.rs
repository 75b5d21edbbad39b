//! Approves nodes' requests for certificates of their own (upstream `pkg/controller/certificates/approver`).

use kontiki_api::kinds::certificate_signing_request::pem;
use kontiki_api::rbac::Ask;

use super::{NODE_CLIENT_SIGNER, Request, add_condition, has, is_issued, rights, sign};
use crate::Error;
use crate::plan::Plan;
use crate::view::View;

/// Approves a request for a node's client certificate whose sender has the right to one: to one in its own name, or to
/// any.
pub(super) fn approve(view: &View<'_>, request: &Request, plan: &mut Plan) -> Result<(), Error> {
    let spec = &request.spec;
    let is_decided = is_issued(request) || has(request, "Approved") || has(request, "Denied");
    if is_decided || spec.signer_name != NODE_CLIENT_SIGNER {
        return Ok(());
    }
    let asked = pem::Request::from_pem(&spec.request.0).map_err(Error::Invalid)?;
    let usages = spec.usages.as_deref().unwrap_or_default();
    if sign::check_node_client(&asked, usages).is_err() {
        return Ok(());
    }
    let user = spec.username.as_deref().unwrap_or_default();
    let groups = spec.groups.as_deref().unwrap_or_default();
    let own = (
        "selfnodeclient",
        "Auto approving self kubelet client certificate after SubjectAccessReview.",
    );
    let any = (
        "nodeclient",
        "Auto approving kubelet client certificate after SubjectAccessReview.",
    );
    let own = Some(own).filter(|_| user == asked.common_name);
    for (subresource, message) in own.into_iter().chain([any]) {
        let ask = Ask {
            verb: "create",
            group: "certificates.k8s.io",
            resource: "certificatesigningrequests",
            subresource,
            ..Ask::default()
        };
        if rights::may(view, user, groups, &ask)? {
            plan.edit_status(&request.object, |value| {
                add_condition(view, value, "Approved", "AutoApproved", message);
            });
            return Ok(());
        }
    }
    Ok(())
}
