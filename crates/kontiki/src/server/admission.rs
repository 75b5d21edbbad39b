//! The API server's admission for what controllers write: which object a planned write is about, in the API's words.

use std::sync::Arc;

use futures::future::BoxFuture;
use kontiki_api::Subresource;
use kontiki_api::meta::Meta;
use kontiki_apiserver::ApiServer;
use kontiki_apiserver::admission::{ControllerWrite, Operation};
use kontiki_controller_manager::Admission;
use kontiki_controllers::Write;
use kontiki_state::{Key, Op};
use serde_json::Value;

/// Admission by this replica's API server.
pub(super) struct ByApiServer(pub(super) ApiServer);

impl Admission for ByApiServer {
    fn handles(&self, controller: &str, write: &Write) -> bool {
        about(&self.0, controller, write).is_some_and(|write| self.0.admits(&write))
    }

    fn admit<'a>(
        &'a self,
        controller: &'a str,
        write: &'a mut Write,
        ops: &'a mut Vec<Op>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let (namespace, name) = named(write);
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            let old = stored(write).and_then(|key| self.0.store().snapshot().get(key));
            let old: Option<Arc<Value>> = old.and_then(|object| object.typed().ok());
            let mut new = object_of(write).map(std::mem::take);
            let admitted = match about(&self.0, controller, write) {
                Some(about) => {
                    let about = ControllerWrite {
                        namespace: &namespace,
                        name: &name,
                        old: old.as_deref(),
                        ..about
                    };
                    self.0.admit_controller(&about, new.as_mut(), ops).await
                }
                None => Ok(()),
            };
            if let (Some(object), Some(new)) = (object_of(write), new) {
                *object = new;
            }
            admitted.map_err(|status| status.message)
        })
    }
}

/// The new object of a write.
fn object_of(write: &mut Write) -> Option<&mut Value> {
    match write {
        Write::Create { object, .. } | Write::Update { object, .. } => Some(object),
        Write::Delete { .. } => None,
    }
}

/// Namespace and name of what is written.
fn named(write: &Write) -> (&str, &str) {
    match write {
        Write::Create { object, .. } => {
            let meta = Meta::of(object);
            (meta.namespace(), meta.name())
        }
        Write::Update { key, .. } | Write::Delete { key, .. } => (&key.namespace, &key.name),
    }
}

/// The object that a write changes.
fn stored(write: &Write) -> Option<&Key> {
    match write {
        Write::Create { .. } => None,
        Write::Update { key, .. } | Write::Delete { key, .. } => Some(key),
    }
}

/// The write in the API's words; none for an unknown resource.
fn about<'a>(
    api: &ApiServer,
    controller: &'a str,
    write: &'a Write,
) -> Option<ControllerWrite<'a>> {
    let (operation, resource, subresource) = match write {
        Write::Create { resource, .. } => (Operation::Create, resource, None),
        Write::Update {
            key, status_only, ..
        } => {
            let subresource = status_only.then_some(Subresource::Status);
            (Operation::Update, &key.resource, subresource)
        }
        Write::Delete { key, .. } => (Operation::Delete, &key.resource, None),
    };
    let (namespace, name) = named(write);
    Some(ControllerWrite {
        controller,
        operation,
        kind: api.kinds().by_resource(resource)?.clone(),
        subresource,
        namespace,
        name,
        old: None,
    })
}
