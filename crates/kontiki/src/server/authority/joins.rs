//! Join tokens and who is let in with them.
//!
//! A token is a Secret in `kube-system`: role, end, and the SHA-256 of its secret, never the secret. An id of a replica
//! is a ConfigMap there that stays when the replica goes, so that no id is given twice (a wiped replica that returned
//! under its old id could vote twice in one term).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kontiki_api::kinds::by_resource;
use kontiki_api::meta::names;
use kontiki_apiserver::{
    Answer, ApiServer, Context, DeleteOptions, GetOptions, ListOptions, Target, User, WriteOptions,
};
use kontiki_base::status::{Reason, Status};
use kontiki_consensus::Consensus;
use kontiki_rpc::{
    ClientIdentity, JoinAuthority, JoinGateway, JoinNode, JoinServer, Role, ServerIdentity,
    TokenInfo,
};
use serde_json::{Value, json};
use sha2::Digest as _;

use super::Authorities;
use crate::join::Token;
use crate::pki::{ADMIN_GROUP, Subject};

const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "kontiki.io/join-token";
const SECRET_PREFIX: &str = "join-token-";
const REPLICA_PREFIX: &str = "kontiki-replica-";
/// Ids that are tried when several replicas join at once.
const ID_ATTEMPTS: u64 = 16;
const TOKENS: u64 = 1000;
/// A node that was heard of this recently is alive (the node controller's grace period).
const ALIVE_MS: u64 = 40_000;

/// Decides on joining.
pub struct Joins {
    consensus: Consensus,
    api: ApiServer,
    authorities: Arc<Authorities>,
}

impl Joins {
    /// With the store that keeps tokens.
    pub fn new(consensus: &Consensus, api: &ApiServer, authorities: Arc<Authorities>) -> Self {
        Self {
            consensus: consensus.clone(),
            api: api.clone(),
            authorities,
        }
    }

    fn now_unix_s(&self) -> i64 {
        (self.api.options().clock.unix_ms() / 1000) as i64
    }

    async fn create(&self, resource: &str, object: Value) -> Result<(), Status> {
        let target = target(resource, "")?;
        let options = WriteOptions::default();
        self.api
            .create(&context(), &target, object.into(), &options)
            .await
            .map(|_| ())
    }

    /// The token with this id, if it is valid for `role` and its secret is right.
    async fn admit(&self, text: &str, role: Role) -> Result<(), Status> {
        let refused = || {
            Status::new(
                Reason::Unauthorized,
                "the join token is not valid here, or has ended",
            )
        };
        let token = Token::parse(text).map_err(|_| refused())?;
        let target = target("secrets", &format!("{SECRET_PREFIX}{}", token.id))?;
        let stored = self
            .api
            .get(&context(), &target, &GetOptions::default())
            .await;
        let stored = match stored {
            Ok(answer) => value(answer),
            Err(status) if status.reason == Reason::NotFound => return Err(refused()),
            Err(status) => return Err(status),
        };
        let info = info(&stored).ok_or_else(refused)?;
        let live = info
            .expires_unix_s
            .is_none_or(|end| end > self.now_unix_s());
        let hash = field(&stored, "hash").unwrap_or_default();
        if info.role == role && live && same(&hash, &hash_of(&token.secret)) {
            Ok(())
        } else {
            Err(refused())
        }
    }

