//! What a request says and what an answer holds: the vocabulary between the faces and the verbs.
//!
//! Names follow upstream's option kinds (`ListOptions`, `DeleteOptions`, ...); parsing them from a query string or a
//! protobuf message is the faces' work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_api::Kind;
use kontiki_api::Subresource;
use kontiki_api::meta::Meta;
use kontiki_base::status::Status;
use kontiki_state::{Object, Revision};
use serde_json::Value;

use crate::audit::Trail;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name: a certificate's CN.
    pub name: String,
    /// Unique id, when the authenticator knows one.
    pub uid: String,
    /// Groups: a certificate's O, plus `system:authenticated`.
    pub groups: Vec<String>,
    /// What else the authenticator knows, such as the pod that a token belongs to.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What comes with every request, whatever the verb.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Who asks.
    pub user: User,
    /// How long the client is ready to wait; none for the server's default.
    pub timeout: Option<Duration>,
    /// `User-Agent`; names the field manager when the request does not.
    pub user_agent: String,
    /// Its record for the audit log.
    pub audit: Trail,
}

/// What the request is about.
#[derive(Clone)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds and for all namespaces.
    pub namespace: String,
    /// Name; empty for collections.
    pub name: String,
    /// The part of the object that is meant.
    pub subresource: Option<Subresource>,
}

/// Options of get.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// `resourceVersion` as sent; none or empty for a linearizable read.
    pub resource_version: Option<String>,
}

/// Options of list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// `labelSelector` as sent.
    pub label_selector: Option<String>,
    /// `fieldSelector` as sent.
    pub field_selector: Option<String>,
    /// Page size; 0 for all.
    pub limit: u64,
    /// Where the next page starts.
    pub continue_: Option<String>,
    /// `resourceVersion` as sent.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch` as sent.
    pub resource_version_match: Option<String>,
}

