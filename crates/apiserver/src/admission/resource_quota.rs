//! `ResourceQuota`: what a write uses is charged to the quotas of its namespace, in the write's own transaction.
//!
//! ```text
//! quotas as they are ▸ charge (pure) ▸ an update of each quota's status, if it is still at this revision ▸ commit
//!                                                            └ it is not: all again, from what is there now
//! ```
//! So no quota is ever exceeded, whatever comes at once and at whichever replica. What is given back is the quota
//! controller's to count, as upstream. Requests of one replica for one namespace go one after another from here to their
//! commit: otherwise all but one would lose the race, every time.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ResourceQuota;
use kontiki_api::Subresource;
use kontiki_api::quota::{self, Change, Owned};
use kontiki_base::status::Status;
use kontiki_state::{Object, Op, Precondition};
use serde_json::{Value, json};
use std::sync::Arc;

use super::{Effects, Operation, Plugin, Request};
use crate::write::header_of;

pub(crate) const QUOTAS: &str = "resourcequotas";

pub(super) struct ResourceQuotas;

impl Plugin for ResourceQuotas {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, request: &Request<'_>) -> bool {
        let resource = &**request.target.kind.resource();
        let counts = match (request.operation, request.target.subresource) {
            (Operation::Create, None) => !matches!(resource, "events" | "events.events.k8s.io"),
            // Only of these an update may use more.
            (Operation::Update, None) => matches!(resource, "services" | "persistentvolumeclaims"),
            (Operation::Update, Some(Subresource::Resize)) => resource == "pods",
            _ => false,
        };
        counts && request.has_any_in_namespace(QUOTAS)
    }

    fn validate<'a>(
        &'a self,
        request: &'a Request<'a>,
        new: Option<&'a Value>,
        effects: &'a mut Effects,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let Some(new) = new else { return Ok(()) };
            if effects.waits {
                let turn = request.server.0.quota_turns.take(&request.target.namespace);
                effects.turn = Some(turn.await);
            }
            charge(request, new, effects)
        })
    }
}

/// A quota as it will be before this write.
struct Standing {
    object: Arc<Object>,
    value: Value,
    typed: ResourceQuota,
}

fn charge(request: &Request<'_>, new: &Value, effects: &mut Effects) -> Result<(), Status> {
    let snapshot = request.server.store().snapshot();
    let quotas = snapshot.list(QUOTAS, Some(&request.target.namespace), None);
    let quotas = quotas.map(|object| standing(object, effects));
    let quotas: Vec<Standing> = quotas.collect::<Result<_, _>>()?;
    let resource = request.target.kind.resource();
    let new_object = Owned::of(resource, new);
    let old_object = request.old.map(|old| Owned::of(resource, old));
    let change = Change {
        new: new_object.subject(),
        old: old_object.as_ref().map(Owned::subject),
    };
    let typed: Vec<&ResourceQuota> = quotas.iter().map(|quota| &quota.typed).collect();
    let charges = quota::charge(&typed, &change, request.server.now_unix_ms())
        .map_err(|why| request.forbidden(new, &why))?;
    for charge in charges {
        let Standing { object, value, .. } = &quotas[charge.quota_idx];
        let mut value = value.clone();
        for (name, amount) in charge.used {
            value["status"]["used"][name] = json!(amount.to_string());
        }
        let kind = kontiki_api::by_resource(QUOTAS)
            .ok_or_else(|| Status::internal("ResourceQuota is no kind"))?;
        let op = Op::Update {
            key: object.key.clone(),
            pre: Precondition::revision(object.revision),
            header: header_of(kind, &value),
            bytes: kontiki_api::stored::canonical(value),
        };
        effects.ops.retain(|other| other.key() != &object.key);
        effects.ops.push(op);
    }
    Ok(())
}

/// What earlier writes of the same transaction charge is taken into account.
fn standing(object: Arc<Object>, effects: &Effects) -> Result<Standing, Status> {
    let charged = effects.ops.iter().find_map(|op| match op {
        Op::Update { key, bytes, .. } if *key == object.key => Some(bytes),
        _ => None,
    });
    let bytes = charged.unwrap_or(&object.bytes);
    let unreadable = |error| Status::internal(format!("{} is unreadable: {error}", object.key));
    let value: Value = serde_json::from_slice(bytes).map_err(unreadable)?;
    let typed = serde_json::from_value(value.clone()).map_err(unreadable)?;
    Ok(Standing {
        object,
        value,
        typed,
    })
}

/// Turns of the requests of one replica, by namespace.
pub(crate) struct Turns([Arc<tokio::sync::Mutex<()>>; TURNS]);

/// Namespaces share turns by a hash, so that there is nothing to grow.
const TURNS: usize = 256;

/// One's turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(
    #[expect(dead_code, reason = "held, not read")] tokio::sync::OwnedMutexGuard<()>,
);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

impl Turns {
    async fn take(&self, namespace: &str) -> Turn {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        // Below TURNS, hence a usize.
        let idx = (hasher.finish() % TURNS as u64) as usize;
        Turn(Arc::clone(&self.0[idx]).lock_owned().await)
    }
}
