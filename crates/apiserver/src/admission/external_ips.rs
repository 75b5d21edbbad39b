//! `DenyServiceExternalIPs`: nobody takes over others' traffic by naming their addresses (CVE-2020-8554).
//!
//! On unless the server is told otherwise (`docs/decisions/2026-11-25-external-ips.md`). Addresses that a Service has
//! already may stay.

use futures::future::BoxFuture;
use kontiki_base::status::Status;
use serde_json::Value;

use super::{Effects, Operation, Plugin, Request};

pub(super) struct DenyServiceExternalIps;

impl Plugin for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        &**request.target.kind.resource() == "services"
            && request.target.subresource.is_none()
            && matches!(request.operation, Operation::Create | Operation::Update)
            && !request.server.options().allow_service_external_ips
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let known = request.old.map_or(&[][..], external_ips);
        let adds = |new: &Value| external_ips(new).iter().any(|ip| !known.contains(ip));
        let judged = match new {
            Some(new) if adds(new) => {
                let why = "Use of external IPs is denied by admission control";
                Err(request.forbidden(new, why))
            }
            _ => Ok(()),
        };
        Box::pin(std::future::ready(judged))
    }
}

fn external_ips(service: &Value) -> &[Value] {
    let ips = service
        .pointer("/spec/externalIPs")
        .and_then(Value::as_array);
    ips.map_or(&[], Vec::as_slice)
}
