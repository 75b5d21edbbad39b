//! The scale subresource: a Scale made of a workload, and a workload changed by a Scale.

use kontiki_api::Kind;
use kontiki_api::field_error::invalid_status;
use kontiki_api::managed_fields::Writer;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_state::Object;
use serde_json::Value;

use crate::admission::{Effects, Request};
use crate::body::Body;
use crate::decode::recheck;
use crate::modify::{Change, Modified};
use crate::options::{Answer, Context, PatchType, Target, WriteOptions, Written};
use crate::patch::{json, merge};
use crate::server::ApiServer;
use crate::verbs::patch::pins;
use crate::verbs::update::{Admitted, deduplicated};
use crate::versions;
use crate::write::{field_manager, written};

fn scale_of(kind: &Kind, object: &Value) -> Result<Value, Status> {
    kind.scale_of(object).map_err(Status::internal)
}

impl ApiServer {
    /// The Scale of a stored workload.
    pub(crate) async fn scale_of(&self, kind: &Kind, object: &Object) -> Result<Value, Status> {
        scale_of(kind, &self.working(kind, object).await?)
    }

    pub(crate) async fn update_scale(
        &self,
        context: &Context,
        target: &Target,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        check_scale(target, &body.value)?;
        self.catch_up(Meta::of(&body.value).resource_version())
            .await;
        let is_pinned = !Meta::of(&body.value).resource_version().is_empty();
        self.write_scale(context, target, options, is_pinned, |_| {
            Ok(body.value.clone())
        })
        .await
    }

    pub(crate) async fn patch_scale(
        &self,
        context: &Context,
        target: &Target,
        patch: PatchType,
        body: Body,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        let is_pinned = pins(patch, &body.value);
        self.write_scale(context, target, options, is_pinned, |scale| {
            let mut scale = scale.clone();
            match patch {
                PatchType::Json => json::apply(&mut scale, &body.value)?,
                // A Scale has no lists: the other formats all merge alike.
                _ => merge::apply(&mut scale, &body.value)?,
            }
            check_scale(target, &scale)?;
            Ok(scale)
        })
        .await
    }

    async fn write_scale(
        &self,
        context: &Context,
        target: &Target,
        options: &WriteOptions,
        is_pinned: bool,
        change: impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Written, Status> {
        let (manager, now) = (field_manager(context, options)?, self.now_text());
        let Modified { answer, warnings } = self
            .modify(context, target, options, |old, _| {
                Ok(Change {
                    writer: Some(self.writer(target, &manager, &now)),
                    is_pinned,
                    ..Change::to(change(&scale_of(&target.kind, old)?)?)
                })
            })
            .await?;
        let answer = self.shown_answer(&target.kind, answer).await?;
        let scale = scale_of(&target.kind, &answer.value())?;
        Ok(written(Answer::Rendered(scale), deduplicated(warnings)))
    }

    /// The road of a Scale into its workload: admission judges the Scale, the workload's own rules what comes of it.
    pub(crate) async fn admit_scale(
        &self,
        request: &Request<'_>,
        old: &Value,
        mut scale: Value,
        writer: Option<Writer<'_>>,
    ) -> Result<Admitted, Status> {
        let (target, kind) = (request.target, &request.target.kind);
        let old_scale = scale_of(kind, old)?;
        let request = Request {
            old: Some(&old_scale),
            ..*request
        };
        let mut effects = Effects::of_request(&request);
        request.mutate_by_plugins(&mut scale, &mut effects).await?;
        check_scale(target, &scale)?;
        let mut new = old.clone();
        let applied = kind.apply_scale(&mut new, &scale);
        applied.map_err(|errors| invalid_status("autoscaling", "Scale", &target.name, &errors))?;
        if let Some(writer) = writer {
            writer.update(Some(&versions::tree(kind, old)), &mut new);
        }
        kind.to_stored(&mut new);
        recheck(kind, &mut new)?;
        kind.prepare_update(&mut new, old);
        let errors = kind.validate(&new, Some(old));
        if !errors.is_empty() {
            return Err(kind.invalid(&new, &errors));
        }
        let mut warnings = kind.warnings(&new, Some(old));
        let scale = scale_of(kind, &new)?;
        request
            .validate_by_plugins(Some(&scale), &mut effects)
            .await?;
        warnings.append(&mut effects.warnings);
        Ok(Admitted {
            value: new,
            ops: effects.ops,
            warnings,
            _turn: effects.turn,
        })
    }
}

/// A body that is a Scale of this workload.
fn check_scale(target: &Target, scale: &Value) -> Result<(), Status> {
    let kind = scale["kind"].as_str().unwrap_or("Scale");
    let api_version = scale["apiVersion"].as_str().unwrap_or("autoscaling/v1");
    if kind != "Scale" || api_version != "autoscaling/v1" {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}, Kind={kind}) does not match the expected API version \
             (autoscaling/v1, Kind=Scale)"
        )));
    }
    let meta = Meta::of(scale);
    if !meta.name().is_empty() && meta.name() != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            meta.name(),
            target.name
        )));
    }
    let replicas = &scale["spec"]["replicas"];
    if !replicas.is_null() && !replicas.is_i64() {
        return Err(Status::bad_request(
            "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field \
             ScaleSpec.spec.replicas of type int32",
        ));
    }
    Ok(())
}
