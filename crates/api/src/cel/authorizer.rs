//! The authorizer as expressions see it: a check is put together by calls and answered by whoever evaluates.

use std::fmt;
use std::sync::Arc;

/// Answers checks.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether it may be done.
    fn decide(&self, check: &Check) -> Decision;
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// The ServiceAccount (namespace, name) to ask for; else the user of the request.
    pub service_account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// A path that is no resource.
    pub path: Option<String>,
    /// Of a resource.
    pub group: String,
    /// See `group`.
    pub resource: String,
    /// See `group`.
    pub subresource: String,
    /// See `group`.
    pub namespace: String,
    /// See `group`.
    pub name: String,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub is_allowed: bool,
    /// Why, or why not.
    pub reason: String,
    /// What went wrong in finding out.
    pub error: Option<String>,
}

/// A step on the way to a decision.
#[derive(Debug, Clone)]
pub struct Authz<'a> {
    pub(super) by: &'a dyn Authorizer,
    pub(super) stage: Stage,
    pub(super) check: Arc<Check>,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision(Arc<Decision>),
}

impl<'a> Authz<'a> {
    /// Nothing asked yet.
    pub fn new(by: &'a dyn Authorizer) -> Self {
        Self {
            by,
            stage: Stage::Authorizer,
            check: Arc::default(),
        }
    }

    /// A check of one resource, to be asked for a verb: what `authorizer.requestResource` is.
    pub fn resource(by: &'a dyn Authorizer, check: Check) -> Self {
        Self {
            by,
            stage: Stage::Resource,
            check: Arc::new(check),
        }
    }

    pub(super) fn next(&self, stage: Stage, change: impl FnOnce(&mut Check)) -> Self {
        let mut check = (*self.check).clone();
        change(&mut check);
        Self {
            by: self.by,
            stage,
            check: Arc::new(check),
        }
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
}
