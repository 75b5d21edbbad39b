//! TLS of the public port: the server's certificate can change while running, a client's is asked for but not
//! required (tokens, health checks and joining nodes have none).
//!
//! Deliberately absent: making certificates (the binary) and what a certificate allows (`apiserver::authn`).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not PEM, or not of the kind expected there.
    #[error("{what}: {message}")]
    Pem {
        /// Which of the files.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The key does not belong to the certificate, or is of an unknown type.
    #[error("certificate and key: {0}")]
    Key(#[from] rustls::Error),
    /// The client CA cannot be used.
    #[error("client CA: {0}")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
}

/// The server's certificate, replaceable while connections are accepted.
#[derive(Debug)]
pub struct ServerCert(ArcSwap<CertifiedKey>);

impl ServerCert {
    /// From a certificate chain and its key, in PEM.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified_key(
            cert_pem, key_pem,
        )?))))
    }

    /// Takes a renewed certificate into use; connections that are open keep the old one.
    pub fn renew(&self, cert_pem: &str, key_pem: &str) -> Result<(), Error> {
        self.0.store(Arc::new(certified_key(cert_pem, key_pem)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServerCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Verifies certificates that clients showed to someone else, as the public port does its own clients'.
#[derive(Debug, Clone)]
pub struct ClientCerts(Arc<dyn ClientCertVerifier>);

impl ClientCerts {
    /// Under the authority of clients.
    pub fn under(client_ca_pem: &str) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self(verifier(client_ca_pem, provider)?))
    }

    /// Whether the authority signed a certificate, in DER, for a client, and it is good at that moment.
    pub fn verifies(&self, der: &[u8], unix_ms: u64) -> bool {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(unix_ms));
        let cert = CertificateDer::from(der);
        self.0.verify_client_cert(&cert, &[], now).is_ok()
    }
}

fn verifier(
    client_ca_pem: &str,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for root in certs("client CA", client_ca_pem)? {
        roots.add(root)?;
    }
    Ok(
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .allow_unauthenticated()
            .build()?,
    )
}

/// The rustls configuration of the public port. Clients' certificates are verified against `client_ca_pem`.
pub fn server_config(cert: Arc<ServerCert>, client_ca_pem: &str) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(client_ca_pem, provider.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(cert);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certified_key(cert_pem: &str, key_pem: &str) -> Result<CertifiedKey, Error> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| Error::Pem {
        what: "server key",
        message: error.to_string(),
    })?;
    let provider = rustls::crypto::ring::default_provider();
    Ok(CertifiedKey::from_der(
        certs("server certificate", cert_pem)?,
        key,
        &provider,
    )?)
}

fn certs(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certs = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::Pem {
            what,
            message: error.to_string(),
        })?;
    if certs.is_empty() {
        return Err(Error::Pem {
            what,
            message: "no certificate found".into(),
        });
    }
    Ok(certs)
}
