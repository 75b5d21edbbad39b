//! Signs requests of CertificateSigningRequests with the API authority's key: subject, names and key are the request's,
//! everything else is the signer's (upstream's `PermissiveSigningPolicy`).
//!
//! Written out in DER rather than by rcgen, which knows neither several organizations nor several values in one part of
//! a name: what Go's clients write for a user of two groups.

mod der;

use std::fmt;

use anyhow::{Context, Result, anyhow, ensure};
use kontiki_base::random::{Random as _, SystemRandom};
use kontiki_controllers::{Certificate, CertificateSigner};
use rcgen::{KeyPair, SigningKey as _};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use self::der::{BIT_STRING, INTEGER, SEQUENCE, extension, moment, pem, tlv};
use super::{Authority, first_der};

/// DER of the object identifiers of extensions.
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x25];
const AUTHORITY_KEY_ID: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x23];

/// Usages that are bits of one extension.
const KEY_USAGES: &[(&str, u8)] = &[
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// Usages that are object identifiers in another.
const EXTENDED_USAGES: &[(&str, &[u8])] = &[
    ("any", &[0x06, 4, 0x55, 0x1d, 0x25, 0]),
    ("server auth", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 9]),
    (
        "microsoft sgc",
        &[0x06, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3],
    ),
    (
        "netscape sgc",
        &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1],
    ),
];

impl CertificateSigner for Authority {
    fn sign(&self, certificate: &Certificate<'_>) -> Result<String, String> {
        self.sign_certificate(certificate)
            .map_err(|error| format!("{error:#}"))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    fn sign_certificate(&self, wanted: &Certificate<'_>) -> Result<String> {
        let (_, block) = x509_parser::pem::parse_x509_pem(wanted.request_pem)
            .map_err(|error| anyhow!("malformed request: {error}"))?;
        let (_, request) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| anyhow!("malformed request: {error}"))?;
        let ca_der = first_der(&self.pair.cert_pem)?;
        let (_, ca) = X509Certificate::from_der(&ca_der)?;
        let key = KeyPair::from_pem(&self.pair.key_pem)?;
        let algorithm = signature_algorithm(&key)?;
        let asked = &request.certification_request_info;
        let extensions = [
            usages(wanted.usages)?,
            extension(BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[])),
            authority_key_id(&ca),
            alternative_names(&request),
        ];
        let to_sign = [
            tlv(0xa0, &[INTEGER, 1, 2]),
            tlv(INTEGER, &serial()),
            algorithm.to_vec(),
            ca.subject().as_raw().to_vec(),
            validity(wanted, &ca)?,
            asked.subject.as_raw().to_vec(),
            asked.subject_pki.raw.to_vec(),
            tlv(0xa3, &tlv(SEQUENCE, &extensions.concat())),
        ];
        let to_sign = tlv(SEQUENCE, &to_sign.concat());
        let signature = key.sign(&to_sign)?;
        let signature = tlv(BIT_STRING, &[&[0], signature.as_slice()].concat());
        let certificate = [&to_sign, algorithm, &signature].concat();
        Ok(pem("CERTIFICATE", &tlv(SEQUENCE, &certificate)))
    }
}

/// The `AlgorithmIdentifier` of the authority's signatures.
fn signature_algorithm(key: &KeyPair) -> Result<&'static [u8]> {
    let known: [(&rcgen::SignatureAlgorithm, &'static [u8]); 3] = [
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &[SEQUENCE, 10, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        ),
        (
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &[SEQUENCE, 10, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        ),
        (
            &rcgen::PKCS_ED25519,
            &[SEQUENCE, 5, 0x06, 3, 0x2b, 0x65, 0x70],
        ),
    ];
    let own = known
        .iter()
        .find(|(algorithm, _)| *algorithm == key.algorithm());
    own.map(|(_, identifier)| *identifier)
        .context("the authority's key is neither ECDSA nor Ed25519")
}

/// A positive number of random bits, without a leading zero.
fn serial() -> [u8; 16] {
    let bits = (u128::from(SystemRandom.bits()) << 64) | u128::from(SystemRandom.bits());
    let mut bytes = bits.to_be_bytes();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}

/// As asked, but within the authority's own.
fn validity(wanted: &Certificate<'_>, ca: &X509Certificate<'_>) -> Result<Vec<u8>> {
    let seconds = |ms: u64| i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let (from_s, until_s) = (seconds(wanted.not_before_ms), seconds(wanted.not_after_ms));
    let end = ca.validity().not_after;
    let end_s = end.timestamp();
    ensure!(from_s < end_s, "the signer has expired: NotAfter={end}");
    let moments = [moment(from_s)?, moment(until_s.min(end_s))?];
    Ok(tlv(SEQUENCE, &moments.concat()))
}

/// Both extensions of usages, as far as there are any.
fn usages(usages: &[String]) -> Result<Vec<u8>> {
    let mut bits = 0_u16;
    let mut extended: Vec<&[u8]> = Vec::new();
    for usage in usages {
        let bit = KEY_USAGES.iter().find(|(name, _)| name == usage);
        let id = EXTENDED_USAGES.iter().find(|(name, _)| name == usage);
        match (bit, id) {
            (Some((_, bit)), _) => bits |= 0x8000 >> bit,
            (None, Some((_, id))) if !extended.contains(id) => extended.push(id),
            (None, Some(_)) => {}
            (None, None) => return Err(anyhow!("unrecognized usage values: [{usage:?}]")),
        }
    }
    let mut out = Vec::new();
    if bits != 0 {
        // Trailing zeros are not written.
        let unused = bits.trailing_zeros() as u8;
        let n_bytes = if unused >= 8 { 1 } else { 2 };
        let content = [&[unused % 8], &bits.to_be_bytes()[..n_bytes]].concat();
        out.extend(extension(KEY_USAGE, true, &tlv(BIT_STRING, &content)));
    }
    if !extended.is_empty() {
        let ids = tlv(SEQUENCE, &extended.concat());
        out.extend(extension(EXTENDED_KEY_USAGE, false, &ids));
    }
    Ok(out)
}

/// Which key of the authority signed, if the authority names it.
fn authority_key_id(ca: &X509Certificate<'_>) -> Vec<u8> {
    let id = ca
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(tlv(SEQUENCE, &tlv(0x80, id.0))),
            _ => None,
        });
    id.map_or_else(Vec::new, |id| extension(AUTHORITY_KEY_ID, false, &id))
}

