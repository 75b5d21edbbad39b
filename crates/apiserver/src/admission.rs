//! What a write may contain beyond its kind's rules, by who writes: after authorization, before validation.

pub(crate) mod node_restriction;

use kontiki_base::status::Status;
use serde_json::Value;

use crate::authz::escalation;
use crate::options::{Context, Target};
use crate::server::ApiServer;

/// A write on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    /// An object that is not there yet.
    Create(&'a Value),
    /// From the old to the new.
    Update(&'a Value, &'a Value),
    /// What is there.
    Delete(&'a Value),
}

/// Lets a write through, or says why not.
pub(crate) fn admit(
    server: &ApiServer,
    context: &Context,
    target: &Target,
    operation: Operation<'_>,
) -> Result<(), Status> {
    node_restriction::check(server, context, target, operation)?;
    match operation {
        Operation::Create(new) => escalation::check(server, context, target, None, new),
        Operation::Update(old, new) => escalation::check(server, context, target, Some(old), new),
        Operation::Delete(_) => Ok(()),
    }
}
