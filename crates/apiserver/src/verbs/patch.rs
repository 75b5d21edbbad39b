//! Patch: the four formats over one loop. Server-side apply creates what is not there.

use kontiki_api::Subresource;
use kontiki_api::managed_fields::Shape;
use kontiki_api::meta::Meta;
use kontiki_base::status::{Cause, Details, Reason, Status};
use serde_json::Value;

use crate::body::Body;
use crate::decode::{check_type, match_name, match_namespace, report, strict_errors};
use crate::modify::Change;
use crate::options::{Answer, Context, PatchType, Target, WriteOptions, Written};
use crate::patch::{json, merge, strategic};
use crate::server::ApiServer;
use crate::verbs::update::deduplicated;
use crate::versions;
use crate::write::{field_manager, written};

/// Custom objects have no Go type to merge by.
const NOT_STRATEGIC: &str = "the body of the request was in an unknown format - accepted media types include: \
                             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

impl ApiServer {
    /// Patches an object, or applies it (server-side apply).
    pub async fn patch(
        &self,
        context: &Context,
        target: &Target,
        patch: PatchType,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.authorize(context, "patch", target).await?;
        context.audit.sends(&body.value);
        if patch == PatchType::Strategic && target.kind.definition().is_some() {
            return Err(Status::new(Reason::UnsupportedMediaType, NOT_STRATEGIC));
        }
        if target.subresource == Some(Subresource::Scale) {
            return self
                .patch_scale(context, target, patch, body, options)
                .await;
        }
        if let PatchType::Apply { force } = patch {
            return self.apply(context, target, force, body, options).await;
        }
        let (manager, now) = (field_manager(context, options)?, self.now_text());
        if let Some(revision) = body
            .value
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
        {
            self.catch_up(revision).await;
        }
        let modified = self
            .modify(context, target, options, |old, _| {
                let mut new = versions::tree(&target.kind, old).into_owned();
                apply_patch(target, patch, &mut new, &body.value)?;
                let mut warnings = Vec::new();
                let new = self.redecode(target, new, &body.duplicates, options, &mut warnings)?;
                Ok(Change {
                    writer: Some(self.writer(target, &manager, &now)),
                    is_pinned: pins(patch, &body.value),
                    warnings,
                    ..Change::to(new)
                })
            })
            .await?;
        let answer = self.shown_answer(&target.kind, modified.answer).await?;
        Ok(written(answer, deduplicated(modified.warnings)))
    }

