//! Read, change, write: the loop under update, patch, scale, binding and deletion marks.
//!
//! The change is computed from what this replica has and proposed with that revision as its precondition. When the
//! object moved on meanwhile, the loop goes round again, unless the client named the revision.

use std::sync::Arc;
use std::time::Duration;

use kontiki_api::managed_fields::{Writer, equal_but_times};
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_base::limits;
use kontiki_base::status::Status;
use kontiki_state::{Object, Op, OpResult, Precondition};
use serde_json::Value;

use crate::errors::{MODIFIED, conflict, not_found};
use crate::options::{Answer, Context, Target, WriteOptions};
use crate::revision;
use crate::server::ApiServer;
use crate::verbs::update::Admitted;
use crate::versions;
use crate::write::{Draft, refusal};

/// How long to wait for a revision that a client has seen elsewhere.
const CATCH_UP: Duration = Duration::from_secs(3);

/// A computed change, not admitted yet.
pub(crate) struct Change<'w> {
    /// The object as it shall be, in the version of the target.
    pub(crate) value: Value,
    /// Who tracks it; none when it is tracked already.
    pub(crate) writer: Option<Writer<'w>>,
    /// The client named the revision: a lost race is its to know.
    pub(crate) is_pinned: bool,
    /// Nothing is left to be judged: the value is what is stored.
    pub(crate) is_admitted: bool,
    /// For the client's eyes.
    pub(crate) warnings: Vec<String>,
}

impl Change<'_> {
    /// A change that goes the road of updates.
    pub(crate) fn to(value: Value) -> Self {
        Self {
            value,
            writer: None,
            is_pinned: false,
            is_admitted: false,
            warnings: Vec::new(),
        }
    }
}

/// What became of it.
pub(crate) struct Modified {
    pub(crate) answer: Answer,
    pub(crate) warnings: Vec<String>,
}

impl ApiServer {
    /// The object, if need be after a barrier: a replica that lags must not answer 404.
    pub(crate) async fn current(
        &self,
        context: &Context,
        target: &Target,
    ) -> Result<Arc<Object>, Status> {
        if let Some(object) = self.find(target) {
            return Ok(object);
        }
        self.read_barrier(context).await?;
        self.find(target).ok_or_else(|| not_found(target))
    }

    /// Waits for a revision that the client has seen, so that it is not told of a conflict with its own past.
    pub(crate) async fn catch_up(&self, resource_version: &str) {
        if let Ok(revision) = revision::parse(resource_version) {
            // Not reached: then the comparison below fails, as it should.
            let _ = self.backend().wait_revision(revision, CATCH_UP).await;
        }
    }

    /// Changes the target by `change`, which may be called again with a newer object.
    pub(crate) async fn modify<'w>(
        &self,
        context: &Context,
        target: &Target,
        options: &WriteOptions,
        mut change: impl FnMut(&Value, &Object) -> Result<Change<'w>, Status>,
    ) -> Result<Modified, Status> {
        for _ in 0..limits::UPDATE_RETRIES {
            let object = self.current(context, target).await?;
            let old = self.working(&target.kind, &object).await?;
            let change = change(&old, &object)?;
            let is_pinned = change.is_pinned;
            let Admitted {
                mut value,
                ops: extra,
                warnings,
                _turn,
            } = self
                .admit_change(context, target, options, &old, change)
                .await?;
            metadata_mut(&mut value)
                .insert("resourceVersion".into(), object.revision.to_string().into());
            let is_current = versions::is_current(&target.kind, &object);
            if is_current && equal_but_times(&value, &old) && extra.is_empty() {
                return Ok(Modified {
                    answer: Answer::Object(object),
                    warnings,
                });
            }
            let is_gone = is_finished(&value);
            let value = self.storage_form(&target.kind, value).await?;
            let draft = Draft::new(&target.kind, value)?;
            if options.dry_run {
                return Ok(Modified {
                    answer: draft.rendered(Some(object.revision)),
                    warnings,
                });
            }
            let mut ops = vec![if is_gone {
                let (key, pre) = (object.key.clone(), Precondition::revision(object.revision));
                Op::Delete { key, pre }
            } else {
                draft.update(object.revision)
            }];
            ops.extend(extra);
            if is_gone {
                ops.extend(crate::services::release_all(self, &target.kind, &old));
            }
            match self.commit(context, target, ops).await? {
                OpResult::Done { revision, .. } if is_gone => {
                    return Ok(Modified {
                        answer: draft.rendered(Some(revision)),
                        warnings,
                    });
                }
                done @ OpResult::Done { .. } => {
                    let object = draft.stored(&done, Some(object.created));
                    return Ok(Modified {
                        answer: Answer::Object(object),
                        warnings,
                    });
                }
                OpResult::Conflict { .. } | OpResult::NotFound if is_pinned => {
                    return Err(conflict(&target.kind, &target.name, MODIFIED));
                }
                OpResult::Conflict { .. } | OpResult::NotFound | OpResult::Aborted => {
                    self.read_barrier(context).await?;
                }
                refused => return Err(refusal(&target.kind, &target.name, &refused)),
            }
        }
        Err(conflict(&target.kind, &target.name, MODIFIED))
    }
}

/// Whether nothing holds a deleted object any more: no finalizers, no grace left.
pub(crate) fn is_finished(object: &Value) -> bool {
    let meta = Meta::of(object);
    let grace = meta
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let namespace_finalizers = || {
        object["kind"] == "Namespace"
            && object
                .pointer("/spec/finalizers")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty())
    };
    meta.is_deleting() && grace == 0 && meta.finalizers().is_empty() && !namespace_finalizers()
}
