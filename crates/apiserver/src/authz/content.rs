//! Rights that hang on what is written, not only on where: what nodes may say of themselves, what of his rights one may
//! give away. After authorization, before validation.

use kontiki_base::status::Status;
use serde_json::Value;

use super::{escalation, node_restriction};
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

impl ApiServer {
    /// Lets a write through, or says why not.
    pub(crate) fn authorize_content(
        &self,
        context: &Context,
        target: &Target,
        operation: Operation<'_>,
    ) -> Result<(), Status> {
        node_restriction::check(self, context, target, operation)?;
        match operation {
            Operation::Create(new) => escalation::check(self, context, target, None, new),
            Operation::Update(old, new) => escalation::check(self, context, target, Some(old), new),
            Operation::Delete(_) => Ok(()),
        }
    }
}
