//! The scale subresource: a Scale made of a workload, and a workload changed by a Scale.

use kontiki_api::Kind;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_state::Object;
use serde_json::Value;

use crate::body::Body;
use crate::modify::{Change, Modified};
use crate::options::{Answer, Context, PatchType, Target, WriteOptions, Written};
use crate::patch::{json, merge};
use crate::server::ApiServer;
use crate::verbs::patch::pins;
use crate::verbs::update::deduplicated;
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
        let workload = Target {
            subresource: None,
            ..target.clone()
        };
        let Modified { answer, warnings } = self
            .modify(context, &workload, options.dry_run, |old, _| {
                let scale = change(&scale_of(&target.kind, old)?)?;
                let mut new = old.clone();
                target
                    .kind
                    .apply_scale(&mut new, &scale)
                    .map_err(|errors| {
                        let name = &target.name;
                        kontiki_api::field_error::invalid_status(
                            "autoscaling",
                            "Scale",
                            name,
                            &errors,
                        )
                    })?;
                Ok(Change {
                    writer: Some(self.writer(target, &manager, &now)),
                    is_pinned,
                    ..Change::to(new)
                })
            })
            .await?;
        let answer = self.shown_answer(&target.kind, answer).await?;
        let scale = scale_of(&target.kind, &answer.value())?;
        Ok(written(Answer::Rendered(scale), deduplicated(warnings)))
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
