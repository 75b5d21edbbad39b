//! `kontiki.api.v1.ObjectService`: one method a verb.

use kontiki_api::Kinds;
use kontiki_apiserver::{
    Body, Context, DeleteOptions, GetOptions, ListOptions, PatchType, Propagation, Target,
    shown_item,
};
use kontiki_base::status::Status;
use kontiki_proto::api as proto;
use kontiki_proto::api::object_service_server::ObjectService;
use tonic::{Request, Response};

use crate::convert::{answer, creatable, named, object, some, target, write_options};
use crate::face::{Asked, Face};
use crate::{batch, watch};

/// The service.
#[derive(Clone)]
pub struct Service {
    face: Face,
}

impl Service {
    /// What a call is about, among the kinds of this moment.
    fn asked(
        &self,
        method: &'static str,
        verb: &'static str,
        reference: Option<&proto::ObjectRef>,
    ) -> Asked {
        Asked::of(&self.face.api.kinds(), method, verb, reference)
    }

    /// Over an API server.
    pub const fn new(face: Face) -> Self {
        Self { face }
    }

    async fn get_one(
        &self,
        context: &Context,
        request: proto::GetRequest,
    ) -> Result<proto::GetResponse, Status> {
        let target = named(
            &self.face.kinds_for(context, request.r#ref.as_ref()).await?,
            request.r#ref,
        )?;
        let options = GetOptions {
            resource_version: stale(request.allow_stale),
        };
        let got = self.face.api.get(context, &target, &options).await?;
        context.audit.answers(|| got.json());
        Ok(proto::GetResponse {
            object: answer(&target, &got),
        })
    }

    async fn list_page(
        &self,
        context: &Context,
        request: proto::ListRequest,
    ) -> Result<proto::ListResponse, Status> {
        let target = collection(
            &self.face.kinds_for(context, request.r#ref.as_ref()).await?,
            request.r#ref,
        )?;
        let limit = u64::try_from(request.page_size)
            .map_err(|_| Status::bad_request("page_size: must not be negative"))?;
        let options = ListOptions {
            label_selector: some(request.label_selector),
            field_selector: some(request.field_selector),
            limit: if limit == 0 {
                DEFAULT_PAGE_SIZE
            } else {
                limit.min(MAX_PAGE_SIZE)
            },
            continue_: some(request.page_token),
            resource_version: stale(request.allow_stale),
            resource_version_match: None,
        };
        let page = self.face.api.list(context, &target, &options).await?;
        Ok(proto::ListResponse {
            objects: page
                .items
                .iter()
                .map(|item| {
                    let shown = shown_item(&target.kind, item);
                    object(&target.kind, shown.as_ref().unwrap_or(item))
                })
                .collect(),
            revision: page.revision,
            next_page_token: page.continue_,
        })
    }

    async fn patch_one(
        &self,
        context: &Context,
        request: proto::PatchRequest,
    ) -> Result<proto::PatchResponse, Status> {
        use proto::patch_request::Type;
        let patch = match request.r#type() {
            Type::Json => PatchType::Json,
            Type::Merge => PatchType::Merge,
            Type::StrategicMerge => PatchType::Strategic,
            Type::Unspecified => return Err(Status::bad_request("type: Required value")),
        };
        let (target, options) = (
            named(
                &self.face.kinds_for(context, request.r#ref.as_ref()).await?,
                request.r#ref,
            )?,
            write_options(request.options)?,
        );
        let written = self
            .face
            .api
            .patch(
                context,
                &target,
                patch,
                Body::from_json(&request.patch)?,
                &options,
            )
            .await?;
        context.audit.answers(|| written.object.json());
        Ok(proto::PatchResponse {
            object: answer(&target, &written.object),
            warnings: written.warnings,
        })
    }

    async fn apply_one(
        &self,
        context: &Context,
        request: proto::ApplyRequest,
    ) -> Result<proto::ApplyResponse, Status> {
        let (target, options) = (
            named(
                &self.face.kinds_for(context, request.r#ref.as_ref()).await?,
                request.r#ref,
            )?,
            write_options(request.options)?,
        );
        if options.field_manager.is_none() {
            return Err(Status::bad_request("options.field_manager: Required value"));
        }
        let patch = PatchType::Apply {
            force: request.force,
        };
        let written = self
            .face
            .api
            .patch(
                context,
                &target,
                patch,
                Body::from_json(&request.json)?,
                &options,
            )
            .await?;
        context.audit.answers(|| written.object.json());
        Ok(proto::ApplyResponse {
            object: answer(&target, &written.object),
            warnings: written.warnings,
            created: written.created,
        })
    }
}

/// Objects of one page when the client names no size, and at most: a message holds four megabytes.
const DEFAULT_PAGE_SIZE: u64 = 100;
const MAX_PAGE_SIZE: u64 = 500;

fn stale(allow: bool) -> Option<String> {
    allow.then(|| "0".to_owned())
}

/// A target that must name a collection.
pub fn collection(kinds: &Kinds, reference: Option<proto::ObjectRef>) -> Result<Target, Status> {
    let target = target(kinds, reference)?;
    if !target.name.is_empty() || target.subresource.is_some() {
        return Err(Status::bad_request(
            "ref: names one object, not a collection",
        ));
    }
    Ok(target)
}

/// Creates; also as part of a batch.
pub async fn create(
    face: &Face,
    context: &Context,
    request: proto::CreateRequest,
) -> Result<proto::CreateResponse, Status> {
    let (target, options) = (
        creatable(
            &face.kinds_for(context, request.r#ref.as_ref()).await?,
            request.r#ref,
        )?,
        write_options(request.options)?,
    );
    let written = face
        .api
        .create(context, &target, Body::from_json(&request.json)?, &options)
        .await?;
    context.audit.answers(|| written.object.json());
    Ok(proto::CreateResponse {
        object: answer(&target, &written.object),
        warnings: written.warnings,
    })
}

/// Replaces; also as part of a batch.
pub async fn update(
    face: &Face,
    context: &Context,
    request: proto::UpdateRequest,
) -> Result<proto::UpdateResponse, Status> {
    let (target, options) = (
        named(
            &face.kinds_for(context, request.r#ref.as_ref()).await?,
            request.r#ref,
        )?,
        write_options(request.options)?,
    );
    let written = face
        .api
        .update(context, &target, Body::from_json(&request.json)?, &options)
        .await?;
    context.audit.answers(|| written.object.json());
    Ok(proto::UpdateResponse {
        object: answer(&target, &written.object),
        warnings: written.warnings,
    })
}

/// Deletes; also as part of a batch.
pub async fn delete(
    face: &Face,
    context: &Context,
    request: proto::DeleteRequest,
) -> Result<proto::DeleteResponse, Status> {
    let (target, options) = deletion(
        &face.kinds_for(context, request.r#ref.as_ref()).await?,
        request,
    )?;
    let written = face.api.delete(context, &target, &options).await?;
    context.audit.answers(|| written.object.json());
    Ok(proto::DeleteResponse {
        object: answer(&target, &written.object),
    })
}

/// What a delete names, and how.
pub fn deletion(
    kinds: &Kinds,
    request: proto::DeleteRequest,
) -> Result<(Target, DeleteOptions), Status> {
    let target = named(kinds, request.r#ref)?;
    let propagation = match request.propagation_policy.as_str() {
        "" => None,
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        other => {
            let message = format!("propagation_policy: Unsupported value: {other:?}");
            return Err(Status::bad_request(message));
        }
    };
    let revision = request.precondition_revision;
    let options = DeleteOptions {
        grace_period_seconds: request.grace_period_seconds,
        propagation,
        orphan_dependents: None,
        uid: some(request.precondition_uid),
        resource_version: (revision > 0).then(|| revision.to_string()),
        dry_run: write_options(request.options)?.dry_run,
    };
    Ok((target, options))
}

#[tonic::async_trait]
impl ObjectService for Service {
    type WatchStream = watch::Responses;

    async fn get(
        &self,
        request: Request<proto::GetRequest>,
    ) -> Result<Response<proto::GetResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Get";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "get", request.get_ref().r#ref.as_ref());
        self.face
            .unary(
                &context,
                &asked,
                self.get_one(&context, request.into_inner()),
            )
            .await
    }

    async fn list(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/List";
        let context = self.face.context(method, &request)?;
        let asked = self
            .asked(method, "list", request.get_ref().r#ref.as_ref())
            .page_size(request.get_ref().page_size);
        self.face
            .unary(
                &context,
                &asked,
                self.list_page(&context, request.into_inner()),
            )
            .await
    }

    async fn watch(
        &self,
        request: Request<proto::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Watch";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "watch", request.get_ref().r#ref.as_ref());
        watch::start(&self.face, &context, &asked, request.into_inner()).await
    }

    async fn create(
        &self,
        request: Request<proto::CreateRequest>,
    ) -> Result<Response<proto::CreateResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Create";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "create", request.get_ref().r#ref.as_ref());
        self.face
            .unary(
                &context,
                &asked,
                create(&self.face, &context, request.into_inner()),
            )
            .await
    }

    async fn update(
        &self,
        request: Request<proto::UpdateRequest>,
    ) -> Result<Response<proto::UpdateResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Update";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "update", request.get_ref().r#ref.as_ref());
        self.face
            .unary(
                &context,
                &asked,
                update(&self.face, &context, request.into_inner()),
            )
            .await
    }

    async fn patch(
        &self,
        request: Request<proto::PatchRequest>,
    ) -> Result<Response<proto::PatchResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Patch";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "patch", request.get_ref().r#ref.as_ref());
        self.face
            .unary(
                &context,
                &asked,
                self.patch_one(&context, request.into_inner()),
            )
            .await
    }

    async fn apply(
        &self,
        request: Request<proto::ApplyRequest>,
    ) -> Result<Response<proto::ApplyResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Apply";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "patch", request.get_ref().r#ref.as_ref());
        self.face
            .unary(
                &context,
                &asked,
                self.apply_one(&context, request.into_inner()),
            )
            .await
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteRequest>,
    ) -> Result<Response<proto::DeleteResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Delete";
        let context = self.face.context(method, &request)?;
        let asked = self.asked(method, "delete", request.get_ref().r#ref.as_ref());
        self.face
            .unary(
                &context,
                &asked,
                delete(&self.face, &context, request.into_inner()),
            )
            .await
    }

    async fn batch(
        &self,
        request: Request<proto::BatchRequest>,
    ) -> Result<Response<proto::BatchResponse>, tonic::Status> {
        let method = "/kontiki.api.v1.ObjectService/Batch";
        let context = self.face.context(method, &request)?;
        let asked = Asked::call(method);
        self.face
            .unary(
                &context,
                &asked,
                batch::run(&self.face, &context, request.into_inner()),
            )
            .await
    }
}
