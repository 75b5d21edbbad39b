//! TLS towards extensions: whose certificates are believed, and our own.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::self_signed::OrItself;
use super::{Error, Peer, Trust};

/// Where Debian keeps the machine's authorities.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A certificate of our own and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// From PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|why| format!("certificate: {why}"))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|why| format!("key: {why}"))?;
        Ok(Self { chain, key })
    }
}

/// The configuration for one peer.
pub(super) fn config(peer: &Peer) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let failed = |why: String| Error::Unreachable(format!("tls: {why}"));
    let verifier: Arc<dyn ServerCertVerifier> = match &peer.trust {
        Trust::Anyone => Arc::new(Anyone(Arc::clone(&provider))),
        Trust::Bundle(pem) => verifier(pem, &provider).map_err(failed)?,
        Trust::System => {
            let pem = std::fs::read(SYSTEM_BUNDLE)
                .map_err(|why| failed(format!("{SYSTEM_BUNDLE}: {why}")))?;
            verifier(&pem, &provider).map_err(failed)?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| failed(why.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match &peer.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|why| failed(why.to_string())),
    }
}

/// The configuration for whoever answers, which a proxy does not ask for its name.
pub(crate) fn to_anyone() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Anyone(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::Unreachable(format!("tls: {why}")))?;
    let builder = builder.dangerous();
    Ok(builder
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn verifier(
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|why| format!("unable to load root certificates: {why}"))?;
        // One that is unreadable takes nothing away from the others.
        if roots.add(certificate.clone()).is_ok() {
            certificates.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err("unable to load root certificates: no valid certificate data seen".to_owned());
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|why| why.to_string())?;
    Ok(Arc::new(OrItself {
        inner,
        certificates,
    }))
}

/// Believes every certificate, as `insecureSkipTLSVerify` asks for; signatures still have to be right.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
