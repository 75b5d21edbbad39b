//! `Watch`: changes with resume tokens. A token is the revision that the client has seen completely, so it holds on
//! every replica; while the present objects are still being sent there is none, because they come in order of name.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, future};
use kontiki_api::Kind;
use kontiki_apiserver::{Context, WatchEvent, WatchOptions};
use kontiki_base::status::Status;
use kontiki_proto::api as proto;
use kontiki_proto::api::watch_response::Type;
use kontiki_state::Object;
use tonic::Response;

use crate::convert::{object, some, target};
use crate::error::to_tonic;
use crate::face::{Asked, Face};

/// The stream of a watch.
pub type Responses =
    Pin<Box<dyn Stream<Item = Result<proto::WatchResponse, tonic::Status>> + Send>>;

/// Starts a watch.
pub async fn start(
    face: &Face,
    context: &Context,
    asked: &Asked,
    request: proto::WatchRequest,
) -> Result<Response<Responses>, tonic::Status> {
    let refused = |status: Status| to_tonic(&status);
    let kinds = face
        .kinds_for(context, request.r#ref.as_ref())
        .await
        .map_err(refused)?;
    let target = target(&kinds, request.r#ref).map_err(refused)?;
    let resumes = !request.resume_token.is_empty();
    if resumes && request.resume_token.parse::<u64>().is_err() {
        return Err(refused(Status::bad_request(
            "resume_token: not one of this server's",
        )));
    }
    let options = WatchOptions {
        label_selector: some(request.label_selector),
        field_selector: some(request.field_selector),
        resource_version: some(request.resume_token),
        resource_version_match: (!resumes).then(|| "NotOlderThan".to_owned()),
        bookmarks: request.bookmarks || !resumes,
        send_initial_events: (!resumes).then_some(true),
        timeout: context.timeout,
    };
    // Held until the watch has begun.
    let seat = face.seat(context, asked).await;
    let events = match seat {
        Ok(_seat) => face.api.watch(context, &target, &options).await,
        Err(status) => Err(status),
    };
    let events = events.map_err(|status| {
        context.audit.complete_with(Err(&status));
        refused(status)
    })?;
    let audit = context.audit.clone();
    audit.started(200);
    let mut writer = Writer {
        kind: target.kind.clone(),
        is_complete: resumes,
        bookmarks: request.bookmarks,
    };
    let responses = events.filter_map(move |event| {
        // The record is complete once the stream is let go.
        let _held = &audit;
        future::ready(match event {
            Ok(event) => writer.response(&event).map(Ok),
            Err(status) => Some(Err(to_tonic(&status))),
        })
    });
    Ok(Response::new(responses.boxed()))
}

struct Writer {
    kind: Kind,
    /// The present objects have all been sent.
    is_complete: bool,
    bookmarks: bool,
}

impl Writer {
    fn response(&mut self, event: &WatchEvent) -> Option<proto::WatchResponse> {
        let (kind, revision, object) = match event {
            WatchEvent::Added(object) => (Type::Added, object.revision, Some(object)),
            WatchEvent::Modified(object) => (Type::Modified, object.revision, Some(object)),
            WatchEvent::Deleted(object) => (Type::Deleted, object.revision, Some(object)),
            WatchEvent::Bookmark {
                revision,
                initial_end: true,
            } => {
                self.is_complete = true;
                (Type::InitialEnd, *revision, None)
            }
            WatchEvent::Bookmark { .. } if !self.bookmarks => return None,
            WatchEvent::Bookmark { revision, .. } => (Type::Bookmark, *revision, None),
        };
        Some(proto::WatchResponse {
            r#type: kind.into(),
            object: object.map(|stored: &std::sync::Arc<Object>| self::object(&self.kind, stored)),
            resume_token: if self.is_complete {
                revision.to_string()
            } else {
                String::new()
            },
        })
    }
}
