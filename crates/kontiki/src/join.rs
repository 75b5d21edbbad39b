//! Joining a cluster with a token, from the joining machine's side.
//!
//! A token is `K1.DIGEST.ID.SECRET`: the format's version, the SHA-256 of the API authority's certificate, and id and
//! secret of the token. The server's chain is checked against the digest in the TLS handshake, before the secret
//! leaves this machine: whoever sits in between learns nothing.

mod pinned;

use std::path::Path;

use anyhow::{Context, Result, bail};
use kontiki_base::random::{Random as _, SystemRandom};
use kontiki_proto::cluster::join_service_client::JoinServiceClient;
use kontiki_proto::cluster::{
    JoinGatewayRequest, JoinNodeRequest, JoinServerRequest, JoinServerResponse,
};

use crate::client::refused;
use crate::config::{AgentConfig, GatewayConfig, JoinConfig, ServerConfig};
use crate::{files, pki};

const VERSION: &str = "K1";
const DIGEST_CHARS: usize = 64;
/// Characters of a token's id.
pub const ID_CHARS: usize = 6;
/// Characters of a token's secret: 128 bits.
pub const SECRET_CHARS: usize = 32;

/// A join token, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of the API authority's certificate, in hex.
    pub ca_digest: String,
    /// Id, not secret.
    pub id: String,
    /// Secret.
    pub secret: String,
}

impl Token {
    /// A token for the cluster with this authority.
    pub fn generate(ca_digest: String) -> Self {
        Self {
            ca_digest,
            id: random_hex(ID_CHARS / 2),
            secret: random_hex(SECRET_CHARS / 2),
        }
    }

    /// Reads a token.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let hex = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match parts.as_slice() {
            [VERSION, digest, id, secret]
                if hex(digest, DIGEST_CHARS) && hex(id, ID_CHARS) && hex(secret, SECRET_CHARS) =>
            {
                Ok(Self {
                    ca_digest: digest.to_string(),
                    id: id.to_string(),
                    secret: secret.to_string(),
                })
            }
            _ => bail!("this is no join token; copy the whole output of `kontiki token create`"),
        }
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{VERSION}.{}.{}.{}",
            self.ca_digest, self.id, self.secret
        )
    }
}

/// So many random bytes in hex.
pub fn random_hex(n_bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < 2 * n_bytes {
        text.push_str(&format!("{:016x}", SystemRandom.bits()));
    }
    text.truncate(2 * n_bytes);
    text
}

/// Gets a node's certificate unless it has one.
pub async fn node(config: &AgentConfig, join: &JoinConfig) -> Result<Vec<String>> {
    let dir = config.data_dir.join("pki");
    if dir.join("node.crt").exists() {
        return Ok(Vec::new());
    }
    let text = join.token()?;
    let token = Token::parse(&text)?;
    let (key_pem, csr_pem) = pki::certificate_request()?;
    let mut client = JoinServiceClient::new(pinned::channel(&join.endpoint, &token).await?);
    let request = JoinNodeRequest {
        token: text,
        node_name: config.node_name.clone(),
        csr_pem,
    };
    let answer = client
        .join_node(request)
        .await
        .map_err(refused)
        .with_context(|| format!("{} refuses this node", join.endpoint))?
        .into_inner();
    if pki::digest_of_pem(&answer.ca_pem)? != token.ca_digest {
        bail!(
            "{} answered with another cluster's authority",
            join.endpoint
        );
    }
    pki::Pair {
        cert_pem: answer.certificate_pem,
        key_pem,
    }
    .save(&dir, "node")?;
    files::write_private(&dir.join("ca.crt"), answer.ca_pem.as_bytes())?;
    Ok(answer.server_endpoints)
}

/// Gets a gateway's certificate unless it has one.
pub async fn gateway(config: &GatewayConfig, join: &JoinConfig) -> Result<Vec<String>> {
    let dir = config.data_dir.join("pki");
    if dir.join("gateway.crt").exists() {
        return Ok(Vec::new());
    }
    let text = join.token()?;
    let token = Token::parse(&text)?;
    let (key_pem, csr_pem) = pki::certificate_request()?;
    let mut client = JoinServiceClient::new(pinned::channel(&join.endpoint, &token).await?);
    let request = JoinGatewayRequest {
        token: text,
        name: config.name.clone(),
        hosts: config.certificate_hosts(),
        csr_pem,
    };
    let answer = client
        .join_gateway(request)
        .await
        .map_err(refused)
        .with_context(|| format!("{} refuses this gateway", join.endpoint))?
        .into_inner();
    if pki::digest_of_pem(&answer.ca_pem)? != token.ca_digest {
        bail!(
            "{} answered with another cluster's authority",
            join.endpoint
        );
    }
    files::create_private_dir(&dir)?;
    files::write_private(&dir.join("ca.crt"), answer.ca_pem.as_bytes())?;
    pki::Pair {
        cert_pem: answer.certificate_pem,
        key_pem,
    }
    .save(&dir, "gateway")?;
    Ok(answer.server_endpoints)
}

/// Gets a replica's id, keys and peers. The keys are written; the rest is the caller's to keep.
pub async fn server(config: &ServerConfig, join: &JoinConfig) -> Result<JoinServerResponse> {
    let text = join.token()?;
    let token = Token::parse(&text)?;
    let mut client = JoinServiceClient::new(pinned::channel(&join.endpoint, &token).await?);
    let request = JoinServerRequest {
        token: text,
        name: config.name.clone(),
        peer_endpoint: config.advertise_peer.clone(),
        api_endpoint: config.advertise.clone(),
    };
    let answer = client
        .join_server(request)
        .await
        .map_err(refused)
        .with_context(|| format!("{} refuses this replica", join.endpoint))?
        .into_inner();
    save_keys(&config.data_dir.join("pki"), &answer)?;
    Ok(answer)
}

/// Files that a joining replica gets.
pub const SERVER_FILES: [&str; 7] = [
    "api-ca.crt",
    "api-ca.key",
    "peer-ca.crt",
    "peer-ca.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    pki::TOKEN_KEY,
];

fn save_keys(dir: &Path, answer: &JoinServerResponse) -> Result<()> {
    files::create_private_dir(dir)?;
    for name in SERVER_FILES {
        let Some(content) = answer.pki_files.get(name) else {
            bail!("the cluster did not send {name}");
        };
        files::write_private(&dir.join(name), content.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_everything_else_is_refused() {
        let token = Token::generate("ab".repeat(32));
        assert_eq!(Token::parse(&token.to_string()).unwrap(), token);
        assert_ne!(token, Token::generate("ab".repeat(32)));
        let text = token.to_string();
        for bad in [
            "",
            "K1",
            "K2.a.b.c",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
        ] {
            assert!(Token::parse(bad).is_err(), "{bad}");
        }
    }
}