/// Options of watch.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// `labelSelector` as sent.
    pub label_selector: Option<String>,
    /// `fieldSelector` as sent.
    pub field_selector: Option<String>,
    /// `resourceVersion` as sent.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch` as sent.
    pub resource_version_match: Option<String>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`.
    pub send_initial_events: Option<bool>,
    /// `timeoutSeconds`; none for a random half hour to hour, as upstream.
    pub timeout: Option<Duration>,
}

/// What to do about fields that the kind does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Nothing was said: as `Warn`.
    #[default]
    Unsaid,
    /// Drop them and warn.
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// Parses the query parameter.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" => Ok(Self::Unsaid),
            "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \
                 \"Strict\", \"Warn\""
            ))),
        }
    }

    /// As it was sent, if it was.
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Ignore => Some("Ignore"),
            Self::Unsaid => None,
            Self::Warn => Some("Warn"),
            Self::Strict => Some("Strict"),
        }
    }
}

/// Options of create, update and patch.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Do all but the proposal.
    pub dry_run: bool,
    /// `fieldManager` as sent.
    pub field_manager: Option<String>,
    /// What to do about unknown fields.
    pub field_validation: FieldValidation,
}

/// How a patch body reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply.
    Apply {
        /// Take over fields that another manager owns.
        force: bool,
    },
}

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without an owner.
    Orphan,
    /// They are collected after the owner is gone.
    Background,
    /// They are collected before the owner is gone.
    Foreground,
}

/// Options of delete and deletecollection.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Seconds that a graceful deletion may take; none for the kind's default.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of dependents; none for the kind's default.
    pub propagation: Option<Propagation>,
    /// The older way to say so, when it was taken; `propagation` says the same.
    pub orphan_dependents: Option<bool>,
    /// Refuse unless the uid is this.
    pub uid: Option<String>,
    /// Refuse unless the resourceVersion is this.
    pub resource_version: Option<String>,
    /// Do all but the proposal.
    pub dry_run: bool,
}

/// One object of an answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A stored object: bytes are ready.
    Object(Arc<Object>),
    /// Made for this answer: a Scale, a Status, a dry run's result.
    Rendered(Value),
}

/// The answer of a write.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object after the write, or a `Status` of success.
    pub object: Answer,
    /// The write made the object (201 rather than 200).
    pub created: bool,
    /// The deletion goes on in the background (202 rather than 200).
    pub accepted: bool,
    /// For the client's eyes (`Warning:` headers).
    pub warnings: Vec<String>,
}

/// The answer of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The objects.
    pub items: Vec<Arc<Object>>,
    /// The snapshot's revision: `metadata.resourceVersion`.
    pub revision: Revision,
    /// Token of the next page; empty at the end.
    pub continue_: String,
    /// Objects after this page, when known.
    pub remaining: Option<u64>,
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// The object entered what is watched.
    Added(Arc<Object>),
    /// It changed.
    Modified(Arc<Object>),
    /// It left; its last state, at the revision of the leaving.
    Deleted(Arc<Object>),
    /// Nothing below this revision is still to come.
    Bookmark {
        /// That revision.
        revision: Revision,
        /// Ends the initial events (`k8s.io/initial-events-end`).
        initial_end: bool,
    },
}

impl Answer {
    /// Its JSON.
    pub fn json(&self) -> Bytes {
        match self {
            Answer::Object(object) => object.json(),
            Answer::Rendered(value) => Bytes::from(value.to_string()),
        }
    }

    /// Its tree.
    pub fn value(&self) -> Value {
        match self {
            Answer::Object(object) => object.value(),
            Answer::Rendered(value) => value.clone(),
        }
    }
}

impl Target {
    /// A collection, of one namespace or (empty) of all.
    pub fn collection(kind: &Kind, namespace: impl Into<String>) -> Self {
        Self {
            kind: kind.clone(),
            namespace: namespace.into(),
            name: String::new(),
            subresource: None,
        }
    }

    /// One object.
    pub fn object(kind: &Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: kind.clone(),
            namespace: namespace.into(),
            name: name.into(),
            subresource: None,
        }
    }

    /// The same under an object's own name, which a create's URL does not tell.
    pub(crate) fn named_by(&self, object: &Value) -> Self {
        Self {
            name: Meta::of(object).name().to_owned(),
            ..self.clone()
        }
    }

    /// A part of it.
    pub fn with(mut self, subresource: Subresource) -> Self {
        self.subresource = Some(subresource);
        self
    }
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` body, over what the query said.
    pub fn merge_body(mut self, body: &Value) -> Result<Self, Status> {
        if let Some(seconds) = body["gracePeriodSeconds"].as_i64() {
            self.grace_period_seconds = Some(seconds);
        }
        if let Some(policy) = body["propagationPolicy"].as_str() {
            self.propagation = Some(Propagation::parse(policy)?);
        }
        if let Some(orphan) = body["orphanDependents"].as_bool() {
            let policy = if orphan {
                Propagation::Orphan
            } else {
                Propagation::Background
            };
            self.propagation = Some(policy);
            self.orphan_dependents = Some(orphan);
        }
        let preconditions = &body["preconditions"];
        if let Some(uid) = preconditions["uid"].as_str() {
            self.uid = Some(uid.to_owned());
        }
        if let Some(revision) = preconditions["resourceVersion"].as_str() {
            self.resource_version = Some(revision.to_owned());
        }
        if body["dryRun"]
            .as_array()
            .is_some_and(|values| values.iter().any(|v| v == "All"))
        {
            self.dry_run = true;
        }
        Ok(self)
    }
}

impl Propagation {
    /// As `propagationPolicy` spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orphan => "Orphan",
            Self::Background => "Background",
            Self::Foreground => "Foreground",
        }
    }

    /// Parses `propagationPolicy`.
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "Orphan" => Ok(Self::Orphan),
            "Background" => Ok(Self::Background),
            "Foreground" => Ok(Self::Foreground),
            other => Err(Status::new(
                kontiki_base::status::Reason::Invalid,
                format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \
                     \"{other}\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
                ),
            )),
        }
    }
}
