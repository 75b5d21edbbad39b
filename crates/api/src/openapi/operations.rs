//! One operation of a path: parameters, body, answers and Kubernetes' extensions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Status};
use serde_json::{Map, Value, json};

use super::schemas::{PATCH, component, definition_of};
use crate::discovery::subresource_kind;
use crate::kind::{Kind, Subresource};

const ANSWERS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAMS: &[&str] = &[
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// (name, type, description).
pub(super) type Parameter = (&'static str, &'static str, &'static str);

const WRITE: &[Parameter] = &[
    (
        "dryRun",
        "string",
        "When present, indicates that modifications should not be persisted. The only valid value is 'All'.",
    ),
    (
        "fieldManager",
        "string",
        "fieldManager is a name associated with the actor or entity that is making these changes.",
    ),
    (
        "fieldValidation",
        "string",
        "fieldValidation instructs the server on how to handle objects in the request containing unknown or \
         duplicate fields: Ignore, Warn (the default) or Strict.",
    ),
];
const LIST: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether watch events of type BOOKMARK are wanted.",
    ),
    (
        "continue",
        "string",
        "The continue value of the previous page.",
    ),
    (
        "fieldSelector",
        "string",
        "Restricts the returned objects by their fields.",
    ),
    (
        "labelSelector",
        "string",
        "Restricts the returned objects by their labels.",
    ),
    (
        "limit",
        "integer",
        "The maximum number of objects to return.",
    ),
    (
        "resourceVersion",
        "string",
        "Sets a constraint on what resource versions may be served.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "How resourceVersion is applied: NotOlderThan or Exact.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch starts with the present state.",
    ),
    (
        "timeoutSeconds",
        "integer",
        "Limits the duration of the call.",
    ),
    ("watch", "boolean", "Watch for changes instead of listing."),
];
const DELETE: &[Parameter] = &[
    ("dryRun", "string", "The only valid value is 'All'."),
    (
        "gracePeriodSeconds",
        "integer",
        "Seconds before the object is deleted; 0 for at once.",
    ),
    (
        "orphanDependents",
        "boolean",
        "Deprecated: use propagationPolicy.",
    ),
    (
        "propagationPolicy",
        "string",
        "Orphan, Background or Foreground.",
    ),
];
const FORCE: Parameter = (
    "force",
    "boolean",
    "Whether an apply takes over fields of other managers.",
);

/// A query parameter.
pub(super) fn parameter(name: &str, kind: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": kind, "uniqueItems": true},
    })
}

/// What a request carries.
pub(super) enum Body<'a> {
    /// An object of that definition.
    Object(&'a str),
    /// One of the four patches.
    Patch,
}

/// An operation in the making.
pub(super) struct Operation<'a> {
    kind: &'a Kind,
    id: String,
    action: &'static str,
    spoken: (&'a str, &'a str, &'a str),
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Value,
    codes: &'static [(&'static str, &'static str)],
}

impl<'a> Operation<'a> {
    /// `verb` begins the operation id, `action` is `x-kubernetes-action`.
    pub(super) fn new(kind: &'a Kind, verb: &str, action: &'static str, suffix: &str) -> Self {
        let scope = if kind.namespaced() && suffix != "ForAllNamespaces" {
            "Namespaced"
        } else {
            ""
        };
        let name = kind.kind();
        let id = match suffix {
            "Collection" => format!("{verb}{}Collection{scope}{name}", group_word(kind)),
            suffix => format!("{verb}{}{scope}{name}{suffix}", group_word(kind)),
        };
        Self {
            kind,
            id,
            action,
            spoken: (kind.group(), kind.version(), kind.kind()),
            parameters: Vec::new(),
            body: None,
            answer: Value::Null,
            codes: &[("200", "OK")],
        }
    }

