//! Get: one object, or a Scale made of it.

use std::sync::Arc;

use kontiki_api::Subresource;
use kontiki_base::status::Status;
use kontiki_state::Object;

use crate::errors::not_found;
use crate::options::{Answer, Context, GetOptions, Target};
use crate::revision::Wanted;
use crate::server::ApiServer;

impl ApiServer {
    /// Reads one object or subresource.
    pub async fn get(
        &self,
        context: &Context,
        target: &Target,
        options: &GetOptions,
    ) -> Result<Answer, Status> {
        self.authorize(context, "get", target).await?;
        if target.kind.is_observed() {
            return Ok(Answer::Object(self.component(target).await?));
        }
        match Wanted::parse(options.resource_version.as_deref())? {
            Wanted::Newest => self.read_barrier(context).await?,
            Wanted::Any => {}
            Wanted::AtLeast(revision) => self.wait_revision(revision).await?,
        }
        let object = self.find(target).or_else(|| self.node_lease(target));
        let object = object.ok_or_else(|| not_found(target))?;
        match target.subresource {
            Some(Subresource::Scale) => Ok(Answer::Rendered(
                self.scale_of(&target.kind, &object).await?,
            )),
            _ => {
                let object = self.shown(&target.kind, object).await?;
                Ok(Answer::Object(self.with_heartbeat(object)))
            }
        }
    }

    /// The object as this replica knows it.
    pub(crate) fn find(&self, target: &Target) -> Option<Arc<Object>> {
        let resource = target.kind.resource();
        self.store()
            .snapshot()
            .find(resource, &target.namespace, &target.name)
    }
}
