//! Update: PUT of a whole object, or of its status, scale or finalizers.

use kontiki_api::field_error::{FieldError, invalid_status};
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_api::{Kind, Subresource};
use kontiki_base::status::{Reason, Status};
use kontiki_state::Op;
use serde_json::Value;

use crate::admission::resource_quota::Turn;
use crate::admission::{self, Effects, Request};
use crate::authz::content::Operation;
use crate::body::Body;
use crate::decode::{decode, match_name, match_namespace, recheck};
use crate::errors::{MODIFIED, conflict};
use crate::modify::Change;
use crate::options::{Answer, Context, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::services;
use crate::versions;
use crate::write::{field_manager, written};

impl ApiServer {
    /// Replaces an object (PUT).
    pub async fn update(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.authorize(context, "update", target).await?;
        context.audit.sends(&body.value);
        if target.subresource == Some(Subresource::Scale) {
            return self.update_scale(context, target, body, options).await;
        }
        let mut warnings = Vec::new();
        let mut object = decode(&target.kind, body, options.field_validation, &mut warnings)?;
        match_namespace(target, &mut object)?;
        match_name(target, &mut object)?;
        target.kind.default(&mut object);
        let (manager, now) = (field_manager(context, options)?, self.now_text());
        self.catch_up(Meta::of(&object).resource_version()).await;
        if target.subresource.is_none()
            && target.kind.create_on_update()
            && let Some(created) = self
                .create_by_update(context, target, &object, &manager, options, &mut warnings)
                .await?
        {
            let warnings = deduplicated(warnings);
            return Ok(Written {
                created: true,
                ..written(created, warnings)
            });
        }
        let is_pinned = !Meta::of(&object).resource_version().is_empty();
        let modified = self
            .modify(context, target, options, |_, _| {
                if !is_pinned && !target.kind.unconditional_update() {
                    return Err(unconditional(&target.kind, &target.name));
                }
                Ok(Change {
                    writer: Some(self.writer(target, &manager, &now)),
                    is_pinned,
                    ..Change::to(object.clone())
                })
            })
            .await?;
        warnings.extend(modified.warnings);
        let answer = self.shown_answer(&target.kind, modified.answer).await?;
        Ok(written(answer, deduplicated(warnings)))
    }

    /// Makes the object that a PUT names when nothing is there; none when something is.
    async fn create_by_update(
        &self,
        context: &Context,
        target: &Target,
        object: &Value,
        manager: &str,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Answer>, Status> {
        match self.current(context, target).await {
            Err(status) if status.reason == Reason::NotFound => {}
            found => return found.map(|_| None),
        }
        self.authorize(context, "create", target).await?;
        let mut object = object.clone();
        metadata_mut(&mut object).remove("resourceVersion");
        let now = self.now_text();
        self.writer(target, manager, &now).update(None, &mut object);
        target.kind.to_stored(&mut object);
        let created = self
            .create_object(context, target, object, options, warnings)
            .await;
        match created {
            // Someone was faster: there is something to update now.
            Err(status) if status.is_own(Reason::AlreadyExists) => Ok(None),
            created => {
                let shown = self.shown_answer(&target.kind, created?).await?;
                Ok(Some(shown))
            }
        }
    }

    /// The road of a new tree over an old one, whatever verb made it. The old tree is stored.
    pub(crate) async fn admit_change(
        &self,
        context: &Context,
        target: &Target,
        options: &WriteOptions,
        old: &Value,
        change: Change<'_>,
    ) -> Result<Admitted, Status> {
        let kind = &target.kind;
        let (mut new, mut warnings) = (change.value, change.warnings);
        if change.is_admitted {
            return Ok(Admitted {
                value: new,
                ops: Vec::new(),
                warnings,
                _turn: None,
            });
        }
        check_identity(target, old, &new)?;
        let sent = Meta::of(&new).resource_version();
        if !sent.is_empty() && sent != Meta::of(old).resource_version() {
            return Err(conflict(kind, &target.name, MODIFIED));
        }
        let request = Request {
            server: self,
            context,
            target,
            operation: admission::Operation::Update,
            old: Some(old),
            dry_run: options.dry_run,
            options: Some(options.into()),
        };
        if target.subresource == Some(Subresource::Scale) {
            return self.admit_scale(&request, old, new, change.writer).await;
        }
        let part = target.subresource.filter(|part| is_part_of_spec(*part));
        if let Some(part) = part {
            // Before it is tracked: what is not of the part does not change, hence gets no owner.
            kind.prepare_part(part, &mut new, old);
        }
        if let Some(writer) = change.writer {
            writer.update(Some(&versions::tree(kind, old)), &mut new);
        }
        kind.to_stored(&mut new);
        let mut effects = Effects::of_request(&request);
        request.mutate(&mut new, &mut effects).await?;
        recheck(kind, &mut new)?;
        self.authorize_content(context, target, Operation::Update(old, &new))?;
        let errors = match target.subresource {
            Some(Subresource::Status) => {
                kind.prepare_status(&mut new, old);
                kind.validate_status(&new, old)
            }
            Some(Subresource::Approval) => {
                kind.prepare_approval(&mut new, old);
                kind.validate_approval(&new, old)
            }
            Some(part) if is_part_of_spec(part) => {
                kind.prepare_part(part, &mut new, old);
                kind.validate_part(part, &new, old)
            }
            Some(Subresource::Finalize) => {
                new = with_finalizers(old, &new);
                Vec::new()
            }
            _ => {
                kind.prepare_update(&mut new, old);
                let claims = services::allocate(self, kind, Some(old), &mut new)?;
                effects.ops.extend(claims.ops);
                kind.validate(&new, Some(old))
            }
        };
        if !errors.is_empty() {
            return Err(kind.invalid(&new, &errors));
        }
        if part.is_none() {
            warnings.extend(kind.warnings(&new, Some(old)));
        }
        request.validate(Some(&new), &mut effects).await?;
        warnings.append(&mut effects.warnings);
        Ok(Admitted {
            value: new,
            ops: effects.ops,
            warnings,
            _turn: effects.turn,
        })
    }
}

/// Whether a subresource is a part of the object's spec.
fn is_part_of_spec(subresource: Subresource) -> bool {
    matches!(
        subresource,
        Subresource::EphemeralContainers | Subresource::Resize
    )
}

/// A change that may be stored.
pub(crate) struct Admitted {
    /// The object, in the stored version.
    pub(crate) value: Value,
    /// Further operations of the transaction: claims made and given back, usage counted.
    pub(crate) ops: Vec<Op>,
    /// For the client's eyes.
    pub(crate) warnings: Vec<String>,
    /// The change's turn among those that count against the same quotas; held until it is committed.
    pub(crate) _turn: Option<Turn>,
}

/// Some kinds are not overwritten by who has not seen them.
fn unconditional(kind: &Kind, name: &str) -> Status {
    let detail = "must be specified for an update";
    let error = FieldError::invalid("metadata.resourceVersion", 0, detail);
    // Upstream has the resource where the kind belongs.
    invalid_status(kind.group(), kind.plural(), name, &[error])
}

/// A body that names a uid means that very object.
fn check_identity(target: &Target, old: &Value, new: &Value) -> Result<(), Status> {
    let (sent, stored) = (Meta::of(new).uid(), Meta::of(old).uid());
    if sent.is_empty() || sent == stored {
        return Ok(());
    }
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {sent}, UID in object meta: {stored}",
        registry_key(target)
    );
    Err(conflict(&target.kind, &target.name, &why))
}

fn registry_key(target: &Target) -> String {
    let parts = [
        "/registry",
        target.kind.plural(),
        &target.namespace,
        &target.name,
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

/// `finalize` writes `spec.finalizers` and nothing else.
fn with_finalizers(old: &Value, new: &Value) -> Value {
    let mut out = old.clone();
    let finalizers = new.pointer("/spec/finalizers").cloned();
    if let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) {
        match finalizers {
            Some(finalizers) => spec.insert("finalizers".into(), finalizers),
            None => spec.remove("finalizers"),
        };
    }
    if let Some(entries) = new.pointer("/metadata/managedFields") {
        out["metadata"]["managedFields"] = entries.clone();
    }
    out
}

/// A retried change warns anew.
pub(crate) fn deduplicated(warnings: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(warnings.len());
    for warning in warnings {
        if !out.contains(&warning) {
            out.push(warning);
        }
    }
    out
}
