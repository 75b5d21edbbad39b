//! Tokens of ServiceAccounts for the pods of this node: asked for over the connection of the session, kept in memory,
//! renewed before they end (upstream `pkg/kubelet/token`).
//!
//! Files are not written here: a volume takes what is kept (`pod::volumes`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use kontiki_base::random::Random;
use kontiki_proto::node::node_service_client::NodeServiceClient;
use kontiki_proto::node::{RequestTokenRequest, RequestTokenResponse};
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::node::Node;
use crate::pod::PodExt as _;

/// A token is renewed after so long, however long it lives.
const LONGEST_USE_MS: u64 = 24 * 3600 * 1000;
/// Renewals of tokens that were issued together spread over so long.
const JITTER_MS: u64 = 10_000;
/// Pause after a renewal that failed.
const RETRY_MS: u64 = 30_000;
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Life of a token whose volume names none (the API's default).
const DEFAULT_S: i64 = 3600;

/// Who issues tokens: a server, or a test.
pub trait Issuer: Send + Sync {
    /// One token.
    fn issue(
        &self,
        request: RequestTokenRequest,
    ) -> BoxFuture<'_, Result<RequestTokenResponse, tonic::Status>>;
}

impl Issuer for NodeServiceClient<Channel> {
    fn issue(
        &self,
        request: RequestTokenRequest,
    ) -> BoxFuture<'_, Result<RequestTokenResponse, tonic::Status>> {
        let mut client = self.clone();
        Box::pin(async move {
            let answer = client.request_token(request).await?;
            Ok(answer.into_inner())
        })
    }
}

/// The tokens of this node's pods, and the way to more of them.
#[derive(Default)]
pub struct Tokens {
    issuer: Mutex<Option<Arc<dyn Issuer>>>,
    kept: Mutex<BTreeMap<Wanted, Kept>>,
}

/// What a token is asked for: the pod's uid first, so that a pod's tokens lie together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    pod_uid: String,
    audience: String,
    expiration_s: i64,
}

#[derive(Debug, Clone)]
struct Kept {
    token: String,
    expires_ms: u64,
    renew_at_ms: u64,
}

impl Wanted {
    fn of(pod: &Pod, projection: &ServiceAccountTokenProjection) -> Self {
        Self {
            pod_uid: pod.uid().to_owned(),
            audience: projection.audience.clone().unwrap_or_default(),
            expiration_s: projection.expiration_seconds.unwrap_or(DEFAULT_S),
        }
    }

    fn request(&self, pod: &Pod) -> RequestTokenRequest {
        let account = pod.spec().service_account_name.as_deref();
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let audience = Some(self.audience.clone()).filter(|audience| !audience.is_empty());
        RequestTokenRequest {
            namespace: pod.namespace().to_owned(),
            service_account: account.to_owned(),
            audiences: audience.into_iter().collect(),
            expiration_seconds: self.expiration_s,
            pod_name: pod.name().to_owned(),
            pod_uid: self.pod_uid.clone(),
        }
    }
}

impl Tokens {
    /// A session is open: requests go over its connection from now on.
    pub fn connected(&self, issuer: impl Issuer + 'static) {
        *self.issuer.lock() = Some(Arc::new(issuer));
    }

    /// The session is over.
    pub fn disconnected(&self) {
        *self.issuer.lock() = None;
    }

    /// The pod is gone.
    pub fn forget(&self, pod_uid: &str) {
        self.kept
            .lock()
            .retain(|wanted, _| wanted.pod_uid != pod_uid);
    }

    /// The token that a volume of the pod shows; none before [`Tokens::prepare`] fetched it.
    pub fn get(&self, pod: &Pod, projection: &ServiceAccountTokenProjection) -> Option<String> {
        let kept = self.kept.lock();
        kept.get(&Wanted::of(pod, projection))
            .map(|kept| kept.token.clone())
    }

    /// When the first of a pod's tokens is to be renewed, in Unix milliseconds; none while there is none.
    pub fn renew_at_ms(&self, pod: &Pod) -> Option<u64> {
        let kept = self.kept.lock();
        let of_pod = kept
            .iter()
            .filter(|(wanted, _)| wanted.pod_uid == pod.uid());
        of_pod.map(|(_, kept)| kept.renew_at_ms).min()
    }

