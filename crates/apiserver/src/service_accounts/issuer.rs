//! Who issues tokens: the issuer's name, its audiences, its key, and what the world may read of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::jwt::Key;

/// The issuer in tokens, and the audience of the API.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Where the public keys are served.
pub const JWKS_PATH: &str = "/openid/v1/jwks";

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 private key in PKCS#8")]
pub struct KeyError;

/// The issuer of ServiceAccounts' tokens.
pub struct TokenIssuer {
    key: Key,
    audiences: Vec<String>,
}

impl TokenIssuer {
    /// With a key in PEM (`PRIVATE KEY`), which all replicas share.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let body: String = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .map(str::trim)
            .collect();
        let der = STANDARD.decode(body).map_err(|_| KeyError)?;
        Ok(Self::new(Key::from_pkcs8(&der)?))
    }

    /// With a key of its own: tokens end with the process.
    pub fn ephemeral() -> Self {
        Self::new(Key::generate().expect("the system gives random numbers"))
    }

    fn new(key: Key) -> Self {
        Self {
            key,
            audiences: vec![ISSUER.to_owned()],
        }
    }

    /// `iss`.
    pub(crate) fn name(&self) -> &str {
        ISSUER
    }

    /// The audiences of the API: those of a token that names none.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        self.key.sign(claims)
    }

    pub(super) fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        self.key.verify(token)
    }

    /// The public keys (RFC 7517).
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.key.jwk()]})
    }

    /// OpenID's discovery document; `server` is the API's `host:port`.
    pub fn configuration(&self, server: &str) -> Value {
        json!({
            "issuer": ISSUER,
            "jwks_uri": format!("https://{server}{JWKS_PATH}"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer").finish_non_exhaustive()
    }
}
