//! A server whose certificate is its own authority: the bundle of many a webhook is the server's one certificate. Go
//! believes it, webpki refuses an authority as a server.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// A chain to one of the certificates, or one of them itself.
#[derive(Debug)]
pub(super) struct OrItself {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrItself {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .inner
            .verify_server_cert(server, chain, name, ocsp, now);
        let is_own = self.certificates.iter().any(|known| known == server);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if is_own => {
                check(server, name, now)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What is left to check of a certificate that is believed as it is: its time and its name.
fn check(server: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = parse_x509_certificate(server).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names
        .map(|found| found.value.general_names.as_slice())
        .unwrap_or_default();
    if names.iter().any(|found| is_named(found, name)) {
        Ok(())
    } else {
        Err(CertificateError::NotValidForName.into())
    }
}

fn is_named(found: &GeneralName<'_>, name: &ServerName<'_>) -> bool {
    match (found, name) {
        (GeneralName::DNSName(found), ServerName::DnsName(name)) => {
            let (found, name) = (
                found.to_ascii_lowercase(),
                name.as_ref().to_ascii_lowercase(),
            );
            match found.strip_prefix("*.") {
                Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
                None => found == name,
            }
        }
        (GeneralName::IPAddress(found), ServerName::IpAddress(ip)) => {
            match std::net::IpAddr::from(*ip) {
                std::net::IpAddr::V4(ip) => ip.octets() == **found,
                std::net::IpAddr::V6(ip) => ip.octets() == **found,
            }
        }
        _ => false,
    }
}
