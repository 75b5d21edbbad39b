//! Watches that a replica begins and this process goes on with.

use std::sync::Arc;

use axum::body::Body;
use futures::StreamExt as _;
use http::header::UPGRADE;
use http::{HeaderMap, Method};
use kontiki_api::Kind;
use kontiki_apiserver::relay::Watches;
use kontiki_apiserver::{Target, WatchOptions};
use kontiki_base::clock::SystemClock;
use kontiki_base::status::Status;
use kontiki_state::Revision;

use super::rings::Ring;
use crate::accept::{self, Format, Offer};
use crate::query;
use crate::respond::Response;
use crate::route::{Parsed, Route, is_watch};
use crate::shape::Shaper;
use crate::watch::{self, Encoded, GOES_ON};

/// What all watches share.
#[derive(Default)]
pub struct TakeOver {
    watches: Watches,
    encoded: Arc<Encoded>,
}

/// A watch that can be taken over.
pub struct Prepared {
    target: Target,
    options: WatchOptions,
    shaper: Shaper,
    format: Format,
}

/// Makes ready for a watch; none when the request is no watch, or one that a replica has to serve or to refuse.
pub fn prepare(parsed: &Parsed, method: &Method, headers: &HeaderMap) -> Option<Prepared> {
    let Route::Resource(resource) = &parsed.route else {
        return None;
    };
    let target = &resource.target;
    let is_one = *method == Method::GET
        && is_watch(resource, &parsed.query)
        && target.subresource.is_none()
        && target.kind.review().is_none()
        && !headers.contains_key(UPGRADE);
    if !is_one {
        return None;
    }
    let options = query::watch_options(&parsed.query).ok()?;
    let offer = Offer::of_kind(&target.kind);
    let accepted = accept::negotiate(headers, offer).ok()?;
    accepted.format.stream_type()?;
    let now_unix_ms = SystemClock::shared().unix_ms();
    let (kind, query) = (target.kind.clone(), &parsed.query);
    let shaper = Shaper::new(kind, accepted, query, now_unix_ms);
    Some(Prepared {
        shaper: shaper.ok()?,
        target: target.clone(),
        options,
        format: accepted.format,
    })
}

/// The revision after which a watch goes on that a replica has begun; none of any other answer.
pub fn goes_on(answer: &mut Response) -> Result<Option<Revision>, Status> {
    let Some(from) = answer.headers_mut().remove(GOES_ON) else {
        return Ok(None);
    };
    let from = from.to_str().ok().and_then(|text| text.parse().ok());
    let unreadable = || Status::internal("a replica began a watch at no revision");
    from.map(Some).ok_or_else(unreadable)
}

impl Prepared {
    /// The kind whose ring is needed.
    pub fn kind(&self) -> &Kind {
        &self.target.kind
    }

    /// Puts the events of the ring behind what a replica began.
    pub fn go_on(
        self,
        shared: &TakeOver,
        ring: Arc<Ring>,
        from: Revision,
        begun: Response,
    ) -> Result<Response, Status> {
        let relay = ring.relay.clone();
        let events = shared
            .watches
            .follow(relay, &self.target, &self.options, from)?;
        let encoded = Arc::clone(&shared.encoded);
        let frames = watch::frames(events, self.shaper, self.format, encoded).map(move |frame| {
            // The ring lives as long as somebody watches it.
            let _held = &ring;
            Ok(frame)
        });
        let (parts, body) = begun.into_parts();
        // A beginning that is cut ends the watch: an error is the last thing that is read of a body.
        let body = Body::from_stream(body.into_data_stream().chain(frames));
        Ok(Response::from_parts(parts, body))
    }
}
