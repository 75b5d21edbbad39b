//! Several writes as one transaction: all of them happen, or none.
//!
//! ```text
//! each operation ▸ its verb, over a store that only notes what is proposed ─┐ a failure there is the batch's
//!                                                                          ▼
//!                               one transaction ▸ done: revisions fill in the answers
//!                                               ▸ lost a race: all verbs again, from what is there now
//! ```
//! The verbs themselves run, so authorization, admission, defaults, validation and addresses are theirs. They see the
//! state before the batch: two operations on one object are refused, and only a namespace that the batch makes may be
//! used by it.
//!
//! Deliberately absent: batches without that promise, which the faces make of single writes.

mod staging;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use kontiki_api::meta::Meta;
use kontiki_base::limits;
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Key, Op, OpResult, Proposal};

use crate::body::Body;
use crate::errors::{
    MODIFIED, already_exists, conflict, first_failure, namespace_not_found, namespace_terminating,
};
use crate::options::{Context, DeleteOptions, Target, WriteOptions, Written};
use crate::server::ApiServer;
use staging::Staged;

/// One write of a batch.
#[derive(Clone)]
pub enum Operation {
    /// As `ApiServer::create`.
    Create {
        /// The collection, or the subresource that acts.
        target: Target,
        /// The object.
        body: Body,
        /// Its options.
        options: WriteOptions,
    },
    /// As `ApiServer::update`.
    Update {
        /// The object, or a part of it.
        target: Target,
        /// What it shall be.
        body: Body,
        /// Its options.
        options: WriteOptions,
    },
    /// As `ApiServer::delete`.
    Delete {
        /// The object.
        target: Target,
        /// Its options.
        options: DeleteOptions,
    },
}

/// What became of one operation of a transaction.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It happened, as did all others.
    Done(Written),
    /// It cannot happen, hence none did.
    Failed(Status),
    /// It did not happen, since another one could not.
    Aborted,
}

/// How an attempt ended.
enum Attempt {
    Done(Vec<Outcome>),
    /// The operation cannot happen.
    Failed(usize, Status),
    /// The operation lost a race; its error if it goes on losing.
    Lost(usize, Status),
}

impl ApiServer {
    /// Carries out all operations or none; an error concerns the batch as a whole.
    pub async fn transact(
        &self,
        context: &Context,
        operations: Vec<Operation>,
    ) -> Result<Vec<Outcome>, Status> {
        let dry_run = check(&operations)?;
        let contexts: Vec<Context> = operations.iter().map(|_| part(context)).collect();
        let outcomes = self
            .contend(context, &contexts, &operations, dry_run)
            .await?;
        for (context, outcome) in contexts.iter().zip(&outcomes) {
            context.audit.complete_with(match outcome {
                Outcome::Done(written) => {
                    context.audit.answers(|| written.object.json());
                    Ok(200)
                }
                Outcome::Failed(status) => Err(status),
                Outcome::Aborted => Err(&*ABORTED),
            });
        }
        Ok(outcomes)
    }

    async fn contend(
        &self,
        context: &Context,
        contexts: &[Context],
        operations: &[Operation],
        dry_run: bool,
    ) -> Result<Vec<Outcome>, Status> {
        let mut lost = None;
        for _ in 0..limits::UPDATE_RETRIES {
            if lost.is_some() {
                self.read_barrier(context).await?;
            }
            match self.attempt(context, contexts, operations, dry_run).await? {
                Attempt::Done(outcomes) => return Ok(outcomes),
                Attempt::Failed(idx, status) => return Ok(failed(operations.len(), idx, status)),
                Attempt::Lost(idx, status) => lost = Some((idx, status)),
            }
        }
        let (idx, status) = lost.ok_or_else(|| Status::internal("a batch without an outcome"))?;
        Ok(failed(operations.len(), idx, status))
    }

    async fn attempt(
        &self,
        context: &Context,
        contexts: &[Context],
        operations: &[Operation],
        dry_run: bool,
    ) -> Result<Attempt, Status> {
        let mut staged = Vec::with_capacity(operations.len());
        let mut charges = Vec::new();
        for (idx, operation) in operations.iter().enumerate() {
            let charged = charges.clone();
            match self.stage(&contexts[idx], operation.clone(), charged).await {
                Ok(mut one) => {
                    let all = one.take_charges();
                    if !all.is_empty() {
                        charges = all;
                    }
                    staged.push(one);
                }
                Err(status) => return Ok(Attempt::Failed(idx, status)),
            }
            // A thousand validations are no single turn of the executor.
            tokio::task::yield_now().await;
        }
        // Charged once, for all of them.
        if let Some(last) = staged.last_mut() {
            last.ops.append(&mut charges);
        }
        if let Some((first, second, key)) = repeated(&staged) {
            let why = format!(
                "{} is taken by operations[{first}] of the same batch",
                key.name
            );
            let (kind, name) = named(operations, &staged, second);
            return Ok(Attempt::Lost(second, conflict(kind, &name, &why)));
        }
        let (ops, origins) = joined(&staged);
        let proposal = Proposal::transaction(ops);
        if let Err(error) = proposal.admissible() {
            let message = format!("operations: {error}");
            return Err(Status::new(Reason::RequestEntityTooLarge, message));
        }
        let ops = proposal.ops;
        let results = if dry_run {
            let refusal = self.store().snapshot().refusal(&ops);
            refusal.map_or_else(Vec::new, |(idx, result)| {
                let mut results = vec![OpResult::Aborted; ops.len()];
                results[idx] = result;
                results
            })
        } else if ops.is_empty() {
            Vec::new()
        } else {
            self.propose(context, ops.clone(), staging::lane(&staged))
                .await?
        };
        if let Some((at, result)) = first_failure(&results) {
            return Ok(refused(operations, &staged, &ops[at], origins[at], result));
        }
        Ok(Attempt::Done(staging::finish(
            staged, &ops, &origins, &results,
        )))
    }
}

