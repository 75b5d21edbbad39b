//! One call: the review that is sent, and what of the reply is believed.

use bytes::Bytes;
use kontiki_api::Kind;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use super::super::Request;
use super::super::review::{Versioned, request_json};
use super::answer;
use super::configuration::Hook;
use crate::write::new_uid;

/// What a hook said.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Why not.
    pub(super) refusal: Option<Status>,
    /// JSON of a JSON patch.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
}

/// Why a hook said nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It failed: its failure policy says what this means.
    Call(String),
    /// The request is not for it, whatever its policy.
    Request(Status),
}

impl Hook {
    /// Asks about a request; the new object is in the stored version.
    pub(super) async fn call(
        &self,
        request: &Request<'_>,
        kind: &Kind,
        new: Option<&Value>,
    ) -> Result<Reply, Failure> {
        if request.dry_run && !self.is_harmless {
            return Err(Failure::Request(Status::bad_request(format!(
                "admission webhook {:?} does not support dry run",
                self.name
            ))));
        }
        let uid = new_uid(&*request.server.options().random);
        let body = self.review(request, kind, new, &uid);
        let timeout = match request.context.timeout {
            Some(left) => left.min(self.timeout),
            None => self.timeout,
        };
        let posted = request.server.post_json(&self.peer, body, timeout).await;
        let reply = posted.map_err(|why| {
            let url = self.peer.destination.shown(self.timeout);
            Failure::Call(format!("failed to call webhook: Post {url:?}: {why}"))
        })?;
        answer::read(self, &uid, &reply)
            .map_err(|why| Failure::Call(format!("received invalid webhook response: {why}")))
    }

    fn review(&self, request: &Request<'_>, kind: &Kind, new: Option<&Value>, uid: &str) -> Bytes {
        let versioned = Versioned::new(request, kind, new);
        let mut asked = request_json(request, &versioned);
        asked.insert("uid".into(), uid.into());
        let object = |found: Option<&Value>| found.cloned().unwrap_or_default();
        asked.insert("object".into(), object(versioned.new.as_deref()));
        asked.insert("oldObject".into(), object(versioned.old.as_deref()));
        let review = json!({
            "apiVersion": self.review_version,
            "kind": "AdmissionReview",
            "request": asked,
        });
        review.to_string().into()
    }
}
