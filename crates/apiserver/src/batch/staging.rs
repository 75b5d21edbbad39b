//! A verb that proposes into a list: what it would write, and its answer up to the revision.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kontiki_api::meta::metadata_mut;
use kontiki_base::status::Status;
use kontiki_consensus::{Lane, ProposeError, ReadError};
use kontiki_state::{Object, Op, OpResult, Proposal, Revision, Store};
use parking_lot::Mutex;

use super::{Operation, Outcome};
use crate::admission::resource_quota::QUOTAS;
use crate::backend::Backend;
use crate::options::{Answer, Context, Written};
use crate::server::ApiServer;

/// The revision of what is not written yet. No store gets there.
const PENDING: Revision = Revision::MAX;

/// What one operation comes to.
pub(super) struct Staged {
    /// Its part of the transaction, the object itself first; none when nothing changes.
    pub(super) ops: Vec<Op>,
    written: Written,
    lane: Option<Lane>,
}

impl Staged {
    /// What it and those before it charge to quotas, to go on from.
    pub(super) fn take_charges(&mut self) -> Vec<Op> {
        let is_charge = |op: &Op| matches!(op, Op::Update { key, .. } if &*key.resource == QUOTAS);
        // The first is the operation's own, even if it is about a quota.
        let further = self.ops.split_off(self.ops.len().min(1));
        let (charges, kept) = further.into_iter().partition(is_charge);
        self.ops.extend::<Vec<Op>>(kept);
        charges
    }
}

/// Notes proposals, which then look as if they were committed.
struct Staging {
    behind: ApiServer,
    noted: Arc<Mutex<(Vec<Op>, Option<Lane>)>>,
}

impl Backend for Staging {
    fn propose(
        &self,
        proposal: Proposal,
        lane: Lane,
    ) -> BoxFuture<'_, Result<Vec<OpResult>, ProposeError>> {
        let done = OpResult::Done {
            revision: PENDING,
            object: None,
        };
        let results = vec![done; proposal.ops.len()];
        *self.noted.lock() = (proposal.ops, Some(lane));
        Box::pin(async move { Ok(results) })
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.behind.backend().read_barrier()
    }

    fn wait_revision(
        &self,
        revision: Revision,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<(), ReadError>> {
        self.behind.backend().wait_revision(revision, timeout)
    }

    fn store(&self) -> &Store {
        self.behind.store()
    }
}

impl ApiServer {
    /// Runs one operation's verb without committing anything.
    pub(super) async fn stage(
        &self,
        context: &Context,
        operation: Operation,
        charged: Vec<Op>,
    ) -> Result<Staged, Status> {
        let noted = Arc::new(Mutex::new((Vec::new(), None)));
        let staging = Staging {
            behind: self.clone(),
            noted: Arc::clone(&noted),
        };
        let server = self.over(staging, charged);
        // A dry run too goes all the way to what would be proposed: the transaction is judged as a whole.
        let written = match operation {
            Operation::Create {
                target,
                body,
                mut options,
            } => {
                options.dry_run = false;
                server.create(context, &target, body, &options).await
            }
            Operation::Update {
                target,
                body,
                mut options,
            } => {
                options.dry_run = false;
                server.update(context, &target, body, &options).await
            }
            Operation::Delete {
                target,
                mut options,
            } => {
                options.dry_run = false;
                server.delete(context, &target, &options).await
            }
        }?;
        let (ops, lane) = std::mem::take(&mut *noted.lock());
        Ok(Staged { ops, written, lane })
    }
}

/// The lane of the whole: events wait longest, so they alone go there.
pub(super) fn lane(staged: &[Staged]) -> Lane {
    let mut lanes = staged.iter().filter_map(|one| one.lane);
    lanes
        .find(|lane| *lane != Lane::Events)
        .unwrap_or(Lane::Events)
}

/// The answers, now that revisions are known. No results: they are not, for it is a dry run.
pub(super) fn finish(
    staged: Vec<Staged>,
    ops: &[Op],
    origins: &[usize],
    results: &[OpResult],
) -> Vec<Outcome> {
    let finish = |(idx, mut one): (usize, Staged)| {
        let own = origins.iter().position(|origin| *origin == idx);
        let revision = match own.and_then(|at| results.get(at)) {
            Some(OpResult::Done { revision, .. }) => Some(*revision),
            _ => None,
        };
        one.written.object = match revision {
            Some(revision) => at(one.written.object, revision),
            None => unwritten(one.written.object, own.map(|at| &ops[at])),
        };
        Outcome::Done(one.written)
    };
    staged.into_iter().enumerate().map(finish).collect()
}

/// An answer at the revision that was pending.
fn at(answer: Answer, revision: Revision) -> Answer {
    match answer {
        Answer::Object(object) if object.revision == PENDING => {
            let created = object.created;
            let created = if created == PENDING {
                revision
            } else {
                created
            };
            let (key, header) = (object.key.clone(), object.header.clone());
            Answer::Object(Arc::new(Object::new(
                key,
                revision,
                created,
                header,
                object.bytes.clone(),
            )))
        }
        Answer::Rendered(mut tree) => {
            let pending = PENDING.to_string();
            if tree["metadata"]["resourceVersion"] == *pending {
                tree["metadata"]["resourceVersion"] = revision.to_string().into();
            }
            Answer::Rendered(tree)
        }
        answer => answer,
    }
}

/// The answer of a dry run: a new object has no revision, a changed one the one that it has.
fn unwritten(answer: Answer, op: Option<&Op>) -> Answer {
    let stands = match op {
        Some(Op::Update { pre, .. } | Op::Delete { pre, .. }) => pre.revision,
        _ => None,
    };
    match (answer, stands) {
        (answer, Some(revision)) => at(answer, revision),
        (Answer::Object(object), None) if object.revision == PENDING => {
            let mut tree = object.value();
            metadata_mut(&mut tree).remove("resourceVersion");
            Answer::Rendered(tree)
        }
        (answer, None) => answer,
    }
}