    /// An id that no replica ever had.
    async fn new_replica_id(&self, name: &str) -> Result<u64, Status> {
        let members = self.consensus.members();
        let target = target("configmaps", "")?;
        let listed = self
            .api
            .list(&context(), &target, &ListOptions::default())
            .await?;
        let recorded = listed.items.iter().filter_map(|object| {
            object
                .key
                .name
                .strip_prefix(REPLICA_PREFIX)?
                .parse::<u64>()
                .ok()
        });
        let highest = members
            .iter()
            .map(|member| member.id)
            .chain(recorded)
            .max()
            .unwrap_or(0);
        for id in highest + 1..=highest + ID_ATTEMPTS {
            let record = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": format!("{REPLICA_PREFIX}{id}"), "namespace": NAMESPACE },
                "data": { "name": name },
            });
            match self.create("configmaps", record).await {
                Ok(()) => return Ok(id),
                Err(status) if status.reason == Reason::AlreadyExists => {}
                Err(status) => return Err(status),
            }
        }
        Err(Status::new(
            Reason::TooManyRequests,
            "too many replicas join at once; try again",
        ))
    }

    async fn node(&self, request: JoinNode) -> Result<ClientIdentity, Status> {
        self.admit(&request.token, Role::Node).await?;
        let name = &request.node_name;
        let bad = |why: String| Status::bad_request(format!("node name \"{name}\": {why}"));
        if let Some(why) = names::dns1123_subdomain(name).into_iter().next() {
            return Err(bad(why));
        }
        // A live node keeps its name: a token admits machines, it does not replace them.
        let last_ms = self.api.options().liveness.last_heartbeat_unix_ms(name);
        let now_ms = self.api.options().clock.unix_ms();
        if last_ms.is_some_and(|last_ms| now_ms < last_ms + ALIVE_MS) {
            return Err(Status::new(
                Reason::Conflict,
                format!("a node \"{name}\" is alive; choose another name or stop that node first"),
            ));
        }
        self.signed(&request.csr_pem, &Subject::node(name))
    }

    async fn gateway(&self, request: JoinGateway) -> Result<ClientIdentity, Status> {
        self.admit(&request.token, Role::Gateway).await?;
        let why_not = names::dns1123_subdomain(&request.name).into_iter().next();
        if let Some(why) = why_not {
            let name = &request.name;
            return Err(Status::bad_request(format!(
                "gateway name \"{name}\": {why}"
            )));
        }
        for host in &request.hosts {
            check_host(host)
                .map_err(|why| Status::bad_request(format!("host \"{host}\": {why}")))?;
        }
        let subject = Subject::remote_gateway(&request.name, request.hosts);
        self.signed(&request.csr_pem, &subject)
    }

    async fn renewed(&self, cert_der: &[u8], csr_pem: &str) -> Result<ClientIdentity, Status> {
        let subject = Subject::of_remote_gateway(cert_der)
            .map_err(|error| Status::bad_request(format!("{error:#}")))?;
        self.signed(csr_pem, &subject)
    }

    /// Signs a request, and tells what whoever joins has to know.
    fn signed(&self, csr_pem: &str, subject: &Subject) -> Result<ClientIdentity, Status> {
        let certificate_pem = self
            .authorities
            .api
            .sign_request(csr_pem, subject)
            .map_err(|error| Status::bad_request(format!("{error:#}")))?;
        let members = self.consensus.members();
        Ok(ClientIdentity {
            certificate_pem,
            ca_pem: self.authorities.api.cert_pem().to_owned(),
            server_endpoints: members
                .into_iter()
                .map(|member| member.api_endpoint)
                .collect(),
        })
    }

    async fn server(&self, request: JoinServer) -> Result<ServerIdentity, Status> {
        self.admit(&request.token, Role::Server).await?;
        let id = self.new_replica_id(&request.name).await?;
        Ok(ServerIdentity {
            id,
            cluster_id: self.consensus.cluster_id().to_owned(),
            pki_files: self.authorities.files().into_iter().collect(),
            members: self.consensus.members(),
        })
    }

    async fn new_token(
        &self,
        role: Role,
        ttl: Option<Duration>,
    ) -> Result<(String, TokenInfo), Status> {
        if self.tokens().await?.len() as u64 >= TOKENS {
            return Err(Status::new(
                Reason::TooManyRequests,
                "too many join tokens; delete some",
            ));
        }
        let digest = self
            .authorities
            .api
            .digest()
            .map_err(|error| Status::internal(error.to_string()))?;
        let token = Token::generate(digest);
        let expires_unix_s = ttl.map(|ttl| self.now_unix_s() + ttl.as_secs() as i64);
        let text = |text: &str| STANDARD.encode(text);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": SECRET_TYPE,
            "metadata": { "name": format!("{SECRET_PREFIX}{}", token.id), "namespace": NAMESPACE },
            "data": {
                "id": text(&token.id),
                "role": text(role.as_str()),
                "hash": text(&hash_of(&token.secret)),
                "expires": text(&expires_unix_s.unwrap_or(0).to_string()),
            },
        });
        self.create("secrets", secret).await?;
        Ok((
            token.to_string(),
            TokenInfo {
                id: token.id,
                role,
                expires_unix_s,
            },
        ))
    }

    async fn tokens(&self) -> Result<Vec<TokenInfo>, Status> {
        let target = target("secrets", "")?;
        let options = ListOptions {
            field_selector: Some(format!("type={SECRET_TYPE}")),
            ..ListOptions::default()
        };
        let page = self.api.list(&context(), &target, &options).await?;
        Ok(page
            .items
            .iter()
            .filter_map(|object| info(&object.value()))
            .collect())
    }

    async fn end_token(&self, id: &str) -> Result<(), Status> {
        let target = target("secrets", &format!("{SECRET_PREFIX}{id}"))?;
        self.api
            .delete(&context(), &target, &DeleteOptions::default())
            .await
            .map(|_| ())
    }
}

