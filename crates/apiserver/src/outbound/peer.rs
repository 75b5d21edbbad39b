//! Whom to talk to: an address by URL or by Service, and what it has to prove.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::tls::Identity;

/// Upstream's default port of a Service reference.
const DEFAULT_PORT: u16 = 443;

/// One extension.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is.
    pub destination: Destination,
    /// How it proves who it is.
    pub trust: Trust,
    /// How we prove who we are, if at all.
    pub identity: Option<Arc<Identity>>,
}

/// Where an extension is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// By URL.
    Url(Url),
    /// By Service, of which any ready pod will do.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// The Service's name.
        name: String,
        /// A port of the Service.
        port: u16,
        /// Path of the URL.
        path: String,
    },
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Trust {
    /// Those of the machine's authorities.
    #[default]
    System,
    /// Those of these authorities, in PEM.
    Bundle(Arc<[u8]>),
    /// All (`insecureSkipTLSVerify`).
    Anyone,
}

impl Peer {
    /// Of a webhook's `clientConfig`, which is valid.
    pub fn of_client_config(config: &Value) -> Self {
        let destination = match config.get("service").filter(|found| !found.is_null()) {
            Some(reference) => Destination::of_service(reference),
            None => {
                let url = config["url"]
                    .as_str()
                    .and_then(|text| Url::parse(text).ok());
                url.map_or_else(Destination::nowhere, Destination::Url)
            }
        };
        Self {
            destination,
            trust: Trust::of_bundle(&config["caBundle"]),
            identity: None,
        }
    }

    /// What connections may be shared by.
    pub(super) fn key(&self) -> String {
        let trust = match &self.trust {
            Trust::System => "system".to_owned(),
            Trust::Anyone => "anyone".to_owned(),
            Trust::Bundle(pem) => format!("{:x}", Sha256::digest(pem)),
        };
        let identity = self
            .identity
            .as_ref()
            .map_or(0, |identity| Arc::as_ptr(identity) as usize);
        format!("{} {trust} {identity}", self.destination.authority())
    }
}

impl Trust {
    /// A base64 bundle of an object.
    pub fn of_bundle(bundle: &Value) -> Self {
        let bundle = bundle.as_str().unwrap_or_default();
        match base64::engine::general_purpose::STANDARD.decode(bundle) {
            Ok(pem) if !pem.is_empty() => Self::Bundle(pem.into()),
            _ => Self::System,
        }
    }
}

impl Destination {
    /// A `service` reference: namespace, name, port, path.
    pub fn of_service(reference: &Value) -> Self {
        let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
        let port = reference["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        Self::Service {
            namespace: text("namespace"),
            name: text("name"),
            port: port.unwrap_or(DEFAULT_PORT),
            path: text("path"),
        }
    }

    /// A reference that names nothing: validation lets none through.
    fn nowhere() -> Self {
        Self::of_service(&Value::Null)
    }

    /// `host:port`, as the URL has it.
    pub fn authority(&self) -> String {
        match self {
            Self::Url(url) => {
                let host = url.host_str().unwrap_or_default();
                format!(
                    "{host}:{}",
                    url.port_or_known_default().unwrap_or(DEFAULT_PORT)
                )
            }
            Self::Service { port, .. } => format!("{}:{port}", self.server_name()),
        }
    }

    /// The name in the certificate.
    pub fn server_name(&self) -> String {
        match self {
            Self::Url(url) => {
                let host = url.host_str().unwrap_or_default();
                host.trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned()
            }
            Self::Service {
                namespace, name, ..
            } => format!("{name}.{namespace}.svc"),
        }
    }

    /// Path and query, with the time that is left for an answer, as upstream tells it.
    pub(super) fn path_with_timeout(&self, timeout: Duration) -> String {
        let mut path = match self {
            Self::Url(url) => url.path().to_owned(),
            Self::Service { path, .. } => path.clone(),
        };
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        let timeout = format!("timeout={}s", timeout.as_secs().max(1));
        match self {
            Self::Url(url) if url.query().is_some_and(|query| !query.is_empty()) => {
                format!("{path}?{}&{timeout}", url.query().unwrap_or_default())
            }
            _ => format!("{path}?{timeout}"),
        }
    }

    /// The URL as errors show it.
    pub fn shown(&self, timeout: Duration) -> String {
        format!(
            "https://{}{}",
            self.authority(),
            self.path_with_timeout(timeout)
        )
    }
}
