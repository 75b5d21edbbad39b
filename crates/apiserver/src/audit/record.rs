//! The record of one request while it is served.
//!
//! ```text
//! begin ─▶ about (the policy decides) ─ RequestReceived ─▶ started ─ ResponseStarted ─▶ complete ─ ResponseComplete
//!                                                                    └ dropped unanswered: ResponseComplete or Panic
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::Subresource;
use kontiki_api::audit::{Decision, Level, Stage};
use kontiki_api::meta::Meta;
use kontiki_api::request_info::{RequestInfo, Resource, Subject};
use kontiki_base::limits::AUDIT_OBJECT_BYTES;
use kontiki_base::status::{Reason, Status};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::event::Entry;
use super::{About, Inner, Received};
use crate::options::{Target, User};

/// Says that an object was too large to be recorded (upstream's truncating backend).
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// Says that the policy wanted an object which is sealed at rest, and is not written beside it in plain.
const SEALED: &str = "kontiki.io/sealed-at-rest";

/// A handle on a request's record; of a request that is not recorded it does nothing.
#[derive(Clone, Default)]
pub struct Trail(Option<Arc<Record>>);

struct Record {
    auditor: Arc<Inner>,
    received: Arc<Received>,
    received_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None until it is known what the request is about.
    decision: Option<Decision>,
    verb: String,
    object_ref: Option<Value>,
    impersonated: Option<User>,
    annotations: Vec<(String, String)>,
    request_object: Option<Bytes>,
    response_object: Option<Bytes>,
    response_status: Option<Value>,
    is_complete: bool,
}

impl Trail {
    pub(super) fn new(auditor: Arc<Inner>, received: Received) -> Self {
        let received_ms = auditor.clock.unix_ms();
        Self(Some(Arc::new(Record {
            auditor,
            received: Arc::new(received),
            received_ms,
            state: Mutex::default(),
        })))
    }

    /// The record of a part of the request: a write of a batch.
    pub fn part(&self) -> Self {
        Self(self.0.as_ref().map(|record| {
            Arc::new(Record {
                auditor: Arc::clone(&record.auditor),
                received: Arc::clone(&record.received),
                received_ms: record.received_ms,
                state: Mutex::new(State {
                    impersonated: record.state.lock().impersonated.clone(),
                    ..State::default()
                }),
            })
        }))
    }

    /// Nothing, once it is known that the policy records nothing.
    pub(super) fn if_recorded(self) -> Self {
        let level = self.level();
        if level == Level::None {
            Self(None)
        } else {
            self
        }
    }

    fn level(&self) -> Level {
        let decision = self.0.as_ref().and_then(|it| it.state.lock().decision);
        decision.map_or(Level::None, |decision| decision.level)
    }

    fn note(&self, note: impl FnOnce(&mut State)) {
        if let Some(record) = &self.0 {
            note(&mut record.state.lock());
        }
    }

    /// The id of the request; none of one that is not recorded.
    pub fn id(&self) -> Option<&str> {
        self.0
            .as_ref()
            .map(|record| record.received.audit_id.as_str())
    }

    /// Tells what the request is about, unless that is known.
    pub fn about(&self, about: impl FnOnce() -> About) {
        if let Some(record) = &self.0 {
            record.decide(about, true);
        }
    }

    /// Whom the request acts as.
    pub fn impersonates(&self, user: &User) {
        self.note(|state| state.impersonated = Some(user.clone()));
    }

    /// Notes something; what is noted first stays.
    pub fn annotate(&self, key: &str, value: impl FnOnce() -> String) {
        self.note(|state| {
            if !state.annotations.iter().any(|(known, _)| known == key) {
                state.annotations.push((key.to_owned(), value()));
            }
        });
    }

    /// The body of the request; it names the object where the path does not.
    pub fn sends(&self, body: &Value) {
        if self.level() == Level::None {
            return;
        }
        self.note(|state| {
            if let Some(object_ref) = &mut state.object_ref {
                complete_ref(object_ref, body);
            }
            if state.decision.is_some_and(|it| it.level >= Level::Request) {
                let body = Bytes::from(body.to_string());
                state.request_object = state.fitting(body);
            }
        });
    }

    /// Whether the policy wants the answer.
    pub fn wants_answer(&self) -> bool {
        self.level() == Level::RequestResponse
    }

    /// The answer's JSON, if the policy wants it.
    pub fn answers(&self, json: impl FnOnce() -> Bytes) {
        if self.wants_answer() {
            let json = json();
            self.note(|state| state.response_object = state.fitting(json));
        }
    }

    /// The answer is more than can be recorded.
    pub fn answers_too_much(&self) {
        self.annotate(TRUNCATED, || "true".into());
    }

    /// A long answer begins.
    pub fn started(&self, code: u16) {
        if let Some(record) = &self.0 {
            let mut state = record.state.lock();
            state.response_status = Some(success(code));
            record.emit(&state, Stage::ResponseStarted);
        }
    }

    /// The answer has been made: its code, and the `Status` of a failure.
    pub fn complete(&self, code: u16, failure: Option<&Value>) {
        if let Some(record) = &self.0 {
            record.complete(code, failure, Stage::ResponseComplete);
        }
    }

    /// The same of a verb's outcome.
    pub fn complete_with(&self, outcome: Result<u16, &Status>) {
        if self.0.is_some() {
            match outcome {
                Ok(code) => self.complete(code, None),
                Err(status) => self.complete(status.http_code(), Some(&status.to_json())),
            }
        }
    }

