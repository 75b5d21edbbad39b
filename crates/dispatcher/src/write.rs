//! From a changed JSON tree to an operation on the store, and proposals that outlast an election.

use std::sync::Arc;
use std::time::Duration;

use kontiki_api::managed_fields::Writer;
use kontiki_api::{Kind, Subresource, stored};
use kontiki_base::backoff::Backoff;
use kontiki_base::random::Random;
use kontiki_consensus::{Lane, ProposeError};
use kontiki_state::{Header, Key, Object, Op, OpResult, Precondition, Proposal};
use serde_json::Value;

use crate::dispatcher::Inner;

/// Field manager of all that agents have written.
const FIELD_MANAGER: &str = "kubelet";

/// Who writes an object of that kind for an agent, at a time as objects spell it.
pub(crate) fn writer<'a>(kind: &'static Kind, now: &'a str) -> Writer<'a> {
    Writer::new(kind, FIELD_MANAGER, now)
}

/// Who writes its status.
pub(crate) fn status_writer<'a>(kind: &'static Kind, now: &'a str) -> Writer<'a> {
    writer(kind, now).to(Some(Subresource::Status))
}

/// A kind that this crate relies on.
pub(crate) fn kind(resource: &str) -> &'static Kind {
    kontiki_api::by_resource(resource).expect("the core kinds are served")
}

/// Creates an object.
pub(crate) fn create(kind: &Kind, namespace: &str, name: &str, value: Value) -> Op {
    let key = Key::new(Arc::clone(kind.resource()), namespace, name);
    let header = header(kind, &value);
    Op::Create {
        key,
        header,
        bytes: stored::canonical(value),
    }
}

/// Replaces the very revision that `old` is.
pub(crate) fn update(kind: &Kind, old: &Object, value: Value) -> Op {
    let uid = Some(Arc::clone(&old.header.uid));
    let pre = Precondition {
        uid,
        revision: Some(old.revision),
    };
    let header = header(kind, &value);
    Op::Update {
        key: old.key.clone(),
        pre,
        header,
        bytes: stored::canonical(value),
    }
}

fn header(kind: &Kind, value: &Value) -> Header {
    let parts = stored::header_of(kind, value);
    let pair = |(name, value): (String, String)| (Arc::from(name), Arc::from(value));
    Header {
        uid: Arc::from(parts.uid),
        labels: parts.labels.into_iter().map(pair).collect(),
        fields: parts.fields.into_iter().map(pair).collect(),
        owners: parts.owners.into_iter().map(Arc::from).collect(),
        deleting: parts.deleting,
    }
}

/// A random version 4 uuid.
pub(crate) fn new_uid(random: &dyn Random) -> String {
    let bits = (u128::from(random.bits()) << 64) | u128::from(random.bits());
    uuid::Builder::from_random_bytes(bits.to_be_bytes())
        .into_uuid()
        .to_string()
}

/// The pause between attempts of what must get through.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
}

impl Inner {
    /// Proposes until there is an answer. None: never will be (too large, stopping).
    pub(crate) async fn propose(&self, ops: Vec<Op>, lane: Lane) -> Option<Vec<OpResult>> {
        let mut backoff = backoff();
        let mut proposal = Proposal::batch(ops);
        proposal.id = self.options.random.bits();
        loop {
            match self.backend.propose(proposal.clone(), lane).await {
                Ok(results) => return Some(results),
                Err(error @ ProposeError::TooLarge) => {
                    tracing::error!(%error, n_ops = proposal.ops.len(), "a node's write is lost");
                    return None;
                }
                Err(ProposeError::Stopping) => return None,
                // Unknown too: preconditions and uids make a second attempt harmless.
                Err(error) => {
                    tracing::debug!(%error, "proposing again");
                    let pause = backoff.next_delay(&*self.options.random);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}
