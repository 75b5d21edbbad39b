//! `Batch`: several writes that go to consensus together, each with a result of its own.
//!
//! The writes of a batch run at once and share the log's group commit; between writes of one batch to the same object
//! there is no order.

use futures::{StreamExt as _, stream};
use kontiki_apiserver::Context;
use kontiki_base::status::{Reason, Status};
use kontiki_proto::api as proto;
use kontiki_proto::api::batch_operation::Operation;

use crate::face::Face;
use crate::object;

/// Writes of one batch.
const MAX_OPERATIONS: usize = 1000;
/// Writes of one batch that run at once.
const CONCURRENCY: usize = 64;

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
    if request.atomic && n_operations > 1 {
        let message = "atomic: batches of several operations are not served as one transaction yet";
        return Err(Status::new(Reason::MethodNotAllowed, message));
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
    match outcome {
        Ok(object) => proto::BatchResult {
            object,
            ..proto::BatchResult::default()
        },
        Err(status) => proto::BatchResult {
            object: None,
            reason: status.reason.as_str().to_owned(),
            code: status.reason.http_code().into(),
            message: status.message,
        },
    }
}