    /// A patched tree has to be an object of its kind again.
    fn redecode(
        &self,
        target: &Target,
        mut new: Value,
        duplicates: &[String],
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Value, Status> {
        // What a patch made of a secret is not shown, although upstream does: refusals come into logs.
        let tree = match &**target.kind.resource() {
            "secrets" => "<secret>".to_owned(),
            _ => new.to_string(),
        };
        let invalid = |why: String| {
            let message = format!("Invalid value: {tree:?}: {why}");
            let cause = Cause {
                reason: "FieldValueInvalid".into(),
                message,
                field: "patch".into(),
            };
            Status::new(
                Reason::Invalid,
                format!(" \"\" is invalid: patch: {}", cause.message),
            )
            .with_details(Details {
                causes: vec![cause],
                ..Details::default()
            })
        };
        check_type(&target.kind, &mut new)?;
        let strict = strict_errors(&target.kind, &mut new, duplicates).map_err(&invalid)?;
        report(strict, options.field_validation, warnings).map_err(&invalid)?;
        match_namespace(target, &mut new)?;
        match_name(target, &mut new)?;
        target.kind.default(&mut new);
        Ok(new)
    }

    async fn apply(
        &self,
        context: &Context,
        target: &Target,
        force: bool,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        let (manager, now) = (apply_manager(options)?, self.now_text());
        let config = self.decode_config(target, body, options, &mut warnings)?;
        loop {
            if self.find(target).is_none() {
                self.read_barrier(context).await?;
            }
            if self.find(target).is_none() && target.subresource.is_none() {
                match self
                    .create_by_apply(context, target, &config, &manager, options, &mut warnings)
                    .await
                {
                    Err(status) if status.is_own(Reason::AlreadyExists) => continue,
                    created => {
                        let object = self.shown_answer(&target.kind, created?).await?;
                        let created = true;
                        return Ok(Written {
                            object,
                            created,
                            accepted: false,
                            warnings,
                        });
                    }
                }
            }
            let modified = self
                .modify(context, target, options, |old, _| {
                    let writer = self.writer(target, &manager, &now);
                    let live = versions::tree(&target.kind, old);
                    let mut new = writer.apply(Some(&live), &config, force)?;
                    target.kind.default(&mut new);
                    Ok(Change {
                        is_pinned: pins(PatchType::Apply { force }, &config),
                        ..Change::to(new)
                    })
                })
                .await?;
            warnings.extend(modified.warnings);
            let answer = self.shown_answer(&target.kind, modified.answer).await?;
            return Ok(written(answer, deduplicated(warnings)));
        }
    }

    async fn create_by_apply(
        &self,
        context: &Context,
        target: &Target,
        config: &Value,
        manager: &str,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Answer, Status> {
        self.authorize(context, "create", target).await?;
        let uid = Meta::of(config).uid();
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(crate::errors::conflict(&target.kind, &target.name, &why));
        }
        let now = self.now_text();
        let mut new = self
            .writer(target, manager, &now)
            .apply(None, config, true)?;
        target.kind.default(&mut new);
        target.kind.to_stored(&mut new);
        self.create_object(context, target, new, options, warnings)
            .await
    }

    /// An applied configuration: typed strictly, for a field without a schema has no owner.
    fn decode_config(
        &self,
        target: &Target,
        body: Body,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Value, Status> {
        let mut config = body.value;
        if !config.is_object() {
            return Err(Status::bad_request("error decoding patch: not an object"));
        }
        check_type(&target.kind, &mut config)?;
        if config
            .pointer("/metadata/managedFields")
            .is_some_and(|entries| !entries.is_null())
        {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let kind = &target.kind;
        let broken = |why: &str| {
            Status::internal(format!(
                "failed to create typed patch object ({}/{}; {}, Kind={}): {why}",
                target.namespace,
                target.name,
                kind.api_version(),
                kind.kind()
            ))
        };
        let unknown = strict_errors(kind, &mut config, &[]).map_err(|why| broken(&why))?;
        if let Some(first) = unknown.first() {
            let path = first.trim_start_matches("unknown field ").trim_matches('"');
            return Err(broken(&format!(".{path}: field not declared in schema")));
        }
        let duplicates = body
            .duplicates
            .iter()
            .map(|path| format!("duplicate field \"{path}\""));
        report(duplicates.collect(), options.field_validation, warnings)
            .map_err(|why| Status::bad_request(format!("error strict decoding patch: {why}")))?;
        match_namespace(target, &mut config)?;
        match_name(target, &mut config)?;
        Ok(config)
    }
}

fn apply_patch(
    target: &Target,
    patch: PatchType,
    document: &mut Value,
    body: &Value,
) -> Result<(), Status> {
    match patch {
        PatchType::Json => json::apply(document, body),
        PatchType::Merge => merge::apply(document, body),
        PatchType::Strategic => strategic::apply(Shape::of(target.kind.schema()), document, body),
        PatchType::Apply { .. } => Err(Status::internal("an apply is no patch of a tree")),
    }
}

/// Whether the patch itself names the revision that it is for.
pub(crate) fn pins(patch: PatchType, body: &Value) -> bool {
    match patch {
        PatchType::Json => body.as_array().is_some_and(|ops| {
            ops.iter()
                .any(|op| op["path"] == "/metadata/resourceVersion")
        }),
        _ => body
            .pointer("/metadata/resourceVersion")
            .is_some_and(Value::is_string),
    }
}

/// An apply has to say who applies.
fn apply_manager(options: &WriteOptions) -> Result<String, Status> {
    match options.field_manager.as_deref() {
        Some(manager) if !manager.is_empty() => field_manager(&Context::default(), options),
        _ => {
            let why = "Required value: is required for apply patch";
            let cause = Cause {
                reason: "FieldValueRequired".into(),
                message: why.into(),
                field: "fieldManager".into(),
            };
            let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {why}");
            Err(Status::new(Reason::Invalid, message).with_details(Details {
                group: "meta.k8s.io".into(),
                kind: "PatchOptions".into(),
                causes: vec![cause],
                ..Details::default()
            }))
        }
    }
}