    /// Fetches the tokens that the pod's volumes lack, and renews those that are due. An error, with the volume's name,
    /// when one is missing: a renewal that fails while the old token is good is tried again later.
    pub async fn prepare(&self, node: &Node, pod: &Pod) -> Result<(), String> {
        for (volume, projection) in projections(pod) {
            let wanted = Wanted::of(pod, projection);
            let kept = self.kept.lock().get(&wanted).cloned();
            let now_ms = node.now_ms();
            if kept.as_ref().is_some_and(|kept| now_ms < kept.renew_at_ms) {
                continue;
            }
            let fetched = self.fetch(node, pod, &wanted).await;
            match (fetched, kept) {
                (Ok(fresh), _) => {
                    self.kept.lock().insert(wanted, fresh);
                }
                (Err(why), Some(kept)) if now_ms < kept.expires_ms => {
                    tracing::warn!(why, pod = pod.name(), "a token is not renewed yet");
                    self.postpone(&wanted, now_ms + RETRY_MS);
                }
                (Err(why), kept) => {
                    self.postpone(&wanted, now_ms + RETRY_MS);
                    let what = match kept {
                        Some(_) => "token expired and refresh failed",
                        None => "failed to fetch token",
                    };
                    return Err(format!("volume \"{volume}\": {what}: {why}"));
                }
            }
        }
        Ok(())
    }

    fn postpone(&self, wanted: &Wanted, until_ms: u64) {
        if let Some(kept) = self.kept.lock().get_mut(wanted) {
            kept.renew_at_ms = until_ms;
        }
    }

    async fn fetch(&self, node: &Node, pod: &Pod, wanted: &Wanted) -> Result<Kept, String> {
        let issuer = self.issuer.lock().clone();
        let issuer = issuer.ok_or("no server is reachable")?;
        let answer = tokio::time::timeout(ANSWER, issuer.issue(wanted.request(pod))).await;
        let answer = answer.map_err(|_| "the server does not answer")?;
        let issued = answer.map_err(|status| status.message().to_owned())?;
        let expires_ms = u64::try_from(issued.expires_unix_ms).unwrap_or_default();
        Ok(Kept {
            token: issued.token,
            expires_ms,
            renew_at_ms: renewal(expires_ms, wanted.expiration_s, &*node.random),
        })
    }
}

/// After four fifths of its life, or a day.
fn renewal(expires_ms: u64, life_s: i64, random: &dyn Random) -> u64 {
    let life_ms = life_s.unsigned_abs().saturating_mul(1000);
    let use_ms = (life_ms / 5 * 4).min(LONGEST_USE_MS);
    let issued_ms = expires_ms.saturating_sub(life_ms);
    (issued_ms + use_ms).saturating_sub(random.below(JITTER_MS))
}

/// Volumes of the pod that show tokens, by name.
fn projections(pod: &Pod) -> impl Iterator<Item = (&str, &ServiceAccountTokenProjection)> {
    let volumes = pod.spec().volumes.iter().flatten();
    volumes.flat_map(|volume| {
        let projected = volume.projected.iter();
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        sources.filter_map(|source| {
            Some((volume.name.as_str(), source.service_account_token.as_ref()?))
        })
    })
}

#[cfg(test)]
mod tests {
    use kontiki_base::random::SeededRandom;

    use super::*;

    #[test]
    fn tokens_are_renewed_after_four_fifths_of_their_life_or_a_day() {
        let random = SeededRandom::new(1);
        let within =
            |at_ms: u64, wanted_ms: u64| at_ms <= wanted_ms && at_ms + JITTER_MS > wanted_ms;
        let hour_ms = 3_600_000;
        let now_ms = 1_000_000_000;
        assert!(within(
            renewal(now_ms + hour_ms, 3600, &random),
            now_ms + 2_880_000
        ));
        let week_ms = 7 * 24 * hour_ms;
        let at_ms = renewal(now_ms + week_ms, 7 * 24 * 3600, &random);
        assert!(within(at_ms, now_ms + 24 * hour_ms));
    }
}
