//! Delete: at once, or by marks that someone else completes.
//!
//! ```text
//!                 ┌─ nothing holds it ────────────────────────────────────────────▶ gone, Status Success
//! delete ─ checks ┼─ grace (a bound, running pod) ─▶ deletionTimestamp ahead ─────▶ agent stops it, deletes with 0
//!                 ├─ finalizers, orphan, foreground ─▶ deletionTimestamp now ─────▶ last finalizer gone: gone
//!                 └─ namespace ─▶ Terminating ─▶ contents deleted ─▶ finalize ────▶ gone
//! ```

use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_api::time;
use kontiki_base::limits;
use kontiki_base::status::{Reason, Status};
use kontiki_state::{Object, Op, OpResult, Precondition};
use serde_json::{Value, json};

use crate::admission::{self, Effects, Request, Sent};
use crate::authz::content::Operation;
use crate::authz::node::node_of;
use crate::errors::{MODIFIED, conflict, not_found};
use crate::modify::is_finished;
use crate::options::{
    Answer, Context, DeleteOptions, ListOptions, Page, Propagation, Target, Written,
};
use crate::server::ApiServer;
use crate::services;
use crate::write::{Draft, refusal, written};

/// Kinds whose deletion answers with the object (upstream's `ReturnDeletedObject`).
const RETURNS_OBJECT: &[&str] = &[
    "Pod",
    "Service",
    "ServiceAccount",
    "PersistentVolume",
    "PersistentVolumeClaim",
];
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Has a last word on a deletion: changes the object that is to go, and adds operations that belong to it.
pub(crate) type Judge<'a> = &'a (dyn Fn(&mut Value) -> Result<Vec<Op>, Status> + Sync);

