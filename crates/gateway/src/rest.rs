//! One handler for the resources of every kind: from (method, target) to a verb of the API server and back.

use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use kontiki_api::Subresource;
use kontiki_api::discovery::{group_version, subresource_kind, verbs};
use kontiki_apiserver::relay::TakesOver;
use kontiki_apiserver::{Answer, Context, PatchType, Propagation, Target, Written};
use kontiki_base::limits::AUDIT_OBJECT_BYTES;
use kontiki_base::status::Status;

use crate::accept::{self, Offer, Shape};
use crate::codec::{self, BodyFormat, Expected};
use crate::invalid::{Invalid, forbidden, required};
use crate::path::{self, Resource};
use crate::query::{self, Query};
use crate::respond::{self, Response, Style};
use crate::route::{Parsed, is_watch};
use crate::router::Gateway;
use crate::shape::Shaper;
use crate::streams::told::Listener;
use crate::{body, delete, list, logs, streams, watch};

/// What the steps of one request share.
struct Call<'a> {
    gateway: &'a Gateway,
    resource: &'a Resource,
    query: &'a Query,
    context: Context,
    headers: HeaderMap,
    shaper: Shaper,
    style: Style,
    /// A gateway of its own process goes on with a watch.
    takes_over: bool,
}

/// Serves a request for a resource.
pub async fn serve(
    gateway: &Arc<Gateway>,
    resource: &Resource,
    parsed: &Parsed,
    mut context: Context,
    mut request: Request,
) -> Result<Response, Status> {
    check_method(request.method(), resource)?;
    if resource
        .target
        .subresource
        .is_some_and(Subresource::connects)
    {
        return Ok(streams::serve(gateway, resource, parsed, context, request).await);
    }
    let is_log = resource.target.subresource == Some(Subresource::Log);
    let follows = is_log || request.method() == Method::GET && is_watch(resource, &parsed.query);
    let listener = match Listener::of(&mut request).filter(|_| follows).transpose() {
        Ok(listener) => listener,
        Err(refused) => return Ok(refused.into_response()),
    };
    let (parts, content) = request.into_parts();
    let (query, kind) = (&parsed.query, &resource.target.kind);
    context.timeout = parsed.timeout;
    if is_log {
        let options = query::log_options(query)?;
        let started = gateway.api.logs(&context, &resource.target, options).await;
        return match listener {
            Some(listener) => Ok(logs::tell(listener, context, started)),
            None => logs::answer(started),
        };
    }
    // Before anything is written: an answer that the client can't read must not follow a write.
    let offer = Offer::of_kind(kind);
    let accepted = accept::negotiate(&parts.headers, offer)?;
    let shaper = Shaper::new(kind.clone(), accepted, query, gateway.now_unix_ms())?;
    let style = Style::of(&parts.headers, accepted.format, query.pretty());
    let call = Call {
        gateway,
        resource,
        query,
        context,
        headers: parts.headers,
        shaper,
        style,
        takes_over: parts.extensions.get::<TakesOver>().is_some(),
    };
    let mut answered = match parts.method {
        Method::GET if is_watch(resource, query) => call.watch(listener).await,
        Method::GET if resource.is_collection() => call.list().await,
        Method::GET => call.get().await,
        Method::DELETE => call.delete(content).await,
        Method::PATCH => call.patch(content).await,
        Method::PUT => call.update(content).await,
        _ => call.create(content).await,
    };
    if let (Ok(response), Some(warning)) = (&mut answered, kind.deprecation()) {
        respond::warn(response, &[warning.to_owned()]);
    }
    answered
}

