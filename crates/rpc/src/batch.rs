//! `Batch`: several writes that go to consensus together, each with a result of its own.
//!
//! Atomic, they are one transaction, which the API server makes. Otherwise they run at once and share the log's group
//! commit; between writes of one batch to the same object there is no order.

use futures::{StreamExt as _, stream};
use kontiki_api::Kinds;
use kontiki_apiserver::{Body, Context, Operation as Write, Outcome, Target};
use kontiki_base::status::{Reason, Status};
use kontiki_proto::api as proto;
use kontiki_proto::api::batch_operation::Operation;

use crate::convert::{answer, creatable, named, write_options};
use crate::face::Face;
use crate::object;

/// Writes of one batch.
const MAX_OPERATIONS: usize = 1000;
/// Writes of one batch that run at once.
const CONCURRENCY: usize = 64;

/// What the results of an atomic batch say of operations that another one's failure kept from happening: the canonical
/// code ABORTED, whose HTTP status is 409.
const ABORTED: (&str, i32) = ("Aborted", 409);

/// Runs a batch.
pub async fn run(
    face: &Face,
    context: &Context,
    request: proto::BatchRequest,
) -> Result<proto::BatchResponse, Status> {
    let n_operations = request.operations.len();
    if n_operations > MAX_OPERATIONS {
        let message = format!("operations: {n_operations} are more than {MAX_OPERATIONS}");
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    if request.atomic {
        let results = transact(face, context, request.operations).await?;
        return Ok(proto::BatchResponse { results });
    }
    let results = stream::iter(request.operations)
        .map(|operation| run_one(face, context, operation.operation))
        .buffered(CONCURRENCY)
        .collect()
        .await;
    Ok(proto::BatchResponse { results })
}

async fn run_one(
    face: &Face,
    context: &Context,
    operation: Option<Operation>,
) -> proto::BatchResult {
    let context = &Context {
        audit: context.audit.part(),
        ..context.clone()
    };
    let outcome = match operation {
        Some(Operation::Create(create)) => object::create(face, context, create)
            .await
            .map(|done| done.object),
        Some(Operation::Update(update)) => object::update(face, context, update)
            .await
            .map(|done| done.object),
        Some(Operation::Delete(delete)) => object::delete(face, context, delete)
            .await
            .map(|done| done.object),
        None => Err(Status::bad_request("operation: Required value")),
    };
    context.audit.complete_with(outcome.as_ref().map(|_| 200));
    outcome.map_or_else(|status| failure(&status), success)
}

/// All operations or none.
async fn transact(
    face: &Face,
    context: &Context,
    operations: Vec<proto::BatchOperation>,
) -> Result<Vec<proto::BatchResult>, Status> {
    let n_operations = operations.len();
    let kinds = face.api.kinds();
    let mut writes = Vec::with_capacity(n_operations);
    let mut targets = Vec::with_capacity(n_operations);
    for (idx, operation) in operations.into_iter().enumerate() {
        match write(&kinds, operation.operation) {
            Ok((target, write)) => {
                targets.push(target);
                writes.push(write);
            }
            Err(status) => {
                let mut results = vec![aborted(idx); n_operations];
                results[idx] = failure(&status);
                return Ok(results);
            }
        }
    }
    let outcomes = face.api.transact(context, writes).await?;
    let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    let culprit = outcomes.iter().position(is_failed).unwrap_or(0);
    let result = |(outcome, target): (Outcome, Target)| match outcome {
        Outcome::Done(written) => success(answer(&target, &written.object)),
        Outcome::Failed(status) => failure(&status),
        Outcome::Aborted => aborted(culprit),
    };
    Ok(outcomes.into_iter().zip(targets).map(result).collect())
}

fn write(kinds: &Kinds, operation: Option<Operation>) -> Result<(Target, Write), Status> {
    match operation {
        Some(Operation::Create(create)) => {
            let (target, options) = (
                creatable(kinds, create.r#ref)?,
                write_options(create.options)?,
            );
            let body = Body::from_json(&create.json)?;
            let write = Write::Create {
                target: target.clone(),
                body,
                options,
            };
            Ok((target, write))
        }
        Some(Operation::Update(update)) => {
            let (target, options) = (named(kinds, update.r#ref)?, write_options(update.options)?);
            let body = Body::from_json(&update.json)?;
            let write = Write::Update {
                target: target.clone(),
                body,
                options,
            };
            Ok((target, write))
        }
        Some(Operation::Delete(delete)) => {
            let (target, options) = object::deletion(kinds, delete)?;
            let write = Write::Delete {
                target: target.clone(),
                options,
            };
            Ok((target, write))
        }
        None => Err(Status::bad_request("operation: Required value")),
    }
}

fn success(object: Option<proto::Object>) -> proto::BatchResult {
    proto::BatchResult {
        object,
        ..proto::BatchResult::default()
    }
}

fn failure(status: &Status) -> proto::BatchResult {
    proto::BatchResult {
        object: None,
        reason: status.reason.as_str().to_owned(),
        code: status.http_code().into(),
        message: status.message.clone(),
    }
}

fn aborted(culprit: usize) -> proto::BatchResult {
    let (reason, code) = ABORTED;
    proto::BatchResult {
        object: None,
        reason: reason.to_owned(),
        code,
        message: format!("operations[{culprit}] failed, hence nothing of the batch was written"),
    }
}
