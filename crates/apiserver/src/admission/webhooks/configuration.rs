//! A webhook configuration as calls need it, made once for each revision of the object.

use std::time::Duration;

use kontiki_api::Kind;
use kontiki_api::cel::admission;
use kontiki_base::status::Status;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::Request;
use super::super::expressions::{Conditions, Source};
use super::super::matching::{Criteria, name_of};
use super::super::review::Versioned;
use crate::authz::forbidden_because;
use crate::options::Target;
use crate::outbound::Peer;

/// Upstream's default of `timeoutSeconds`.
const DEFAULT_TIMEOUT_SECONDS: u64 = 10;

/// A MutatingWebhookConfiguration or a ValidatingWebhookConfiguration.
pub(super) struct Configuration {
    pub(super) name: String,
    pub(super) hooks: Vec<Hook>,
}

/// One webhook.
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) peer: Peer,
    pub(super) timeout: Duration,
    /// Whether requests go on without it.
    pub(super) may_fail: bool,
    /// Whether it may be asked about what will not be written.
    pub(super) is_harmless: bool,
    /// Whether it wants to see what later ones made of the object.
    pub(super) is_reinvoked: bool,
    /// `admission.k8s.io/v1` or `.../v1beta1`.
    pub(super) review_version: &'static str,
    criteria: Criteria,
    conditions: Conditions,
}

impl<'de> Deserialize<'de> for Configuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let hooks = object["webhooks"].as_array().into_iter().flatten();
        Ok(Self {
            name: object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            hooks: hooks.map(Hook::new).collect(),
        })
    }
}

impl Hook {
    fn new(webhook: &Value) -> Self {
        let seconds = webhook["timeoutSeconds"].as_u64();
        let versions = webhook["admissionReviewVersions"].as_array();
        let mut versions = versions.into_iter().flatten();
        let version = versions.find_map(|version| match version.as_str() {
            Some("v1") => Some("admission.k8s.io/v1"),
            Some("v1beta1") => Some("admission.k8s.io/v1beta1"),
            _ => None,
        });
        Self {
            name: webhook["name"].as_str().unwrap_or_default().to_owned(),
            peer: Peer::of_client_config(&webhook["clientConfig"]),
            timeout: Duration::from_secs(seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS).max(1)),
            may_fail: webhook["failurePolicy"] == "Ignore",
            is_harmless: ["None", "NoneOnDryRun"]
                .iter()
                .any(|known| webhook["sideEffects"] == *known),
            is_reinvoked: webhook["reinvocationPolicy"] == "IfNeeded",
            review_version: version.unwrap_or("admission.k8s.io/v1"),
            criteria: Criteria::of_webhook(webhook),
            conditions: Conditions::new(&webhook["matchConditions"], &admission::conditions()),
        }
    }

    /// The version in which the hook wants to judge the request, if it does.
    pub(super) fn matched(
        &self,
        request: &Request<'_>,
        new: Option<&Value>,
    ) -> Result<Option<Kind>, Status> {
        let Some(kind) = self.criteria.matched(request, new)? else {
            return Ok(None);
        };
        if self.conditions.is_empty() {
            return Ok(Some(kind));
        }
        let versioned = Versioned::new(request, &kind, new);
        let source = Source::new(request, &versioned, false);
        let request_type = admission::request_type();
        match self.conditions.hold(&source.variables(&request_type)) {
            Ok(holds) => Ok(holds.then_some(kind)),
            Err(_) if self.may_fail => Ok(None),
            Err(why) => {
                let target = Target {
                    name: name_of(request, new).to_owned(),
                    ..request.target.clone()
                };
                Err(forbidden_because(&target, &why))
            }
        }
    }
}
