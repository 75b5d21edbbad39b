//! Who is on the other side: TLS settings of both directions, and the identity in a peer's certificate.
//!
//! A certificate counts when the peers' CA signed it, its organization is `kontiki:peer` and its common name is
//! `replica-<id>`. The CA signs nothing else, so the organization is a second lock, not the only one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{PeerTls, ReplicaId, StartError};

const ORGANIZATION: &str = "kontiki:peer";
const SERVER_NAME: &str = "kontiki-peer";
const ALPN: &[u8] = b"h2";

/// The present keys; replaced while running.
pub(crate) struct Keys {
    server: ArcSwap<ServerConfig>,
    client: ArcSwap<ClientConfig>,
}

impl Keys {
    pub(crate) fn new(tls: &PeerTls) -> Result<Self, StartError> {
        let (server, client) = configs(tls)?;
        Ok(Self {
            server: ArcSwap::from_pointee(server),
            client: ArcSwap::from_pointee(client),
        })
    }

    /// New connections use the new keys; open ones live on.
    pub(crate) fn renew(&self, tls: &PeerTls) -> Result<(), StartError> {
        let (server, client) = configs(tls)?;
        self.server.store(Arc::new(server));
        self.client.store(Arc::new(client));
        Ok(())
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.load_full()
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client.load_full()
    }
}

pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(SERVER_NAME).expect("a constant DNS name")
}

/// The replica that a verified certificate names.
pub(crate) fn identity(chain: Option<&[CertificateDer<'_>]>) -> Result<ReplicaId, String> {
    let leaf = chain.and_then(<[_]>::first).ok_or("no certificate")?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let subject = certificate.subject();
    let peer = subject
        .iter_organization()
        .chain(subject.iter_organizational_unit())
        .any(|part| part.as_str() == Ok(ORGANIZATION));
    let name = subject
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok());
    let id = name.and_then(|name| name.strip_prefix("replica-")?.parse().ok());
    match id {
        Some(id) if peer => Ok(id),
        _ => Err(format!("{subject} is no peer's certificate")),
    }
}

fn configs(tls: &PeerTls) -> Result<(ServerConfig, ClientConfig), StartError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca_pem)? {
        roots
            .add(certificate)
            .map_err(|error| unusable("the peers' CA", &error))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(&tls.cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes())
        .map_err(|error| unusable("the peer key", &error))?;

    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| unusable("the peers' CA", &error))?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("TLS 1.3", &error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| unusable("the peer certificate", &error))?;
    server.alpn_protocols = vec![ALPN.to_vec()];

    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| unusable("the peers' CA", &error))?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("TLS 1.3", &error))?
        .with_webpki_verifier(servers)
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable("the peer certificate", &error))?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    Ok((server, client))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    parsed.map_err(|error| unusable("a peer certificate", &error))
}

fn unusable(what: &str, error: &dyn std::fmt::Display) -> StartError {
    StartError::Network(format!("{what} cannot be used: {error}"))
}
