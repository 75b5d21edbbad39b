//! One record as an `audit.k8s.io/v1` Event.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::audit::{Decision, Stage};
use kontiki_api::time;
use serde_json::{Map, Value, json};

use super::Received;
use crate::options::User;

/// About as many bytes as an entry takes besides its objects.
const ENTRY_BYTES: usize = 1024;

/// What is recorded at one stage; becomes JSON outside of the request's path.
pub(super) struct Entry {
    pub(super) received: Arc<Received>,
    pub(super) received_ms: u64,
    pub(super) stage: Stage,
    pub(super) stage_ms: u64,
    pub(super) decision: Decision,
    pub(super) verb: String,
    pub(super) impersonated: Option<User>,
    pub(super) object_ref: Option<Value>,
    pub(super) response_status: Option<Value>,
    pub(super) request_object: Option<Bytes>,
    pub(super) response_object: Option<Bytes>,
    pub(super) annotations: Vec<(String, String)>,
}

impl Entry {
    pub(super) fn size_bytes(&self) -> usize {
        let objects = [&self.request_object, &self.response_object];
        let objects = objects.into_iter().flatten().map(Bytes::len).sum::<usize>();
        ENTRY_BYTES + self.received.uri.len() + self.received.user_agent.len() + objects
    }

    /// The Event.
    pub(super) fn render(&self) -> Value {
        let received = &self.received;
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self.decision.level.name(),
            "auditID": received.audit_id,
            "stage": self.stage.name(),
            "requestURI": received.uri,
            "verb": self.verb,
            "user": user(received.user.as_ref().unwrap_or(&User::default())),
            "requestReceivedTimestamp": time::rfc3339_micro(self.received_ms),
            "stageTimestamp": time::rfc3339_micro(self.stage_ms),
        });
        if !received.source_ips.is_empty() {
            event["sourceIPs"] = json!(received.source_ips);
        }
        if !received.user_agent.is_empty() {
            event["userAgent"] = json!(received.user_agent);
        }
        if let Some(impersonated) = &self.impersonated {
            event["impersonatedUser"] = user(impersonated);
        }
        for (field, value) in [
            ("objectRef", &self.object_ref),
            ("responseStatus", &self.response_status),
        ] {
            if let Some(value) = value {
                event[field] = value.clone();
            }
        }
        for (field, object) in [
            ("requestObject", &self.request_object),
            ("responseObject", &self.response_object),
        ] {
            if let Some(object) = object {
                event[field] = self.object(object);
            }
        }
        if !self.annotations.is_empty() {
            let pairs = self.annotations.iter();
            let pairs = pairs.map(|(key, value)| (key.clone(), Value::from(value.as_str())));
            event["annotations"] = pairs.collect::<Map<_, _>>().into();
        }
        event
    }

    /// A recorded object, without what the policy leaves out of it.
    fn object(&self, json: &[u8]) -> Value {
        let mut object: Value = serde_json::from_slice(json).unwrap_or_default();
        if self.decision.omit_managed_fields {
            let forget = |object: &mut Value| {
                if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("managedFields");
                }
            };
            forget(&mut object);
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget);
        }
        object
    }
}

/// `authentication.k8s.io/v1` UserInfo.
fn user(user: &User) -> Value {
    let mut info = json!({});
    if !user.name.is_empty() {
        info["username"] = json!(user.name);
    }
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
