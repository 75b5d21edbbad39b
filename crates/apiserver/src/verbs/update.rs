//! Update: PUT of a whole object, or of its status, scale or finalizers.

use kontiki_api::Subresource;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use serde_json::Value;

use crate::authz::content::Operation;
use crate::body::Body;
use crate::decode::{decode, match_name, match_namespace};
use crate::errors::{MODIFIED, conflict};
use crate::modify::Change;
use crate::options::{Context, Target, WriteOptions, Written};
use crate::server::ApiServer;
use crate::services;
use crate::ssa::manager::Writer;
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
        self.authorize(context, "update", target)?;
        if target.subresource == Some(Subresource::Scale) {
            return self.update_scale(context, target, body, options).await;
        }
        let mut warnings = Vec::new();
        let mut object = decode(target.kind, body, options.field_validation, &mut warnings)?;
        match_namespace(target, &mut object)?;
        match_name(target, &mut object)?;
        target.kind.default(&mut object);
        let (manager, now) = (field_manager(context, options)?, self.now_text());
        self.catch_up(Meta::of(&object).resource_version()).await;
        let modified = self
            .modify(context, target, options.dry_run, |old, _| {
                let writer = self.writer(target, &manager, &now);
                self.admit_update(
                    context,
                    target,
                    old,
                    object.clone(),
                    Some(&writer),
                    &mut warnings,
                )
            })
            .await?;
        Ok(written(modified.answer, deduplicated(warnings)))
    }

    /// The road of a new tree over an old one, whatever verb made it. `writer` is none when it is tracked already.
    pub(crate) fn admit_update(
        &self,
        context: &Context,
        target: &Target,
        old: &Value,
        mut new: Value,
        writer: Option<&Writer<'_>>,
        warnings: &mut Vec<String>,
    ) -> Result<Change, Status> {
        let kind = target.kind;
        check_identity(target, old, &new)?;
        let is_pinned = !Meta::of(&new).resource_version().is_empty();
        if is_pinned && Meta::of(&new).resource_version() != Meta::of(old).resource_version() {
            return Err(conflict(kind, &target.name, MODIFIED));
        }
        if let Some(writer) = writer {
            writer.update(Some(old), &mut new);
        }
        self.authorize_content(context, target, Operation::Update(old, &new))?;
        let mut extra = Vec::new();
        let errors = match target.subresource {
            Some(Subresource::Status) => {
                kind.prepare_status(&mut new, old);
                kind.validate_status(&new, old)
            }
            Some(Subresource::Finalize) => {
                new = with_finalizers(old, &new);
                Vec::new()
            }
            _ => {
                kind.prepare_update(&mut new, old);
                extra = services::allocate(self, kind, Some(old), &mut new)?.ops;
                kind.validate(&new, Some(old))
            }
        };
        if !errors.is_empty() {
            return Err(kind.invalid(&new, &errors));
        }
        warnings.extend(kind.warnings(&new, Some(old)));
        Ok(Change {
            value: new,
            extra,
            is_pinned,
        })
    }
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
    Err(conflict(target.kind, &target.name, &why))
}

fn registry_key(target: &Target) -> String {
    let parts = [
        "/registry",
        target.kind.plural,
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