    /// A connection by `method`, of which the document says no more than that a string comes back.
    pub(super) fn connect(kind: &'a Kind, method: &str, suffix: &str, takes: &[Parameter]) -> Self {
        let mut operation = Self::new(kind, "connect", "connect", suffix);
        let word = group_word(kind);
        let with_method = format!("{word}{}{}", method[..1].to_uppercase(), &method[1..]);
        operation.id = operation.id.replacen(&word, &with_method, 1);
        operation.add(takes);
        operation.answer = content(&["*/*"], &json!({"type": "string"}));
        operation
    }

    pub(super) fn answers(mut self, definition: &str) -> Self {
        // Users' kinds have no protobuf, and nothing to merge strategically by.
        let types = if self.kind.definition().is_some() {
            &ANSWERS[..2]
        } else {
            ANSWERS
        };
        self.answer = content(types, &component(definition));
        self
    }

    pub(super) fn status(self) -> Self {
        self.answers(&definition_of::<Status>())
    }

    pub(super) fn text(mut self) -> Self {
        self.answer = content(&["text/plain"], &json!({"type": "string"}));
        self
    }

    pub(super) fn created(mut self) -> Self {
        self.codes = &[("200", "OK"), ("201", "Created")];
        self
    }

    pub(super) fn speaks(mut self, subresource: Subresource) -> Self {
        self.spoken = subresource_kind(self.kind, subresource);
        self
    }

    pub(super) fn lists(mut self) -> Self {
        self.add(LIST);
        if let Some(schema) = self.answer.pointer("/application~1json/schema").cloned()
            && let Some(answer) = self.answer.as_object_mut()
            && self.action == "list"
        {
            let types = if self.kind.definition().is_some() {
                &STREAMS[..1]
            } else {
                STREAMS
            };
            answer.extend(
                types
                    .iter()
                    .map(|kind| ((*kind).to_owned(), json!({"schema": schema}))),
            );
        }
        self
    }

    pub(super) fn deletes(mut self) -> Self {
        self.add(DELETE);
        self.codes = &[("200", "OK"), ("202", "Accepted")];
        self.body = Some(json!({
            "content": content(&["*/*"], &component(&definition_of::<DeleteOptions>())),
        }));
        self
    }

    pub(super) fn writes(mut self, body: Body<'_>) -> Self {
        self.add(WRITE);
        let content = match body {
            Body::Object(definition) => content(&["*/*"], &component(definition)),
            Body::Patch => {
                self.add(&[FORCE]);
                let types = if self.kind.definition().is_some() {
                    &PATCHES[..3]
                } else {
                    PATCHES
                };
                content(types, &component(PATCH))
            }
        };
        self.body = Some(json!({"content": content, "required": true}));
        self
    }

    fn add(&mut self, parameters: &[Parameter]) {
        for (name, kind, description) in parameters {
            if !self.parameters.iter().any(|known| known["name"] == *name) {
                self.parameters.push(parameter(name, kind, description));
            }
        }
    }

    pub(super) fn build(self) -> Value {
        let (group, version, kind) = self.spoken;
        let answers = self.codes.iter().map(|(code, description)| {
            let answer = json!({"description": description, "content": self.answer});
            ((*code).to_owned(), answer)
        });
        let mut answers: Map<String, Value> = answers.collect();
        answers.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        let mut operation = json!({
            "tags": [tag(self.kind)],
            "description": format!("{} {}", self.action, self.kind.kind()),
            "operationId": self.id,
            "responses": answers,
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        });
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        operation
    }
}

fn content(types: &[&str], schema: &Value) -> Value {
    types
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({"schema": schema})))
        .collect()
}

/// `core_v1`, `apps_v1`, `discovery_v1`.
fn tag(kind: &Kind) -> String {
    let group = kind
        .group()
        .split('.')
        .next()
        .filter(|group| !group.is_empty())
        .unwrap_or("core");
    format!("{group}_{}", kind.version())
}

/// `CoreV1`, `AppsV1`.
fn group_word(kind: &Kind) -> String {
    let capital = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    tag(kind).split('_').map(capital).collect()
}
