//! Rights over resources that this server does not know: what can be read from the URL is enough to ask.

use kontiki_api::rbac::Ask;
use kontiki_base::status::Status;

use crate::authz::Attributes;
use crate::options::Context;
use crate::server::ApiServer;

/// A request for a resource, as its URL tells it (upstream's `RequestInfo`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// The verb.
    pub verb: &'static str,
    /// The group.
    pub group: String,
    /// The resource; empty for a path that is none's.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ApiServer {
    /// Refuses what the user may not do.
    pub async fn authorize_request(
        &self,
        context: &Context,
        info: &RequestInfo,
    ) -> Result<(), Status> {
        let attributes = Attributes {
            user: &context.user,
            namespace: &info.namespace,
            ask: Ask {
                verb: info.verb,
                group: &info.group,
                resource: &info.resource,
                subresource: &info.subresource,
                name: &info.name,
                path: None,
            },
            node_name: None,
        };
        self.require(context, &attributes, None).await
    }
}