/// The names and addresses that the request asks for.
fn alternative_names(request: &X509CertificationRequest<'_>) -> Vec<u8> {
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(asked) = extension else {
            continue;
        };
        for name in &asked.general_names {
            names.extend(match name {
                GeneralName::RFC822Name(text) => tlv(0x81, text.as_bytes()),
                GeneralName::DNSName(text) => tlv(0x82, text.as_bytes()),
                GeneralName::URI(text) => tlv(0x86, text.as_bytes()),
                GeneralName::IPAddress(octets) => tlv(0x87, octets),
                _ => Vec::new(),
            });
        }
    }
    if names.is_empty() {
        return names;
    }
    let subject = &request.certification_request_info.subject;
    let is_only_name = subject.iter().next().is_none();
    extension(SUBJECT_ALT_NAME, is_only_name, &tlv(SEQUENCE, &names))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType};

    use super::*;

    fn sign(authority: &Authority, usages: &[&str], until_ms: u64) -> Result<Vec<u8>, String> {
        let mut params = CertificateParams::new(["n1.example".into(), "10.0.0.1".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        let key = KeyPair::generate().unwrap();
        let request_pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let usages: Vec<String> = usages.iter().map(ToString::to_string).collect();
        let wanted = Certificate {
            request_pem: request_pem.as_bytes(),
            usages: &usages,
            not_before_ms: until_ms - 3_600_000,
            not_after_ms: until_ms,
        };
        CertificateSigner::sign(authority, &wanted).map(|pem| first_der(&pem).unwrap())
    }

    #[test]
    fn a_request_keeps_its_subject_and_names_and_gets_the_signers_rest() {
        let authority = Authority::generate("kontiki").unwrap();
        let usages = ["digital signature", "client auth"];
        let der = sign(&authority, &usages, 1_900_000_000_000).unwrap();
        let (rest, cert) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let ca_der = first_der(authority.cert_pem()).unwrap();
        let (_, ca) = X509Certificate::from_der(&ca_der).unwrap();
        cert.verify_signature(Some(ca.public_key())).unwrap();
        assert_eq!(cert.subject().to_string(), "CN=jane");
        assert_eq!(cert.issuer(), ca.subject());
        assert_eq!(cert.validity().not_after.timestamp(), 1_900_000_000);
        let key_usage = cert.key_usage().unwrap().unwrap();
        assert!(key_usage.critical && key_usage.value.digital_signature());
        assert!(!key_usage.value.key_encipherment());
        let extended = cert.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
        assert!(!cert.is_ca());
        let names = cert.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 2);
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let authority = Authority::generate("kontiki").unwrap();
        let ca_der = first_der(authority.cert_pem()).unwrap();
        let (_, ca) = X509Certificate::from_der(&ca_der).unwrap();
        let end_s = ca.validity().not_after.timestamp();
        let der = sign(&authority, &["any"], end_s as u64 * 1000 + 600_000).unwrap();
        let (_, cert) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(cert.validity().not_after.timestamp(), end_s);
        assert!(sign(&authority, &["any"], end_s as u64 * 1000 + 7_200_000).is_err());
        assert!(sign(&authority, &["magic"], 1_900_000_000_000).is_err());
    }

    #[test]
    fn bits_of_usages_are_written_short() {
        let value = |usage: &str| {
            let bytes = usages(&[usage.to_owned()]).unwrap();
            bytes[bytes.len() - 4..].to_vec()
        };
        assert_eq!(value("digital signature"), [BIT_STRING, 2, 7, 0x80]);
        assert_eq!(value("cert sign"), [BIT_STRING, 2, 2, 0x04]);
        assert_eq!(value("decipher only"), [3, 7, 0x00, 0x80]);
    }
}
