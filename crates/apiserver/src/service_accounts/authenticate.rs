//! From a token to its user: signature, time, audience, and that all it is bound to still lives.

use std::collections::BTreeMap;

use kontiki_api::meta::Meta;
use kontiki_api::time;
use kontiki_state::{Object, Snapshot};

use super::claims::{Claims, Reference};
use super::{groups, username};
use crate::options::User;
use crate::server::ApiServer;

/// Clocks of replicas may differ by so much (upstream's leeway).
const LEEWAY_S: i64 = 60;

impl ApiServer {
    /// The user of a ServiceAccount's token, and those of the wanted audiences that it is for.
    pub(crate) fn user_of_service_account_token(
        &self,
        token: &str,
        wanted: &[String],
    ) -> Option<(User, Vec<String>)> {
        let issuer = &self.options().issuer;
        let Some(claims) = issuer.verify::<Claims>(token) else {
            return self.for_this_api(self.user_of_secret_token(token)?, wanted);
        };
        let now = i64::try_from(self.now_unix_ms() / 1000).ok()?;
        let is_current = now <= claims.exp + LEEWAY_S && now >= claims.nbf - LEEWAY_S;
        let audiences: Vec<String> = wanted
            .iter()
            .filter(|audience| claims.aud.contains(audience))
            .cloned()
            .collect();
        if claims.iss != issuer.name() || !is_current || audiences.is_empty() {
            return None;
        }
        let living = Living {
            snapshot: self.store().snapshot(),
            now_s: now,
        };
        living.user(&claims).map(|user| (user, audiences))
    }

    /// Whether a token is of our making, whatever became of what it is bound to.
    pub(crate) fn is_signed_here(&self, token: &str) -> bool {
        self.options().issuer.verify::<Claims>(token).is_some()
    }

    /// The user of a token that names no audience: it is for this API.
    pub(crate) fn for_this_api(
        &self,
        user: User,
        wanted: &[String],
    ) -> Option<(User, Vec<String>)> {
        let own = self.options().issuer.audiences();
        let audiences = wanted.iter().filter(|it| own.contains(it)).cloned();
        let audiences: Vec<String> = audiences.collect();
        (!audiences.is_empty()).then_some((user, audiences))
    }
}

/// The objects that tokens are bound to, as they are now.
struct Living {
    snapshot: Snapshot,
    now_s: i64,
}

impl Living {
    fn user(&self, claims: &Claims) -> Option<User> {
        let bound = &claims.bound;
        let (namespace, account) = (&bound.namespace, &bound.serviceaccount);
        if claims.sub != username(namespace, &account.name) {
            return None;
        }
        self.find("serviceaccounts", namespace, account)?;
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: String| {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
        };
        if let Some(secret) = &bound.secret {
            self.find("secrets", namespace, secret)?;
        }
        if let Some(pod) = &bound.pod {
            self.find("pods", namespace, pod)?;
            add("pod-name", pod.name.clone());
            add("pod-uid", pod.uid.clone());
        }
        if let Some(node) = &bound.node {
            // The node of a pod's token may go before the pod.
            if bound.pod.is_none() {
                self.find("nodes", "", node)?;
            }
            add("node-name", node.name.clone());
            if !node.uid.is_empty() {
                add("node-uid", node.uid.clone());
            }
        }
        if !claims.jti.is_empty() {
            add("credential-id", format!("JTI={}", claims.jti));
        }
        Some(User {
            name: claims.sub.clone(),
            uid: account.uid.clone(),
            groups: groups(namespace),
            extra,
        })
    }

    /// The very object, unless it should have been gone for a while.
    fn find(&self, resource: &str, namespace: &str, wanted: &Reference) -> Option<()> {
        let object = self.snapshot.find(resource, namespace, &wanted.name)?;
        let is_same = *object.header.uid == *wanted.uid;
        (is_same && !self.is_gone(&object)).then_some(())
    }

    fn is_gone(&self, object: &Object) -> bool {
        if !object.header.deleting {
            return false;
        }
        let value = object.value();
        let end_ms = time::parse(Meta::of(&value).text("deletionTimestamp")).unwrap_or(0);
        i64::try_from(end_ms / 1000).is_ok_and(|end_s| end_s < self.now_s - LEEWAY_S)
    }
}
