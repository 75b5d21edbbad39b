//! `PersistentVolumeClaimResize`: a claim grows once it is bound, and if its class lets it.

use futures::future::BoxFuture;
use kontiki_api::kinds::persistent_volume_claim::check_growth;
use kontiki_base::status::Status;
use serde_json::Value;

use super::{Effects, Operation, Plugin, Request};

const CLASSES: &str = "storageclasses.storage.k8s.io";

pub(super) struct ClaimResize;

impl Plugin for ClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Update
            && request.target.subresource.is_none()
            && &**request.target.kind.resource() == "persistentvolumeclaims"
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        _: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let (Some(new), Some(old)) = (new, request.old) else {
            return Box::pin(std::future::ready(Ok(())));
        };
        let class_named = |name: &str| {
            let class = request.server.store().snapshot().find(CLASSES, "", name)?;
            class.typed::<Value>().ok()
        };
        let checked = check_growth(new, old, class_named);
        let judged = checked.map_err(|denied| request.forbidden(new, &denied.0));
        Box::pin(std::future::ready(judged))
    }
}
