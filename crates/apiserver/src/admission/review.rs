//! A request as webhooks and expressions read it: upstream's `AdmissionRequest`.

use std::borrow::Cow;

use kontiki_api::{Kind, Subresource};
use serde_json::{Map, Value, json};

use super::matching::{name_of, namespace_of};
use super::{Operation, Request, Sent};
use crate::options::{DeleteOptions, WriteOptions};
use crate::versions;

/// The objects of a request in one version.
pub(super) struct Versioned<'a> {
    pub(super) kind: Kind,
    pub(super) new: Option<Cow<'a, Value>>,
    pub(super) old: Option<Cow<'a, Value>>,
}

impl<'a> Versioned<'a> {
    /// The new object is in the stored version; a body of another kind (a Binding) stays as it is.
    pub(super) fn new(request: &Request<'a>, kind: &Kind, new: Option<&'a Value>) -> Self {
        let stored = kind.stored();
        let shown = |object: &'a Value| {
            let is_stored = object["apiVersion"] == stored.api_version();
            if object["kind"] == stored.kind() && (is_stored || kind.definition().is_some()) {
                versions::tree(kind, object)
            } else {
                Cow::Borrowed(object)
            }
        };
        Self {
            kind: kind.clone(),
            new: new.map(shown),
            old: request.old.map(shown),
        }
    }
}

/// The request without its objects.
pub(super) fn request_json(request: &Request<'_>, versioned: &Versioned<'_>) -> Map<String, Value> {
    let (target, kind) = (request.target, &versioned.kind);
    let new = versioned.new.as_deref();
    let mut review = Map::new();
    let mut set = |field: &str, value: Value| {
        if !value.is_null() {
            review.insert(field.to_owned(), value);
        }
    };
    let text = |text: &str| match text {
        "" => Value::Null,
        text => text.into(),
    };
    set("kind", kind_json(kind, new));
    set("resource", resource_json(kind));
    set("requestKind", kind_json(&target.kind, new));
    set("requestResource", resource_json(&target.kind));
    let subresource = target.subresource.map_or("", Subresource::name);
    set("subResource", text(subresource));
    set("requestSubResource", text(subresource));
    set("name", text(name_of(request, new)));
    set("namespace", text(namespace_of(request, new)));
    set("operation", request.operation.name().into());
    set("userInfo", user_json(request));
    set("dryRun", request.dry_run.into());
    set("options", options_json(request));
    review
}

/// A subresource that acts takes an object of a kind of its own, which the object itself tells.
fn kind_json(kind: &Kind, new: Option<&Value>) -> Value {
    let named = new.and_then(|new| Some((new["apiVersion"].as_str()?, new["kind"].as_str()?)));
    let (group, version, kind) = match named {
        Some((api_version, name)) if name != kind.kind() => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            (group, version, name)
        }
        _ => (kind.group(), kind.version(), kind.kind()),
    };
    json!({"group": group, "version": version, "kind": kind})
}

fn resource_json(kind: &Kind) -> Value {
    json!({"group": kind.group(), "version": kind.version(), "resource": kind.plural()})
}

fn user_json(request: &Request<'_>) -> Value {
    let user = &request.context.user;
    let mut json = json!({"username": user.name});
    if !user.uid.is_empty() {
        json["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        json["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        json["extra"] = json!(user.extra);
    }
    json
}

/// The options as they were sent, under the kind of what is done: a patch says `UpdateOptions`, as upstream.
fn options_json(request: &Request<'_>) -> Value {
    let kind = match request.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind});
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    match request.options {
        Some(Sent::Write(sent)) => write_options(&mut options, sent),
        Some(Sent::Delete(sent)) => delete_options(&mut options, sent),
        None => {}
    }
    options
}

fn write_options(options: &mut Value, sent: &WriteOptions) {
    if let Some(manager) = sent.field_manager.as_deref().filter(|it| !it.is_empty()) {
        options["fieldManager"] = manager.into();
    }
    if let Some(validation) = sent.field_validation.name() {
        options["fieldValidation"] = validation.into();
    }
}

fn delete_options(options: &mut Value, sent: &DeleteOptions) {
    if let Some(seconds) = sent.grace_period_seconds {
        options["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(uid) = &sent.uid {
        options["preconditions"]["uid"] = uid.as_str().into();
    }
    if let Some(revision) = &sent.resource_version {
        options["preconditions"]["resourceVersion"] = revision.as_str().into();
    }
    match (sent.orphan_dependents, sent.propagation) {
        (Some(orphan), _) => options["orphanDependents"] = orphan.into(),
        (None, Some(propagation)) => options["propagationPolicy"] = propagation.name().into(),
        (None, None) => {}
    }
}