/// 405 where the path exists and the method does not.
fn check_method(method: &Method, resource: &Resource) -> Result<(), Status> {
    let allowed: &[Method] = match resource.target.subresource {
        _ if resource.watch => &[Method::GET],
        Some(Subresource::Log) => &[Method::GET],
        Some(
            Subresource::Status
            | Subresource::Scale
            | Subresource::Approval
            | Subresource::EphemeralContainers
            | Subresource::Resize,
        ) => &[Method::GET, Method::PUT, Method::PATCH],
        Some(Subresource::Finalize) => &[Method::PUT],
        Some(Subresource::Exec | Subresource::Attach | Subresource::PortForward) => {
            &[Method::GET, Method::POST]
        }
        Some(Subresource::Proxy) => &[
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::HEAD,
            Method::OPTIONS,
        ],
        Some(Subresource::Binding | Subresource::Eviction | Subresource::Token) => &[Method::POST],
        None if resource.is_nowhere() => &[],
        None if resource.target.kind.review().is_some() => &[Method::POST],
        None if resource.target.kind.is_observed() => &[Method::GET],
        None if resource.is_all_namespaces() => &[Method::GET],
        None if !resource.is_collection() => {
            &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE]
        }
        None if verbs(&resource.target.kind).contains(&"deletecollection") => {
            &[Method::GET, Method::POST, Method::DELETE]
        }
        None => &[Method::GET, Method::POST],
    };
    if allowed.contains(method) {
        Ok(())
    } else {
        Err(path::no_such_method())
    }
}

