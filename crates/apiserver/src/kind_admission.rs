//! Admission of one request: what kinds carry of it (`Hooks::admit`), over the objects of the local store.

use std::sync::Arc;

use kontiki_api::admission::{Admission, Denied, Objects, Requester};
use kontiki_base::status::Status;
use kontiki_state::Snapshot;
use serde_json::Value;

use crate::authz::forbidden_because;
use crate::options::{Context, Target};
use crate::server::ApiServer;

struct Stored(Snapshot);

impl Objects for Stored {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let object = self.0.find(resource, namespace, name)?;
        object.typed::<Value>().ok()
    }

    fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        let objects = self.0.list(resource, None, None);
        objects
            .filter_map(|object| object.typed::<Value>().ok())
            .collect()
    }
}

impl ApiServer {
    /// Admits a create or an update, before the kind prepares it; 403 when it may not be.
    pub(crate) fn admit(
        &self,
        context: &Context,
        target: &Target,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let now = self.now_text();
        let admission = Admission {
            requester: Requester {
                name: &context.user.name,
                uid: &context.user.uid,
                groups: &context.user.groups,
            },
            now: &now,
            subresource: target.subresource,
            objects: &Stored(self.store().snapshot()),
        };
        let admitted = target.kind.admit(new, old, &admission);
        admitted.map_err(|denied| refused(target, new, &denied))
    }

    /// Admits a deletion; 403 when it may not be.
    pub(crate) fn admit_delete(&self, target: &Target, old: &Value) -> Result<(), Status> {
        let admitted = target.kind.admit_delete(old);
        admitted.map_err(|denied| refused(target, old, &denied))
    }
}

/// 403 about the object by its name, which a create's URL does not tell.
fn refused(target: &Target, object: &Value, denied: &Denied) -> Status {
    let meta = kontiki_api::meta::Meta::of(object);
    let named = Target {
        name: meta.name().to_owned(),
        ..target.clone()
    };
    forbidden_because(&named, &denied.0)
}
