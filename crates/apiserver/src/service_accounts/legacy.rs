//! Tokens of old, kept in Secrets of type `kubernetes.io/service-account-token`: they name no end, and are good as long
//! as their Secret and their ServiceAccount live.
//!
//! Upstream's token controller fills such a Secret after its creation; here the create fills it, as only the API server
//! has the key. What becomes of a Secret whose account goes is `kontiki-controllers`' to decide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki_api::kinds::secret::{
    SERVICE_ACCOUNT_NAME, SERVICE_ACCOUNT_TOKEN, SERVICE_ACCOUNT_UID,
};
use kontiki_api::meta::{Meta, metadata_mut};
use kontiki_base::status::Status;
use kontiki_state::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{groups, username};
use crate::options::{Context, Target, User};
use crate::server::ApiServer;

const ISSUER: &str = "kubernetes/serviceaccount";
/// Where each namespace has the API's CA.
const ROOT_CA: &str = "kube-root-ca.crt";

/// All claims.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    account_uid: String,
    sub: String,
}

impl ApiServer {
    /// Fills a new Secret that is to hold a ServiceAccount's token; other objects stay as they are.
    pub(crate) async fn fill_token_secret(
        &self,
        context: &Context,
        target: &Target,
        secret: &mut Value,
    ) -> Result<(), Status> {
        let is_ours = target.kind.group().is_empty() && target.kind.plural() == "secrets";
        if !is_ours || secret["type"] != SERVICE_ACCOUNT_TOKEN {
            return Ok(());
        }
        let account = Meta::of(secret)
            .annotation(SERVICE_ACCOUNT_NAME)
            .unwrap_or_default()
            .to_owned();
        if account.is_empty() || secret["data"]["token"].is_string() {
            return Ok(());
        }
        let kind = kontiki_api::by_resource("serviceaccounts")
            .ok_or_else(|| Status::internal("a kind is missing"))?;
        let found = Target::object(kind, target.namespace.as_str(), account.as_str());
        let Ok(found) = self.current(context, &found).await else {
            return Ok(());
        };
        let uid = found.header.uid.to_string();
        if Meta::of(secret)
            .annotation(SERVICE_ACCOUNT_UID)
            .is_some_and(|wanted| wanted != uid)
        {
            return Ok(());
        }
        let claims = Claims {
            iss: ISSUER.to_owned(),
            namespace: target.namespace.clone(),
            secret: Meta::of(secret).name().to_owned(),
            sub: username(&target.namespace, &account),
            account,
            account_uid: uid.clone(),
        };
        let token = self.options().issuer.sign(&claims);
        let token = token.map_err(|_| Status::internal("failed to create token"))?;
        metadata_mut(secret)
            .entry("annotations")
            .or_insert_with(|| json!({}))[SERVICE_ACCOUNT_UID] = uid.into();
        let ca = self
            .store()
            .snapshot()
            .find("configmaps", &target.namespace, ROOT_CA);
        if let Some(ca) =
            ca.and_then(|map| map.value()["data"]["ca.crt"].as_str().map(str::to_owned))
        {
            secret["data"]["ca.crt"] = STANDARD.encode(ca).into();
        }
        secret["data"]["namespace"] = STANDARD.encode(&target.namespace).into();
        secret["data"]["token"] = STANDARD.encode(token).into();
        Ok(())
    }

    /// The user of such a token.
    pub(super) fn user_of_secret_token(&self, token: &str) -> Option<User> {
        let claims: Claims = self.options().issuer.verify(token)?;
        (claims.iss == ISSUER).then_some(())?;
        living(&self.store().snapshot(), &claims, token)?;
        Some(User {
            name: claims.sub,
            uid: claims.account_uid,
            groups: groups(&claims.namespace),
            ..User::default()
        })
    }
}

/// The Secret still holds that token, and the account is that account.
fn living(snapshot: &Snapshot, claims: &Claims, token: &str) -> Option<()> {
    let Claims {
        namespace,
        secret,
        account,
        ..
    } = claims;
    let secret = snapshot.find("secrets", namespace, secret)?;
    let stored = secret.value()["data"]["token"]
        .as_str()
        .map(str::to_owned)?;
    let account_object = snapshot.find("serviceaccounts", namespace, account)?;
    let is_living = !secret.header.deleting
        && STANDARD.decode(stored).ok()? == token.as_bytes()
        && *account_object.header.uid == *claims.account_uid
        && claims.sub == username(namespace, account);
    is_living.then_some(())
}
