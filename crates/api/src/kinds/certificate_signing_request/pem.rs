//! What PEM blocks hold: requests for certificates, whose signatures are checked, and chains of certificates.
//!
//! Texts come as the API carries them: PEM in base64. Errors are Go's words where clients may know them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

const REQUEST_LABEL: &str = "CERTIFICATE REQUEST";
const CERTIFICATE_LABEL: &str = "CERTIFICATE";

/// What a request asks for, as far as signers judge it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Common name of the subject.
    pub common_name: String,
    /// Organizations of the subject.
    pub organizations: Vec<String>,
    /// DNS names of the subject.
    pub n_dns_names: usize,
    /// E-mail addresses of the subject.
    pub n_emails: usize,
    /// IP addresses of the subject.
    pub n_ip_addresses: usize,
    /// URIs of the subject.
    pub n_uris: usize,
}

impl Request {
    /// Reads a request in PEM and checks its signature.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let block = first_request(pem)?;
        let request = parse(&block)?;
        verify(&request)?;
        let subject = &request.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).ok()
        };
        let mut read = Self {
            common_name: subject
                .iter_common_name()
                .last()
                .and_then(text)
                .unwrap_or_default(),
            organizations: subject.iter_organization().filter_map(text).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| read.count(name));
            }
        }
        Ok(read)
    }

    fn count(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(_) => self.n_dns_names += 1,
            GeneralName::RFC822Name(_) => self.n_emails += 1,
            GeneralName::IPAddress(_) => self.n_ip_addresses += 1,
            GeneralName::URI(_) => self.n_uris += 1,
            _ => {}
        }
    }
}

/// The end of the first certificate of a chain in PEM, in Unix seconds.
pub fn expiration_s(pem: &[u8]) -> Option<i64> {
    let block = Pem::iter_from_buffer(pem).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn verify(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    request
        .verify_signature()
        .map_err(|error| format!("x509: {error}"))
}

fn first_block(base64: &str) -> Result<Pem, String> {
    let bytes = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    first_request(&bytes)
}

fn first_request(pem: &[u8]) -> Result<Pem, String> {
    let block = Pem::iter_from_buffer(pem).next().and_then(Result::ok);
    block
        .filter(|block| block.label == REQUEST_LABEL)
        .ok_or_else(|| format!("PEM block type must be {REQUEST_LABEL}"))
}

fn parse(block: &Pem) -> Result<X509CertificationRequest<'_>, String> {
    match X509CertificationRequest::from_der(&block.contents) {
        Ok(([], request)) => Ok(request),
        Ok(_) => Err("asn1: syntax error: trailing data".to_owned()),
        Err(error) => Err(format!("asn1: structure error: {error}")),
    }
}

/// Checks a request for a certificate, its signature too.
pub fn check_request(base64: &str) -> Result<(), String> {
    let block = first_block(base64)?;
    verify(&parse(&block)?)
}

/// The organizations of a request's subject.
pub fn organizations(base64: &str) -> Result<Vec<String>, String> {
    let block = first_block(base64)?;
    let request = parse(&block)?;
    let organizations = request
        .certification_request_info
        .subject
        .iter_organization();
    Ok(organizations
        .filter_map(|value| value.as_str().ok())
        .map(str::to_owned)
        .collect())
}

/// Checks a chain of certificates; none at all is fine.
pub fn check_certificates(base64: &str) -> Result<(), String> {
    let bytes = STANDARD.decode(base64).map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Ok(());
    }
    let mut n_blocks = 0;
    for block in Pem::iter_from_buffer(&bytes).map_while(Result::ok) {
        if block.label != CERTIFICATE_LABEL {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        X509Certificate::from_der(&block.contents)
            .map_err(|error| format!("x509: malformed certificate: {error}"))?;
        n_blocks += 1;
    }
    if n_blocks == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    match has_headers(&bytes) {
        true => Err("no PEM block headers are permitted".to_owned()),
        false => Ok(()),
    }
}

/// Whether a block begins with lines such as `Proc-Type: 4,ENCRYPTED`.
fn has_headers(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    let mut inside = false;
    text.lines().any(|line| {
        if line.starts_with("-----") {
            inside = line.starts_with("-----BEGIN ");
            return false;
        }
        inside && line.contains(':')
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::NODE_REQUEST;
    use super::*;

    pub(super) const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJiakNDQVJXZ0F3SUJBZ0lVRXMrRWVkS0ZoL0VBeHhYcDFUeStrdE5ISTFrd0NnWUlLb1pJemowRUF3SXcKRERFS01BZ0dBMVVFQXd3QmVEQWdGdzB5TmpFeE1qVXdNek00TWpsYUdBOHlNVEkyTVRFd01UQXpNemd5T1ZvdwpEREVLTUFnR0ExVUVBd3dCZURCWk1CTUdCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQk5TZVc2VGVaQ1VlCjJFRVBEa2JyVisvbGJwQ09iT2taMzkrc04yOHloRWRqMGJaM0VJTjBTTk9VeCtycWlyUXNWSTlLdk9tTmVWZ3gKcEdEMlVwV2tFZWFqVXpCUk1CMEdBMVVkRGdRV0JCUzlFa3JGY0QvOFJML1hoZGx6ckdWOUdvazU5ekFmQmdOVgpIU01FR0RBV2dCUzlFa3JGY0QvOFJML1hoZGx6ckdWOUdvazU5ekFQQmdOVkhSTUJBZjhFQlRBREFRSC9NQW9HCkNDcUdTTTQ5QkFNQ0EwY0FNRVFDSUU1SDJvMHhiSWtzRnZkYmtldzFiaGFreDU5TmFTU3Q4R2FzS0MvL2lHTkcKQWlCaHNpeTgyR0x3aU1ubHBiZk1zM2VKUmVkV2VNSmRhSnZJVUxqa081ODRVUT09Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

    #[test]
    fn requests_are_read_and_their_signatures_checked() {
        assert_eq!(check_request(NODE_REQUEST), Ok(()));
        assert_eq!(
            organizations(NODE_REQUEST),
            Ok(vec!["system:nodes".to_owned()])
        );
        let request = Request::from_pem(&STANDARD.decode(NODE_REQUEST).unwrap()).unwrap();
        let expected = Request {
            common_name: "system:node:n1".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        };
        assert_eq!(request, expected);
        let wrong = "PEM block type must be CERTIFICATE REQUEST";
        assert_eq!(check_request(""), Err(wrong.to_owned()));
        assert_eq!(check_request(CERTIFICATE), Err(wrong.to_owned()));
        // Another letter of the signature.
        let pem = String::from_utf8(STANDARD.decode(NODE_REQUEST).unwrap()).unwrap();
        let broken = pem.replace("IHM3euWspOEW", "IHM3euWspOEX");
        assert_ne!(pem, broken);
        assert_eq!(
            check_request(&STANDARD.encode(broken)),
            Err("x509: signature verification error".to_owned())
        );
    }

    #[test]
    fn chains_hold_certificates_only() {
        assert_eq!(check_certificates(""), Ok(()));
        assert_eq!(check_certificates(CERTIFICATE), Ok(()));
        let end_s = expiration_s(&STANDARD.decode(CERTIFICATE).unwrap());
        assert_eq!(end_s, Some(4_949_177_909));
        assert_eq!(
            check_certificates(NODE_REQUEST),
            Err(
                "only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"".to_owned()
            )
        );
        assert_eq!(
            check_certificates("eA=="),
            Err("must contain at least one CERTIFICATE PEM block".to_owned())
        );
    }
}