    /// A request that never got as far as a user: one event, at the stage where upstream has it.
    pub fn refused(&self, about: impl FnOnce() -> About, status: &Status, why: &str) {
        if let Some(record) = &self.0 {
            record.decide(about, false);
            let mut tree = failure(status.http_code(), &status.to_json());
            tree["message"] = why.into();
            let mut state = record.state.lock();
            state.response_status = Some(tree);
            state.is_complete = true;
            record.emit(&state, Stage::ResponseStarted);
        }
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trail").field(&self.id()).finish()
    }
}

impl State {
    /// The object, unless it is too large.
    fn fitting(&mut self, json: Bytes) -> Option<Bytes> {
        if json.len() <= AUDIT_OBJECT_BYTES {
            return Some(json);
        }
        let is_truncated = |(key, _): &(String, String)| key == TRUNCATED;
        if !self.annotations.iter().any(is_truncated) {
            self.annotations.push((TRUNCATED.into(), "true".into()));
        }
        None
    }
}

impl Record {
    fn decide(&self, about: impl FnOnce() -> About, announces: bool) {
        let mut state = self.state.lock();
        if state.decision.is_some() {
            return;
        }
        let About { verb, target } = about();
        let path = self.received.uri.split('?').next().unwrap_or_default();
        let user = self.received.user.as_ref();
        let mut decision = self.auditor.policy.decide(&RequestInfo {
            subject: user.map(|user| Subject {
                name: &user.name,
                groups: &user.groups,
            }),
            verb: &verb,
            path,
            resource: target.as_ref().map(resource_of),
        });
        let is_sealed = |target: &Target| self.auditor.sealed.contain(target.kind.resource());
        if decision.level > Level::Metadata && target.as_ref().is_some_and(is_sealed) {
            decision.level = Level::Metadata;
            state.annotations.push((SEALED.into(), "true".into()));
        }
        state.decision = Some(decision);
        state.object_ref = target.as_ref().map(object_ref);
        state.verb = verb;
        if announces {
            self.emit(&state, Stage::RequestReceived);
        }
    }

    fn complete(&self, code: u16, status: Option<&Value>, stage: Stage) {
        // A call that never came to its subject is about its path.
        let about = || About {
            verb: "post".into(),
            target: None,
        };
        self.decide(about, true);
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.is_complete, true) {
            return;
        }
        let level = state.decision.map_or(Level::None, |it| it.level);
        state.response_status = Some(match status {
            Some(status) => failure(code, status),
            None => success(code),
        });
        if let Some(status) = status
            && level == Level::RequestResponse
        {
            state.response_object = Some(Bytes::from(status.to_string()));
        }
        self.emit(&state, stage);
    }

    fn emit(&self, state: &State, stage: Stage) {
        let Some(decision) = state.decision.filter(|decision| decision.records(stage)) else {
            return;
        };
        self.auditor.queue.put(Entry {
            received: Arc::clone(&self.received),
            received_ms: self.received_ms,
            stage,
            stage_ms: self.auditor.clock.unix_ms(),
            decision,
            verb: state.verb.clone(),
            impersonated: state.impersonated.clone(),
            object_ref: state.object_ref.clone(),
            response_status: state.response_status.clone(),
            request_object: state.request_object.clone(),
            response_object: state.response_object.clone(),
            annotations: state.annotations.clone(),
        });
    }
}

impl Drop for Record {
    /// Whoever held the request let it go: the client left, a long answer ended, or its handler panicked.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if state.is_complete {
            return;
        }
        if std::thread::panicking() {
            let status = Status::internal("the handler panicked");
            return self.complete(500, Some(&status.to_json()), Stage::Panic);
        }
        if state.response_status.is_some() {
            return self.emit(&self.state.lock(), Stage::ResponseComplete);
        }
        let status = Status::new(Reason::Timeout, "the client left before it was answered");
        self.complete(504, Some(&status.to_json()), Stage::ResponseComplete);
    }
}

fn success(code: u16) -> Value {
    json!({"metadata": {}, "code": code})
}

/// What events keep of a failure's `Status`.
fn failure(code: u16, status: &Value) -> Value {
    let mut kept = json!({"metadata": {}, "status": "Failure", "code": code});
    for field in ["message", "reason", "details"] {
        if let Some(value) = status.get(field) {
            kept[field] = value.clone();
        }
    }
    kept
}

pub(crate) fn resource_of(target: &Target) -> Resource<'_> {
    Resource {
        group: target.kind.group(),
        version: target.kind.version(),
        resource: target.kind.plural(),
        subresource: target.subresource.map_or("", Subresource::name),
        // As in a URL, a namespace lies in itself.
        namespace: if target.kind.plural() == "namespaces" && target.kind.group().is_empty() {
            &target.name
        } else {
            &target.namespace
        },
        name: &target.name,
    }
}

fn object_ref(target: &Target) -> Value {
    let resource = resource_of(target);
    let mut object_ref = json!({"resource": resource.resource, "apiVersion": resource.version});
    for (field, value) in [
        ("namespace", resource.namespace),
        ("name", resource.name),
        ("apiGroup", resource.group),
        ("subresource", resource.subresource),
    ] {
        if !value.is_empty() {
            object_ref[field] = value.into();
        }
    }
    object_ref
}

/// Fills in what the path left open.
fn complete_ref(object_ref: &mut Value, body: &Value) {
    let meta = Meta::of(body);
    for (field, value) in [
        ("namespace", meta.namespace()),
        ("name", meta.name()),
        ("uid", meta.uid()),
        ("resourceVersion", meta.resource_version()),
    ] {
        if !value.is_empty() && object_ref.get(field).is_none() {
            object_ref[field] = value.into();
        }
    }
}
