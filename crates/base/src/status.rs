//! Public errors, written once: Kubernetes' `Status.reason`, its HTTP code and the gRPC code that stands for it.
//!
//! Source of the pairs: `k8s.io/apimachinery/pkg/apis/meta/v1.StatusReason` and `api/errors`; gRPC codes follow
//! google.rpc's guidance.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $http:literal $grpc:literal,)*) => {
        /// Why a request failed, as clients read it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word in `Status.reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)* }
            }

            /// HTTP status code.
            pub const fn http_code(self) -> u16 {
                match self { $(Reason::$name => $http,)* }
            }

            /// Canonical gRPC code.
            pub const fn grpc_code(self) -> i32 {
                match self { $(Reason::$name => $grpc,)* }
            }
        }
    };
}

reasons! {
    /// Malformed request.
    BadRequest 400 3,
    /// No valid credentials.
    Unauthorized 401 16,
    /// Credentials without the right.
    Forbidden 403 7,
    /// No such object, or no such URL.
    NotFound 404 5,
    /// The verb is not for this resource.
    MethodNotAllowed 405 12,
    /// No answer type that the client accepts.
    NotAcceptable 406 3,
    /// The name is taken.
    AlreadyExists 409 6,
    /// The object changed meanwhile.
    Conflict 409 10,
    /// History before that revision is gone, for watches.
    Gone 410 11,
    /// History before that revision is gone, for lists.
    Expired 410 11,
    /// Body or result too large.
    RequestEntityTooLarge 413 8,
    /// Content type not understood.
    UnsupportedMediaType 415 3,
    /// Well formed, but against the kind's rules.
    Invalid 422 3,
    /// Overloaded; try later.
    TooManyRequests 429 8,
    /// A defect of ours.
    InternalError 500 13,
    /// Not now: no leader, stopping.
    ServiceUnavailable 503 14,
    /// The server gave up waiting; the outcome of a write is unknown.
    Timeout 504 4,
    /// As `Timeout`, the client may retry.
    ServerTimeout 500 14,
}

/// One cause of a failure, for `Status.details.causes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldManagerConflict`, ...
    pub reason: String,
    /// What is wrong, in words.
    pub message: String,
    /// Path of the field, such as `spec.replicas`; empty when none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What the failure is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Object name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Resource (plural), as upstream fills it, or kind for `Invalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Object uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Single causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds to wait before a retry; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
    /// Token with which an expired list may go on: `metadata.continue` of the `Status`, not a detail on the wire.
    #[serde(skip)]
    pub continue_: String,
    /// The whole `Status` as an extension worded it: its code, reason and details are free.
    #[serde(skip)]
    pub given: Option<Box<serde_json::Value>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A failure as a client sees it; the body of every error answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", reason.as_str())]
pub struct Status {
    /// Machine-readable reason.
    pub reason: Reason,
    /// What happened and what to do, for people.
    pub message: String,
    /// Further facts.
    pub details: Option<Box<Details>>,
}

impl Status {
    /// A failure without details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            details: None,
        }
    }

    /// With details.
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// With a pause before the next attempt, in seconds.
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// `NotFound` as upstream words it: `pods "x" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", qualified(group, resource));
        Self::new(Reason::NotFound, message).with_details(Details {
            name: name.into(),
            group: group.into(),
            kind: resource.into(),
            ..Details::default()
        })
    }

    /// `AlreadyExists` as upstream words it.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(group, resource));
        Self::new(Reason::AlreadyExists, message).with_details(Details {
            name: name.into(),
            group: group.into(),
            kind: resource.into(),
            ..Details::default()
        })
    }

    /// `Conflict` as upstream words it, `why` being the last part.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            qualified(group, resource)
        );
        Self::new(Reason::Conflict, message).with_details(Details {
            name: name.into(),
            group: group.into(),
            kind: resource.into(),
            ..Details::default()
        })
    }

    /// `BadRequest`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::InternalError, message)
    }

    fn given(&self) -> Option<&serde_json::Value> {
        self.details.as_ref()?.given.as_deref()
    }

    /// Whether it is the store's or the verbs' own word, and of that reason: an extension may say what it likes.
    pub fn is_own(&self, reason: Reason) -> bool {
        self.reason == reason && self.given().is_none()
    }

    /// HTTP status code: the reason's, or the one that an extension gave.
    pub fn http_code(&self) -> u16 {
        let given = self.given().and_then(|given| given["code"].as_u64());
        let given = given.and_then(|code| u16::try_from(code).ok());
        given.unwrap_or(self.reason.http_code())
    }

    /// The `v1.Status` object.
    pub fn to_json(&self) -> serde_json::Value {
        if let Some(given) = self.given() {
            return given.clone();
        }
        let mut status = serde_json::json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.as_str(),
            "code": self.reason.http_code(),
        });
        if let Some(details) = &self.details {
            if !details.continue_.is_empty() {
                status["metadata"]["continue"] = details.continue_.clone().into();
            }
            status["details"] = serde_json::to_value(details).unwrap_or_default();
        }
        status
    }
}

/// `deployments.apps`, or `pods` for the core group.
pub fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_carry_reason_code_and_details() {
        let body = Status::not_found("apps", "deployments", "web").to_json();
        assert_eq!(body["code"], 404);
        assert_eq!(body["reason"], "NotFound");
        assert_eq!(body["message"], "deployments.apps \"web\" not found");
        assert_eq!(body["details"]["kind"], "deployments");
    }

    #[test]
    fn every_reason_is_an_error_over_both_protocols() {
        for reason in Reason::ALL {
            assert!(reason.http_code() >= 400, "{reason:?}");
            assert!((1..=16).contains(&reason.grpc_code()), "{reason:?}");
        }
    }
}
