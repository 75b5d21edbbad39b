//! Whether aggregated API servers answer. Each replica asks them for their resources, which are its discovery; the
//! leader writes down what came of it, in upstream's words.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http::header::{ACCEPT, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use kontiki_api::Subresource;
use kontiki_api::kinds::api_service::{KIND, available};
use kontiki_base::limits;
use serde_json::{Value, json};

use super::Delegation;
use crate::modify::Change;
use crate::options::{Context, Target, User, WriteOptions};
use crate::outbound::{Body, Error, whole};
use crate::server::ApiServer;

/// Time between two looks at the same server.
const PERIOD: Duration = Duration::from_secs(10);
/// Upstream's time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// As whom the server asks, which every aggregated API server knows of upstream.
const USER: &str = "system:kube-aggregator";

/// What a look found: reason and message of the condition.
struct Found {
    is_available: bool,
    reason: &'static str,
    message: String,
}

impl ApiServer {
    /// Looks after all aggregated API servers until aborted. `writes` says whether this replica writes the conditions.
    pub async fn watch_extensions(self, writes: impl Fn() -> bool + Send + Sync) {
        loop {
            self.look_at_extensions(writes()).await;
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Looks at each of them once.
    pub async fn look_at_extensions(&self, writes: bool) {
        let delegations = self.delegations();
        self.forget_others(&delegations);
        let looks = delegations.iter().map(|delegation| async move {
            let found = self.look(delegation).await;
            if found.is_available {
                let _ = tokio::time::timeout(TIMEOUT, self.describe(delegation)).await;
            }
            if writes && let Err(why) = self.write_down(delegation, &found).await {
                tracing::warn!(apiservice = delegation.name, %why, "its condition is not written");
            }
        });
        join_all(looks).await;
    }

    fn forget_others(&self, known: &[Delegation]) {
        let mut discovered = self.0.aggregation.discovered.write();
        discovered.retain(|name, _| known.iter().any(|it| it.name == *name));
        let mut described = self.0.aggregation.described.write();
        described.retain(|name, _| known.iter().any(|it| it.name == *name));
    }

    async fn look(&self, delegation: &Delegation) -> Found {
        let path = format!("/apis/{}/{}", delegation.group, delegation.version);
        let asked = tokio::time::timeout(TIMEOUT, self.resources(delegation, &path)).await;
        let found = |is_available, reason, message| Found {
            is_available,
            reason,
            message,
        };
        match asked.unwrap_or(Err(Error::Timeout)) {
            Ok(list) => {
                let mut discovered = self.0.aggregation.discovered.write();
                discovered.insert(delegation.name.clone(), Arc::new(list));
                found(true, "Passed", "all checks passed".to_owned())
            }
            Err(Error::Unreachable(why)) if why.ends_with(" not found") => {
                found(false, "ServiceNotFound", why)
            }
            Err(Error::Unreachable(why)) if why.starts_with("no endpoints") => {
                found(false, "MissingEndpoints", why)
            }
            Err(Error::Unreachable(why)) if why.starts_with("no service port") => {
                found(false, "ServicePortError", why)
            }
            Err(why) => {
                let url = format!("https://{}{path}", delegation.destination.authority());
                let message = match why {
                    Error::Code(code) => format!("bad status from {url}: {code}"),
                    why => format!("failing or missing response from {url}: Get {url:?}: {why}"),
                };
                found(false, "FailedDiscoveryCheck", message)
            }
        }
    }

    async fn resources(&self, delegation: &Delegation, path: &str) -> Result<Value, Error> {
        let bytes = self.fetch(delegation, path).await?;
        serde_json::from_slice(&bytes).map_err(|why| Error::Unreachable(why.to_string()))
    }

    /// What a server answers to a GET of ours.
    pub(super) async fn fetch(&self, delegation: &Delegation, path: &str) -> Result<Bytes, Error> {
        let body: Body = Full::new(Bytes::new())
            .map_err(|never| match never {})
            .boxed_unsync();
        let mut request = Request::new(body);
        *request.uri_mut() = path
            .parse()
            .map_err(|_| Error::Unreachable(format!("{path:?} is no path")))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert("x-remote-user", HeaderValue::from_static(USER));
        headers.insert("x-remote-group", HeaderValue::from_static("system:masters"));
        let response = self.exchange(&self.peer_of(delegation), request).await?;
        if !response.status().is_success() {
            return Err(Error::Code(response.status().as_u16()));
        }
        whole(response.into_body(), limits::EXTENSION_DISCOVERY_BYTES).await
    }

    async fn write_down(
        &self,
        delegation: &Delegation,
        found: &Found,
    ) -> Result<(), kontiki_base::status::Status> {
        let target = Target::object(&KIND, "", delegation.name.as_str()).with(Subresource::Status);
        let context = Context {
            user: User {
                name: USER.to_owned(),
                ..User::default()
            },
            ..Context::default()
        };
        let (now, options) = (self.now_text(), WriteOptions::default());
        let written = self.modify(&context, &target, &options, |old, _| {
            Ok(Change {
                is_admitted: true,
                ..Change::to(with_condition(old, found, &now))
            })
        });
        match written.await {
            // It is gone: nothing to write down.
            Err(why) if why.reason == kontiki_base::status::Reason::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The object with the condition; unchanged when it says so already.
fn with_condition(old: &Value, found: &Found, now: &str) -> Value {
    let status = if found.is_available { "True" } else { "False" };
    let before = available(old);
    if before.is_some_and(|it| {
        it["status"] == status && it["reason"] == found.reason && it["message"] == found.message
    }) {
        return old.clone();
    }
    let since = match before {
        Some(before) if before["status"] == status => before["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    let mut new = old.clone();
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    new["status"]["conditions"] = json!([{
        "type": "Available",
        "status": status,
        "reason": found.reason,
        "message": found.message,
        "lastTransitionTime": since,
    }]);
    new
}