impl Call<'_> {
    fn target(&self) -> &Target {
        &self.resource.target
    }

    async fn get(&self) -> Result<Response, Status> {
        let options = query::get_options(self.query);
        let answer = self
            .gateway
            .api
            .get(&self.context, self.target(), &options)
            .await?;
        Ok(self.answer(StatusCode::OK, &answer))
    }

    async fn list(&self) -> Result<Response, Status> {
        let options = query::list_options(self.query)?;
        let page = self
            .gateway
            .api
            .list(&self.context, self.target(), &options)
            .await?;
        self.list_answer(page).await
    }

    /// A page as an answer, which the audit log may want as well.
    async fn list_answer(&self, page: kontiki_apiserver::Page) -> Result<Response, Status> {
        let audit = &self.context.audit;
        if audit.wants_answer() {
            match list::within(&page, self.shaper.clone(), AUDIT_OBJECT_BYTES) {
                Some(json) => audit.answers(|| json.into()),
                None => audit.answers_too_much(),
            }
        }
        list::answer(page, self.shaper.clone(), self.style).await
    }

    async fn watch(&self, listener: Option<Listener>) -> Result<Response, Status> {
        let options = query::watch_options(self.query)?;
        if self.style.format.stream_type().is_none() {
            let kind = &self.shaper.kind;
            let offer = Offer::of_kind(kind);
            return Err(accept::stream_not_acceptable(offer));
        }
        let (api, context, target) = (&self.gateway.api, &self.context, self.target());
        let (shaper, format) = (self.shaper.clone(), self.style.format);
        let encoded = self.gateway.encoded.clone();
        if self.takes_over {
            let begun = api.begin_watch(context, target, &options).await;
            return watch::beginning(begun, shaper, format, encoded);
        }
        let started = api.watch(context, target, &options).await;
        let Some(listener) = listener else {
            return watch::answer(started, shaper, format, encoded);
        };
        Ok(match watch::messages(started, shaper, format, encoded) {
            Ok(messages) => listener.tell(context.clone(), messages),
            Err(status) => streams::refuse(&status),
        })
    }

    async fn create(&self, content: axum::body::Body) -> Result<Response, Status> {
        let options = query::write_options(self.query, "CreateOptions")?;
        let body = self.decode(content).await?;
        let written = self
            .gateway
            .api
            .create(&self.context, self.target(), body, &options)
            .await?;
        Ok(self.written(&written))
    }

    async fn update(&self, content: axum::body::Body) -> Result<Response, Status> {
        let options = query::write_options(self.query, "UpdateOptions")?;
        let body = self.decode(content).await?;
        let written = self
            .gateway
            .api
            .update(&self.context, self.target(), body, &options)
            .await?;
        Ok(self.written(&written))
    }

    async fn patch(&self, content: axum::body::Body) -> Result<Response, Status> {
        let (patch, format) = patch_type(&self.headers, self.query)?;
        let options = query::write_options(self.query, "PatchOptions")?;
        let mut invalid = Invalid::of("PatchOptions");
        match patch {
            PatchType::Apply { .. } if options.field_manager.is_none() => {
                invalid.push(required("fieldManager", "is required for apply patch"));
            }
            PatchType::Apply { .. } => {}
            _ if self.query.get("force").is_some() => {
                invalid.push(forbidden(
                    "force",
                    "may not be specified for non-apply patch",
                ));
            }
            _ => {}
        }
        invalid.finish()?;
        let bytes = body::read(&self.headers, content).await?;
        // Patches are never protobuf, hence of no type.
        let (api_version, kind) = ("", "");
        let body = format.decode(&bytes, Expected { api_version, kind })?;
        let api = &self.gateway.api;
        let written = api
            .patch(&self.context, self.target(), patch, body, &options)
            .await?;
        Ok(self.written(&written))
    }

    async fn delete(&self, content: axum::body::Body) -> Result<Response, Status> {
        let bytes = body::read(&self.headers, content).await?;
        let options = if bytes.is_empty() {
            delete::from_query(self.query)?
        } else {
            let expected = Expected::DELETE_OPTIONS;
            let format = BodyFormat::of(&self.headers, expected)?;
            let body = format.decode(&bytes, expected)?.value;
            self.context.audit.sends(&body);
            delete::from_body(body)?
        };
        let api = &self.gateway.api;
        if self.resource.is_collection() {
            let select = query::list_options(self.query)?;
            let page = api
                .delete_collection(&self.context, self.target(), &options, &select)
                .await?;
            return self.list_answer(page).await;
        }
        let written = api.delete(&self.context, self.target(), &options).await?;
        // Upstream's one 202: a foreground deletion that still waits for dependents.
        let waits = options.propagation == Some(Propagation::Foreground)
            && matches!(written.object, Answer::Object(_));
        let code = if waits {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        let mut response = self.answer(code, &written.object);
        respond::warn(&mut response, &written.warnings);
        Ok(response)
    }

    async fn decode(&self, content: axum::body::Body) -> Result<kontiki_apiserver::Body, Status> {
        let kind = &self.target().kind;
        let (group, version, kind) = match self.target().subresource {
            Some(subresource) => subresource_kind(kind, subresource),
            None => (kind.group(), kind.version(), kind.kind()),
        };
        let expected = Expected {
            api_version: &group_version(group, version),
            kind,
        };
        let format = BodyFormat::of(&self.headers, expected)?;
        format.decode(&body::read(&self.headers, content).await?, expected)
    }

    fn written(&self, written: &Written) -> Response {
        let code = if written.created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let mut response = self.answer(code, &written.object);
        respond::warn(&mut response, &written.warnings);
        response
    }

    fn answer(&self, code: StatusCode, answer: &Answer) -> Response {
        self.context.audit.answers(|| answer.json());
        match answer {
            Answer::Object(object) => {
                let bytes = if self.shaper.shape == Shape::Object {
                    object.json()
                } else {
                    let mut shaped = Vec::new();
                    self.shaper.write(object, &mut shaped);
                    Bytes::from(shaped)
                };
                respond::json_bytes(code, bytes, self.style)
            }
            Answer::Rendered(tree) if self.is_plain(tree) => respond::value(code, tree, self.style),
            Answer::Rendered(tree) => {
                let revision = tree["metadata"]["resourceVersion"].as_str().unwrap_or("");
                let mut shaped = Vec::new();
                self.shaper
                    .write_json(tree.to_string().as_bytes(), revision, &mut shaped);
                respond::json_bytes(code, shaped.into(), self.style)
            }
        }
    }

    /// Whether a rendered answer goes out as it is: also everything that is not of the kind (Status, Scale).
    fn is_plain(&self, tree: &serde_json::Value) -> bool {
        let kind = &self.shaper.kind;
        self.shaper.shape == Shape::Object || tree["kind"] != kind.kind()
    }
}

/// How a patch reads, from its content type.
fn patch_type(headers: &HeaderMap, query: &Query) -> Result<(PatchType, BodyFormat), Status> {
    Ok(match codec::media_type(headers) {
        "application/json-patch+json" => (PatchType::Json, BodyFormat::Json),
        "application/merge-patch+json" => (PatchType::Merge, BodyFormat::Json),
        "application/strategic-merge-patch+json" => (PatchType::Strategic, BodyFormat::Json),
        "application/apply-patch+yaml" => (
            PatchType::Apply {
                force: query.flag("force"),
            },
            BodyFormat::Yaml,
        ),
        _ => {
            return Err(codec::unsupported(
                "application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json, application/apply-patch+yaml",
            ));
        }
    })
}