impl ApiServer {
    /// Deletes an object.
    pub async fn delete(
        &self,
        context: &Context,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Written, Status> {
        self.authorize(context, "delete", target).await?;
        if node_of(&context.user).is_some() {
            let object = self.current(context, target).await?;
            self.authorize_content(context, target, Operation::Delete(&object.value()))?;
        }
        let written = self.delete_unchecked(context, target, options).await?;
        Ok(Written {
            object: self.shown_answer(&target.kind, written.object).await?,
            ..written
        })
    }

    /// Deletes all that the list options select; answers what was selected.
    pub async fn delete_collection(
        &self,
        context: &Context,
        target: &Target,
        options: &DeleteOptions,
        select: &ListOptions,
    ) -> Result<Page, Status> {
        let fields = select.field_selector.as_deref();
        self.authorize_selection(context, "deletecollection", target, fields)
            .await?;
        let page = self.list_unchecked(context, target, select).await?;
        for object in &page.items {
            let name = object.key.name.to_string();
            let namespace = object.key.namespace.to_string();
            let one = Target {
                name,
                namespace,
                ..target.clone()
            };
            match self.delete_unchecked(context, &one, options).await {
                Err(status) if status.reason == Reason::NotFound => {}
                deleted => drop(deleted?),
            }
        }
        self.shown_page(&target.kind, page).await
    }

    pub(crate) async fn delete_unchecked(
        &self,
        context: &Context,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Written, Status> {
        self.delete_if(context, target, options, None).await
    }

    /// Deletes once `judge` agrees. It is asked anew in each round; what it changes and adds is one transaction with the
    /// deletion. It stands in for the admission of deletions.
    pub(crate) async fn delete_if(
        &self,
        context: &Context,
        target: &Target,
        options: &DeleteOptions,
        judge: Option<Judge<'_>>,
    ) -> Result<Written, Status> {
        if let Some(revision) = &options.resource_version {
            self.catch_up(revision).await;
        }
        for _ in 0..limits::UPDATE_RETRIES {
            let object = self.current(context, target).await?;
            let old = self.working(&target.kind, &object).await?;
            check_preconditions(target, options, &object)?;
            let request = Request {
                server: self,
                context,
                target,
                operation: admission::Operation::Delete,
                old: Some(&old),
                dry_run: options.dry_run,
                options: Some(Sent::Delete(options)),
            };
            let mut effects = Effects::of_request(&request);
            let mut base = old.clone();
            match judge {
                Some(judge) => effects.ops = judge(&mut base)?,
                None => request.validate(None, &mut effects).await?,
            }
            let marked = match self.marked(target, options, &base)? {
                Marked::Unchanged if base != old => Marked::Pending(base),
                marked => marked,
            };
            let outcome = match marked {
                Marked::Gone => {
                    self.remove(context, target, options, &object, effects.ops)
                        .await?
                }
                Marked::Pending(value) if options.dry_run => {
                    let value = self.storage_form(&target.kind, value).await?;
                    let draft = Draft::new(&target.kind, value)?;
                    Some(pending(draft.rendered(Some(object.revision)), options))
                }
                Marked::Pending(value) => {
                    let ops = effects.ops;
                    self.mark(context, target, options, &object, value, ops)
                        .await?
                }
                Marked::Unchanged => Some(pending(Answer::Object(object), options)),
            };
            if let Some(written) = outcome {
                let warnings = effects.warnings;
                return Ok(Written {
                    warnings,
                    ..written
                });
            }
            self.read_barrier(context).await?;
        }
        Err(conflict(&target.kind, &target.name, MODIFIED))
    }

    /// What the options make of the object.
    fn marked(
        &self,
        target: &Target,
        options: &DeleteOptions,
        old: &Value,
    ) -> Result<Marked, Status> {
        if options
            .grace_period_seconds
            .is_some_and(|seconds| seconds < 0)
        {
            let error = kontiki_api::FieldError::invalid(
                "gracePeriodSeconds",
                options.grace_period_seconds,
                "must be greater than or equal to 0",
            );
            let group = "meta.k8s.io";
            return Err(kontiki_api::field_error::invalid_status(
                group,
                "DeleteOptions",
                "",
                &[error],
            ));
        }
        let mut new = old.clone();
        set_propagation(&mut new, options.propagation);
        let now_ms = self.now_unix_ms();
        let meta = Meta::of(old);
        let grace = if target.kind.graceful_delete() {
            pod_grace(old, options)
        } else {
            0
        };
        let pending = meta
            .get("deletionGracePeriodSeconds")
            .and_then(Value::as_i64);
        // A second delete may only shorten the grace period of the first.
        if meta.is_deleting() {
            if let Some(pending) =
                pending.filter(|pending| target.kind.graceful_delete() && grace < *pending)
            {
                let end = time::parse(meta.text("deletionTimestamp")).unwrap_or(now_ms);
                let start = end.saturating_sub(pending.max(0) as u64 * 1000);
                set_deletion(&mut new, start + grace.max(0) as u64 * 1000, grace);
            }
        } else {
            set_deletion(&mut new, now_ms + grace.max(0) as u64 * 1000, grace);
            target.kind.prepare_delete(&mut new, &self.now_text());
            count_deletion(&mut new, target.kind.counts_generation());
            if target.kind.kind() == "Namespace" {
                new["status"]["phase"] = json!("Terminating");
            }
        }
        if is_finished(&new) {
            return Ok(Marked::Gone);
        }
        Ok(if new == *old {
            Marked::Unchanged
        } else {
            Marked::Pending(new)
        })
    }

    async fn mark(
        &self,
        context: &Context,
        target: &Target,
        options: &DeleteOptions,
        object: &Object,
        value: Value,
        extra: Vec<Op>,
    ) -> Result<Option<Written>, Status> {
        let value = self.storage_form(&target.kind, value).await?;
        let draft = Draft::new(&target.kind, value)?;
        let mut ops = vec![draft.update(object.revision)];
        ops.extend(extra);
        match self.commit(context, target, ops).await? {
            done @ OpResult::Done { .. } => {
                let stored = draft.stored(&done, Some(object.created));
                Ok(Some(pending(Answer::Object(stored), options)))
            }
            OpResult::Conflict { .. } | OpResult::Aborted => Ok(None),
            refused => Err(refusal(&target.kind, &target.name, &refused)),
        }
    }

    async fn remove(
        &self,
        context: &Context,
        target: &Target,
        options: &DeleteOptions,
        object: &Object,
        extra: Vec<Op>,
    ) -> Result<Option<Written>, Status> {
        let old = self.working(&target.kind, object).await?;
        if options.dry_run {
            return Ok(Some(written(deleted(target, old), Vec::new())));
        }
        let pre = Precondition::revision(object.revision);
        let mut ops = vec![Op::Delete {
            key: object.key.clone(),
            pre,
        }];
        ops.extend(services::release_all(self, &target.kind, &old));
        ops.extend(extra);
        match self.commit(context, target, ops).await? {
            OpResult::Done { .. } => Ok(Some(written(deleted(target, old), Vec::new()))),
            OpResult::Conflict { .. } | OpResult::Aborted => Ok(None),
            OpResult::NotFound => Err(not_found(target)),
            refused => Err(refusal(&target.kind, &target.name, &refused)),
        }
    }
}

enum Marked {
    /// Nothing holds it: remove it.
    Gone,
    /// It stays for a while, marked.
    Pending(Value),
    /// It was marked so already.
    Unchanged,
}

/// A deletion that goes on; 202 where upstream's clients expect it.
fn pending(object: Answer, options: &DeleteOptions) -> Written {
    let accepted = options.propagation == Some(Propagation::Foreground);
    Written {
        object,
        created: false,
        accepted,
        warnings: Vec::new(),
    }
}

fn deleted(target: &Target, old: Value) -> Answer {
    if RETURNS_OBJECT.contains(&target.kind.kind()) {
        return Answer::Rendered(old);
    }
    let mut details = json!({
        "name": target.name,
        "kind": target.kind.plural(),
        "uid": Meta::of(&old).uid(),
    });
    if !target.kind.group().is_empty() {
        details["group"] = json!(target.kind.group());
    }
    Answer::Rendered(success(Some(details)))
}

/// `Status` of success.
pub(crate) fn success(details: Option<Value>) -> Value {
    let mut status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if let Some(details) = details {
        status["details"] = details;
    }
    status
}

fn check_preconditions(
    target: &Target,
    options: &DeleteOptions,
    object: &Object,
) -> Result<(), Status> {
    if let Some(uid) = options
        .uid
        .as_deref()
        .filter(|uid| **uid != *object.header.uid)
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            object.header.uid
        );
        return Err(conflict(&target.kind, &target.name, &why));
    }
    let stored = object.revision.to_string();
    if let Some(sent) = options
        .resource_version
        .as_deref()
        .filter(|sent| *sent != stored)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({sent}) does not match the ResourceVersion in record ({stored}). \
             The object might have been modified"
        );
        return Err(conflict(&target.kind, &target.name, &why));
    }
    Ok(())
}

