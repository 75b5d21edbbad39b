//! SubjectAccessReview in its three forms: may this user, may this user here, may I.

use kontiki_api::FieldError;
use kontiki_api::field_error::invalid_status;
use kontiki_api::meta::Meta;
use kontiki_api::rbac::Ask;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use crate::authz::{Attributes, Decision};
use crate::options::{Context, Target, User};
use crate::server::ApiServer;

const RESOURCE: &str = "resourceAttributes";
const PATH: &str = "nonResourceAttributes";

impl ApiServer {
    pub(super) fn access_review(&self, target: &Target, object: &Value) -> Result<Value, Status> {
        let spec = &object["spec"];
        let mut errors = validate_question(spec);
        errors.extend(validate_user(spec));
        errors.extend(validate_metadata(target, object));
        refuse(target, object, &errors)?;
        Ok(self.answer(&user_in(spec), spec))
    }

    pub(super) fn local_access_review(
        &self,
        target: &Target,
        object: &Value,
    ) -> Result<Value, Status> {
        let spec = &object["spec"];
        let mut errors = validate_question(spec);
        errors.extend(validate_user(spec));
        errors.extend(validate_metadata(target, object));
        let namespace = spec[RESOURCE]["namespace"].as_str().unwrap_or_default();
        if spec[RESOURCE].is_object() && namespace != target.namespace {
            let (path, detail) = (
                "spec.resourceAttributes.namespace",
                "must match metadata.namespace",
            );
            errors.push(FieldError::invalid(path, namespace, detail));
        }
        if spec[PATH].is_object() {
            let detail = "disallowed on this kind of request";
            errors.push(FieldError::invalid(
                "spec.nonResourceAttributes",
                &spec[PATH],
                detail,
            ));
        }
        refuse(target, object, &errors)?;
        Ok(self.answer(&user_in(spec), spec))
    }

    pub(super) fn self_access_review(
        &self,
        context: &Context,
        target: &Target,
        object: &Value,
    ) -> Result<Value, Status> {
        let spec = &object["spec"];
        let mut errors = validate_question(spec);
        errors.extend(validate_metadata(target, object));
        refuse(target, object, &errors)?;
        Ok(self.answer(&context.user, spec))
    }

    fn answer(&self, user: &User, spec: &Value) -> Value {
        match self.decide(&attributes(user, spec)) {
            Decision::Allow(why) => {
                let mut status = json!({"allowed": true});
                let reason = why.to_string();
                if !reason.is_empty() {
                    status["reason"] = reason.into();
                }
                status
            }
            Decision::NoOpinion(reason) if reason.is_empty() => json!({"allowed": false}),
            Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason}),
        }
    }
}

/// The question that a spec asks.
fn attributes<'a>(user: &'a User, spec: &'a Value) -> Attributes<'a> {
    fn text<'a>(value: &'a Value, field: &str) -> &'a str {
        value[field].as_str().unwrap_or_default()
    }
    let (resource, path) = (&spec[RESOURCE], &spec[PATH]);
    if path.is_object() {
        let ask = Ask {
            verb: text(path, "verb"),
            path: Some(text(path, "path")),
            ..Ask::default()
        };
        return Attributes {
            user,
            namespace: "",
            ask,
            node_name: None,
        };
    }
    let selected = resource["fieldSelector"]["requirements"].as_array();
    let node_name = selected.into_iter().flatten().find_map(|requirement| {
        let values = requirement["values"].as_array()?;
        let is_node = requirement["key"] == "spec.nodeName" && requirement["operator"] == "In";
        values
            .first()?
            .as_str()
            .filter(|_| is_node && values.len() == 1)
    });
    Attributes {
        user,
        namespace: text(resource, "namespace"),
        ask: Ask {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            name: text(resource, "name"),
            path: None,
        },
        node_name,
    }
}

fn user_in(spec: &Value) -> User {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    User {
        name: text("user"),
        uid: text("uid"),
        groups: serde_json::from_value(spec["groups"].clone()).unwrap_or_default(),
        extra: serde_json::from_value(spec["extra"].clone()).unwrap_or_default(),
    }
}

/// Either about a resource or about a path.
fn validate_question(spec: &Value) -> Vec<FieldError> {
    match (spec[RESOURCE].is_object(), spec[PATH].is_object()) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            Some(FieldError::invalid(
                "spec.nonResourceAttributes",
                &spec[PATH],
                detail,
            ))
        }
        (false, false) => {
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Some(FieldError::invalid(
                "spec.resourceAttributes",
                Value::Null,
                detail,
            ))
        }
        _ => None,
    }
    .into_iter()
    .collect()
}

fn validate_user(spec: &Value) -> Option<FieldError> {
    let user = spec["user"].as_str().unwrap_or_default();
    let is_nobody = user.is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty);
    is_nobody.then(|| {
        FieldError::invalid(
            "spec.user",
            user,
            "at least one of user or group must be specified",
        )
    })
}

fn validate_metadata(target: &Target, object: &Value) -> Option<FieldError> {
    let fields = object["metadata"].as_object()?;
    let may_have = |field: &str| {
        matches!(field, "managedFields" | "creationTimestamp")
            || (field == "namespace" && target.kind.namespaced())
    };
    let is_empty = fields
        .iter()
        .all(|(field, value)| may_have(field) || value.is_null());
    let detail = if target.kind.namespaced() {
        "must be empty except for namespace"
    } else {
        "must be empty"
    };
    (!is_empty).then(|| FieldError::invalid("metadata", &object["metadata"], detail))
}

fn refuse(target: &Target, object: &Value, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let (group, kind) = (target.kind.group(), target.kind.kind());
    Err(invalid_status(group, kind, Meta::of(object).name(), errors))
}