/// What the audit log says of writes that another one kept from happening.
static ABORTED: LazyLock<Status> = LazyLock::new(|| {
    let message = "another operation of the batch failed, hence nothing of it was written";
    Status::new(Reason::Conflict, message)
});

/// The context of one write, which has a record of its own.
fn part(context: &Context) -> Context {
    Context {
        audit: context.audit.part(),
        ..context.clone()
    }
}

/// What is wrong with the batch whatever the state; whether it is a dry run.
fn check(operations: &[Operation]) -> Result<bool, Status> {
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    for (idx, operation) in operations.iter().enumerate() {
        let Some(key) = operation.key() else { continue };
        if let Some(first) = seen.insert(key.clone(), idx) {
            let message = format!(
                "operations[{idx}]: {key} is written by operations[{first}] already; a batch that is atomic \
                 writes an object once"
            );
            return Err(Status::bad_request(message));
        }
    }
    let dry_run = operations.first().is_some_and(Operation::dry_run);
    let odd = operations
        .iter()
        .position(|operation| operation.dry_run() != dry_run);
    if let Some(idx) = odd {
        let message = format!(
            "operations[{idx}].options.validate_only: must be the same for all operations of a batch that is atomic"
        );
        return Err(Status::bad_request(message));
    }
    Ok(dry_run)
}

fn failed(n_operations: usize, idx: usize, status: Status) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Aborted; n_operations];
    outcomes[idx] = Outcome::Failed(status);
    outcomes
}

/// All that is proposed, and the operation that each is part of. What a namespace has to be need not be asked twice,
/// nor of one that this very transaction makes.
fn joined(staged: &[Staged]) -> (Vec<Op>, Vec<usize>) {
    let all = || {
        staged
            .iter()
            .enumerate()
            .flat_map(|(idx, one)| one.ops.iter().map(move |op| (op, idx)))
    };
    let creates = |op: &Op| matches!(op, Op::Create { .. });
    let mut known: BTreeSet<&Key> = all()
        .filter(|(op, _)| creates(op))
        .map(|(op, _)| op.key())
        .collect();
    let mut ops = Vec::new();
    let mut origins = Vec::new();
    for (op, idx) in all() {
        if op.writes() || known.insert(op.key()) {
            ops.push(op.clone());
            origins.push(idx);
        }
    }
    (ops, origins)
}

/// Two operations that write one key: addresses, or names that came out alike.
fn repeated(staged: &[Staged]) -> Option<(usize, usize, Key)> {
    let mut writers: BTreeMap<&Key, usize> = BTreeMap::new();
    for (idx, one) in staged.iter().enumerate() {
        for op in one.ops.iter().filter(|op| op.writes()) {
            if let Some(first) = writers.insert(op.key(), idx) {
                return Some((first, idx, op.key().clone()));
            }
        }
    }
    None
}

fn named<'a>(
    operations: &'a [Operation],
    staged: &[Staged],
    idx: usize,
) -> (&'a kontiki_api::Kind, String) {
    let kind = &operations[idx].target().kind;
    let name = staged[idx].ops.first().map_or("", |op| &*op.key().name);
    (kind, name.to_owned())
}

/// What the refusal of one operation of the transaction means.
fn refused(
    operations: &[Operation],
    staged: &[Staged],
    op: &Op,
    idx: usize,
    result: &OpResult,
) -> Attempt {
    let (kind, name) = named(operations, staged, idx);
    let target = operations[idx].target();
    let is_own = staged[idx]
        .ops
        .first()
        .is_some_and(|first| first.key() == op.key());
    match (op, result) {
        (Op::Check { key, .. }, OpResult::NotFound) => {
            Attempt::Failed(idx, namespace_not_found(&key.name))
        }
        (Op::Check { key, .. }, OpResult::Deleting) => {
            Attempt::Failed(idx, namespace_terminating(target, &key.name))
        }
        (Op::Create { .. }, OpResult::AlreadyExists { .. }) if is_own => {
            let status = already_exists(kind, &name);
            if operations[idx].generates_name() {
                Attempt::Lost(idx, status)
            } else {
                Attempt::Failed(idx, status)
            }
        }
        _ => Attempt::Lost(idx, conflict(kind, &name, MODIFIED)),
    }
}

impl Operation {
    fn target(&self) -> &Target {
        match self {
            Self::Create { target, .. }
            | Self::Update { target, .. }
            | Self::Delete { target, .. } => target,
        }
    }

    fn dry_run(&self) -> bool {
        match self {
            Self::Create { options, .. } | Self::Update { options, .. } => options.dry_run,
            Self::Delete { options, .. } => options.dry_run,
        }
    }

    fn generates_name(&self) -> bool {
        matches!(self, Self::Create { target, body, .. }
            if target.subresource.is_none() && Meta::of(&body.value).name().is_empty())
    }

    /// The object that it writes, when its name is known.
    fn key(&self) -> Option<Key> {
        let target = self.target();
        let name = match self {
            Self::Create { body, .. } if target.subresource.is_none() => {
                Meta::of(&body.value).name()
            }
            _ => &target.name,
        };
        let key = || {
            Key::new(
                target.kind.resource().clone(),
                target.namespace.as_str(),
                name,
            )
        };
        (!name.is_empty()).then(key)
    }
}
