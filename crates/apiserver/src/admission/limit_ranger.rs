//! `LimitRanger`: what the LimitRanges of a namespace give to pods, and ask of pods and claims.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::LimitRange;
use kontiki_api::Subresource;
use kontiki_api::limit_ranger;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use serde_json::Value;

use super::{Effects, Operation, Plugin, Request};

const RANGES: &str = "limitranges";

pub(super) struct LimitRanger;

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        let (operation, subresource) = (request.operation, request.target.subresource);
        let is_bound = match (&**request.target.kind.resource(), subresource) {
            // What a range is about changes later by a resize only.
            ("pods", None) => operation == Operation::Create,
            ("pods", Some(Subresource::Resize)) => operation == Operation::Update,
            ("persistentvolumeclaims", None) => {
                matches!(operation, Operation::Create | Operation::Update)
            }
            _ => false,
        };
        is_bound && request.has_any_in_namespace(RANGES)
    }

    fn mutate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: &'a mut Value,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            if &**request.target.kind.resource() == "pods" {
                for range in request.all_in_namespace::<LimitRange>(RANGES)? {
                    limit_ranger::set_defaults(new, &range);
                }
            }
            Ok(())
        })
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let Some(new) = new.filter(|new| !Meta::of(new).is_deleting()) else {
                return Ok(());
            };
            for range in request.all_in_namespace::<LimitRange>(RANGES)? {
                let checked = match &**request.target.kind.resource() {
                    "pods" => limit_ranger::check_pod(new, &range),
                    _ => limit_ranger::check_claim(new, &range),
                };
                checked.map_err(|why| request.forbidden(new, &why))?;
            }
            Ok(())
        })
    }
}