/// Propagation becomes a finalizer that the garbage collector takes off.
fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let wanted = match propagation {
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Background => None,
    };
    let mut finalizers: Vec<String> = Meta::of(object)
        .finalizers()
        .into_iter()
        .map(str::to_owned)
        .collect();
    finalizers.retain(|name| name != ORPHAN && name != FOREGROUND);
    finalizers.extend(wanted.map(str::to_owned));
    let metadata = metadata_mut(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), json!(finalizers));
    }
}

fn set_deletion(object: &mut Value, at_unix_ms: u64, grace_seconds: i64) {
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".into(), json!(time::rfc3339(at_unix_ms)));
    metadata.insert("deletionGracePeriodSeconds".into(), json!(grace_seconds));
}

/// A deletion counts as a change of the object's intent.
fn count_deletion(object: &mut Value, counts_generation: bool) {
    let generation = Meta::of(object).generation();
    if counts_generation && generation > 0 {
        metadata_mut(object).insert("generation".into(), json!(generation + 1));
    }
}

/// Upstream's `podStrategy.CheckGracefulDelete`: a pod that runs nowhere needs no grace.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    let own = pod
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    let period = options.grace_period_seconds.or(own).unwrap_or(30);
    let is_unbound = pod
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty);
    let phase = pod
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_over = matches!(phase, "Succeeded" | "Failed");
    if is_unbound || is_over {
        0
    } else {
        period.max(0)
    }
}