impl JoinAuthority for Joins {
    fn keys(&self) -> BTreeMap<String, String> {
        self.authorities.files()
    }

    fn create_token(
        &self,
        role: Role,
        ttl: Option<Duration>,
    ) -> BoxFuture<'_, Result<(String, TokenInfo), Status>> {
        self.new_token(role, ttl).boxed()
    }

    fn list_tokens(&self) -> BoxFuture<'_, Result<Vec<TokenInfo>, Status>> {
        self.tokens().boxed()
    }

    fn delete_token(&self, id: &str) -> BoxFuture<'_, Result<(), Status>> {
        let id = id.to_owned();
        async move { self.end_token(&id).await }.boxed()
    }

    fn join_node(&self, request: JoinNode) -> BoxFuture<'_, Result<ClientIdentity, Status>> {
        self.node(request).boxed()
    }

    fn join_gateway(&self, request: JoinGateway) -> BoxFuture<'_, Result<ClientIdentity, Status>> {
        self.gateway(request).boxed()
    }

    fn renew_gateway(
        &self,
        cert_der: Vec<u8>,
        csr_pem: String,
    ) -> BoxFuture<'_, Result<ClientIdentity, Status>> {
        async move { self.renewed(&cert_der, &csr_pem).await }.boxed()
    }

    fn is_client(&self, cert_der: &[u8]) -> bool {
        let now_unix_ms = self.api.options().clock.unix_ms();
        self.authorities.clients.verifies(cert_der, now_unix_ms)
    }

    fn join_server(&self, request: JoinServer) -> BoxFuture<'_, Result<ServerIdentity, Status>> {
        self.server(request).boxed()
    }
}

/// A host that a gateway may serve. By the names of the Service `kubernetes` agents and pods know the replicas.
fn check_host(host: &str) -> Result<(), String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    if host == "kubernetes" || host.starts_with("kubernetes.") {
        return Err("is a name of the replicas".to_owned());
    }
    match names::dns1123_subdomain(host).into_iter().next() {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

/// The server itself asks, with all rights.
fn context() -> Context {
    Context {
        user: User {
            name: "system:kontiki".into(),
            groups: vec![ADMIN_GROUP.into()],
            ..User::default()
        },
        user_agent: "kontiki".into(),
        ..Context::default()
    }
}

fn target(resource: &str, name: &str) -> Result<Target, Status> {
    let kind = by_resource(resource).ok_or_else(|| Status::internal("a kind is missing"))?;
    Ok(Target {
        kind: kind.clone(),
        namespace: NAMESPACE.into(),
        name: name.into(),
        subresource: None,
    })
}

fn value(answer: Answer) -> Value {
    match answer {
        Answer::Object(object) => object.value(),
        Answer::Rendered(value) => value,
    }
}

fn field(secret: &Value, key: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str()?).ok()?).ok()
}

fn info(secret: &Value) -> Option<TokenInfo> {
    Some(TokenInfo {
        id: field(secret, "id")?,
        role: Role::parse(&field(secret, "role")?)?,
        expires_unix_s: field(secret, "expires")?
            .parse()
            .ok()
            .filter(|end| *end > 0),
    })
}

fn hash_of(secret: &str) -> String {
    sha2::Sha256::digest(secret)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compares in a time that does not depend on where the texts differ.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |sum, (l, r)| sum | (l ^ r))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_cannot_pose_as_a_replica() {
        for good in ["api.example.com", "localhost", "10.0.0.1", "::1", "gw-1"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in [
            "kubernetes",
            "kubernetes.default.svc",
            "*.example.com",
            "",
            "A b",
        ] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        let hash = hash_of("secret");
        assert!(same(&hash, &hash_of("secret")));
        assert!(!same(&hash, &hash_of("secreu")));
        assert!(!same(&hash, &hash[1..]));
        assert!(!same("", &hash));
    }
}
