//! The part of admission that a kind carries itself (`Hooks::admit`, `Hooks::admit_delete`), over the local store.

use std::sync::Arc;

use kontiki_api::admission::{Admission, Denied, Objects, Requester};
use kontiki_base::status::Status;
use kontiki_state::Snapshot;
use serde_json::Value;

use super::Request;
use crate::authz::forbidden_because;
use crate::options::Target;

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

/// Admits a create or an update, before the kind prepares it; 403 when it may not be.
pub(super) fn admit(request: &Request<'_>, new: &mut Value) -> Result<(), Status> {
    let (target, user) = (request.target, &request.context.user);
    let now = request.server.now_text();
    let admission = Admission {
        requester: Requester {
            name: &user.name,
            uid: &user.uid,
            groups: &user.groups,
            extra: Some(&user.extra),
        },
        now: &now,
        subresource: target.subresource,
        objects: &Stored(request.server.store().snapshot()),
    };
    let admitted = target.kind.admit(new, request.old, &admission);
    admitted.map_err(|denied| refused(target, new, &denied))
}

/// Admits a deletion; 403 when it may not be.
pub(super) fn admit_delete(request: &Request<'_>, old: &Value) -> Result<(), Status> {
    let admitted = request.target.kind.admit_delete(old);
    admitted.map_err(|denied| refused(request.target, old, &denied))
}

/// 403 about the object by its name, which a create's URL does not tell.
fn refused(target: &Target, object: &Value, denied: &Denied) -> Status {
    forbidden_because(&target.named_by(object), &denied.0)
}
