//! The cluster's certificates: three authorities, and what they sign; beside them the key of ServiceAccounts' tokens.
//!
//! The *API* authority signs the gateway's server certificate, users and nodes; the *peer* authority signs replicas for
//! the Raft port and nothing else, so that no node's or user's certificate opens it; the *front proxy* authority signs what
//! replicas show to aggregated API servers, which believe its holder in what it says of users. Keys are ECDSA P-256. Files are
//! 0600 in a directory of 0700. Leaf certificates live 90 days (as Swarm's) and are made anew by whoever holds the
//! authority's key once a third of that is left.

mod sign;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kontiki_apiserver::relay::{GATEWAY_PREFIX, GATEWAYS};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::files;

/// Group of cluster administrators.
pub const ADMIN_GROUP: &str = "system:masters";
/// Group of nodes.
pub const NODE_GROUP: &str = "system:nodes";
/// Organisation of replicas in the peer authority.
pub const PEER_ORGANISATION: &str = "kontiki:peer";
/// Server name that replicas present to one another.
pub const PEER_SERVER_NAME: &str = "kontiki-peer";

/// Common name of the API authority. No leaf may have it: OpenSSL takes a certificate whose subject is its issuer's for
/// self-signed, and refuses it.
pub const API_CA_NAME: &str = "kontiki-ca";
/// Common name of the peer authority.
pub const PEER_CA_NAME: &str = "kontiki-peer-ca";
/// Common name of the front proxy authority.
pub const FRONT_PROXY_CA_NAME: &str = "kontiki-front-proxy-ca";

const CA_LIFE: Duration = Duration::days(3650);
const LEAF_LIFE: Duration = Duration::days(90);
const RENEW_BEFORE: Duration = Duration::days(30);
/// Clocks of machines that join may lag.
const BACKDATE: Duration = Duration::minutes(5);

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, followed by its issuer's where a client needs the chain.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// An authority that can sign.
pub struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

/// Who a leaf certificate stands for.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Common name.
    pub name: String,
    /// Organisations: Kubernetes groups.
    pub groups: Vec<String>,
    /// Names and addresses that a server answers for; none for pure clients.
    pub hosts: Vec<String>,
    /// Valid for serving.
    pub server: bool,
    /// Valid as a client.
    pub client: bool,
}

impl Subject {
    /// A cluster administrator.
    pub fn admin() -> Self {
        Self {
            name: "kubernetes-admin".into(),
            groups: vec![ADMIN_GROUP.into()],
            client: true,
            ..Self::default()
        }
    }

    /// A replica towards aggregated API servers.
    pub fn front_proxy() -> Self {
        Self {
            name: kontiki_controllers::FRONT_PROXY_NAME.into(),
            client: true,
            ..Self::default()
        }
    }

    /// A node's agent.
    pub fn node(node_name: &str) -> Self {
        Self {
            name: format!("system:node:{node_name}"),
            groups: vec![NODE_GROUP.into()],
            client: true,
            ..Self::default()
        }
    }

    /// A gateway of its own process: a client of the replicas, and a server under `hosts`.
    pub fn remote_gateway(name: &str, hosts: Vec<String>) -> Self {
        Self {
            name: format!("{GATEWAY_PREFIX}{name}"),
            groups: vec![GATEWAYS.into()],
            hosts,
            server: true,
            client: true,
        }
    }

    /// The subject of such a gateway's certificate, in DER.
    pub fn of_remote_gateway(der: &[u8]) -> Result<Self> {
        use x509_parser::extensions::GeneralName;
        let (_, cert) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| anyhow::anyhow!("malformed certificate: {error}"))?;
        let mut names = cert.subject().iter_common_name();
        let name = names.next().and_then(|name| name.as_str().ok());
        let name = name.and_then(|name| name.strip_prefix(GATEWAY_PREFIX));
        let san = cert.subject_alternative_name()?;
        let listed = san.iter().flat_map(|san| san.value.general_names.iter());
        let hosts = listed.filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            GeneralName::IPAddress(octets) => address(octets).map(|it| it.to_string()),
            _ => None,
        });
        let hosts = hosts.collect();
        let name = name.context("the certificate is no gateway's")?;
        Ok(Self::remote_gateway(name, hosts))
    }

    /// A replica on the peer port: server and client.
    pub fn peer(replica_id: u64) -> Self {
        Self {
            name: format!("replica-{replica_id}"),
            groups: vec![PEER_ORGANISATION.into()],
            hosts: vec![PEER_SERVER_NAME.into()],
            server: true,
            client: true,
        }
    }

    /// The gateway, reachable under `hosts` besides the names that every cluster has.
    pub fn gateway(hosts: &[String]) -> Self {
        let mut all: Vec<String> = [
            "localhost",
            "127.0.0.1",
            "::1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .map(String::from)
        .into();
        for host in hosts {
            if !all.contains(host) {
                all.push(host.clone());
            }
        }
        Self {
            name: "kontiki".into(),
            hosts: all,
            server: true,
            ..Self::default()
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are dated by the machine's own clock"
)]
fn now() -> OffsetDateTime {
    std::time::SystemTime::now().into()
}

impl Authority {
    /// A new authority called `name`.
    pub fn generate(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now() - BACKDATE;
        params.not_after = now() + CA_LIFE;
        let cert_pem = params.self_signed(&key)?.pem();
        Self::from_pair(Pair {
            cert_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// An authority from its files' contents.
    pub fn from_pair(pair: Pair) -> Result<Self> {
        let key = KeyPair::from_pem(&pair.key_pem).context("the authority's key is unreadable")?;
        let issuer = Issuer::from_ca_cert_pem(&pair.cert_pem, key)
            .context("the authority's certificate is unreadable")?;
        Ok(Self { pair, issuer })
    }

    /// Reads `NAME.crt` and `NAME.key`, or makes them.
    pub fn load_or_generate(dir: &Path, name: &str, common_name: &str) -> Result<Self> {
        match Pair::load(dir, name)? {
            Some(pair) => Self::from_pair(pair),
            None => {
                let authority = Self::generate(common_name)?;
                authority.pair.save(dir, name)?;
                Ok(authority)
            }
        }
    }

    /// The authority's own certificate in PEM.
    pub fn cert_pem(&self) -> &str {
        &self.pair.cert_pem
    }

    /// Certificate and key, for a new replica that may sign as well.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// SHA-256 of the certificate, in hex: what a join token pins.
    pub fn digest(&self) -> Result<String> {
        digest_of_pem(&self.pair.cert_pem)
    }

    /// Signs a new key for `subject`. Servers get the chain with the authority, so that a joining
    /// machine can check its digest.
    pub fn issue(&self, subject: &Subject) -> Result<Pair> {
        self.issue_between(subject, now() - BACKDATE, now() + LEAF_LIFE)
    }

    /// As `issue`, valid from one moment to another.
    pub fn issue_between(
        &self,
        subject: &Subject,
        from: impl Into<OffsetDateTime>,
        until: impl Into<OffsetDateTime>,
    ) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = leaf_params(subject)?;
        (params.not_before, params.not_after) = (from.into(), until.into());
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            cert_pem: self.chain(subject, &cert.pem()),
            key_pem: key.serialize_pem(),
        })
    }

    /// Signs the public key of a PKCS#10 request as `subject`; names that the request asks for are ignored.
    pub fn sign_request(&self, csr_pem: &str, subject: &Subject) -> Result<String> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem)
            .context("the certificate request is malformed")?;
        request.params = leaf_params(subject)?;
        let cert = request.signed_by(&self.issuer)?;
        Ok(self.chain(subject, &cert.pem()))
    }

    fn chain(&self, subject: &Subject, leaf_pem: &str) -> String {
        if subject.server {
            format!("{leaf_pem}{}", self.pair.cert_pem)
        } else {
            leaf_pem.into()
        }
    }

    /// Reads `NAME.crt` and `NAME.key`; makes them when missing, foreign, near their end or short of a host.
    pub fn ensure(&self, dir: &Path, name: &str, subject: &Subject) -> Result<Pair> {
        if let Some(pair) = Pair::load(dir, name)?
            && self.still_good(&pair, subject).unwrap_or(false)
        {
            return Ok(pair);
        }
        let pair = self.issue(subject)?;
        pair.save(dir, name)?;
        Ok(pair)
    }

    fn still_good(&self, pair: &Pair, subject: &Subject) -> Result<bool> {
        let der = first_der(&pair.cert_pem)?;
        let (_, cert) = x509_parser::parse_x509_certificate(&der)?;
        let ca_der = first_der(&self.pair.cert_pem)?;
        let (_, ca) = x509_parser::parse_x509_certificate(&ca_der)?;
        let end = cert.validity().not_after.to_datetime();
        let names = cert
            .subject_alternative_name()?
            .map(|san| san.value.general_names.len())
            .unwrap_or_default();
        Ok(cert.verify_signature(Some(ca.public_key())).is_ok()
            && end - now() > RENEW_BEFORE
            && names == subject.hosts.len()
            && hosts_match(&cert, subject))
    }
}

fn hosts_match(cert: &x509_parser::certificate::X509Certificate<'_>, subject: &Subject) -> bool {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(san)) = cert.subject_alternative_name() else {
        return subject.hosts.is_empty();
    };
    san.value.general_names.iter().all(|name| match name {
        GeneralName::DNSName(dns) => subject.hosts.iter().any(|host| host == dns),
        GeneralName::IPAddress(octets) => {
            address(octets).is_some_and(|address| subject.hosts.contains(&address.to_string()))
        }
        _ => false,
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).map(IpAddr::from).ok(),
        16 => <[u8; 16]>::try_from(octets).map(IpAddr::from).ok(),
        _ => None,
    }
}

/// Whether a certificate, in PEM, is so near its end that it is to be made anew.
pub fn is_due(cert_pem: &str) -> Result<bool> {
    let der = first_der(cert_pem)?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der)?;
    Ok(cert.validity().not_after.to_datetime() - now() <= RENEW_BEFORE)
}

fn leaf_params(subject: &Subject) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for group in &subject.groups {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group.as_str());
    }
    params
        .distinguished_name
        .push(DnType::CommonName, subject.name.as_str());
    params.not_before = now() - BACKDATE;
    params.not_after = now() + LEAF_LIFE;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if subject.server {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if subject.client {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    params.use_authority_key_identifier_extension = true;
    for host in &subject.hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.as_str().try_into()?),
        });
    }
    Ok(params)
}

impl Pair {
    /// Reads `NAME.crt` and `NAME.key` of a folder; none when neither is there.
    pub fn load(dir: &Path, name: &str) -> Result<Option<Self>> {
        let (cert, key) = paths(dir, name);
        match (cert.exists(), key.exists()) {
            (true, true) => Ok(Some(Self {
                cert_pem: files::read(&cert)?,
                key_pem: files::read(&key)?,
            })),
            (false, false) => Ok(None),
            _ => bail!(
                "{} has only one of {name}.crt and {name}.key; restore the other or remove both",
                dir.display()
            ),
        }
    }

    /// Writes both files, durable and readable by the owner only.
    pub fn save(&self, dir: &Path, name: &str) -> Result<()> {
        let (cert, key) = paths(dir, name);
        files::create_private_dir(dir)?;
        files::write_private(&key, self.key_pem.as_bytes())?;
        files::write_private(&cert, self.cert_pem.as_bytes())
    }
}

/// File of the key that signs ServiceAccounts' tokens.
pub const TOKEN_KEY: &str = "sa.key";

/// Reads the key that signs ServiceAccounts' tokens, or makes it: one for all replicas, as the authorities.
pub fn token_key(dir: &Path) -> Result<String> {
    let path = dir.join(TOKEN_KEY);
    if path.exists() {
        return files::read(&path);
    }
    let pem = KeyPair::generate()?.serialize_pem();
    save_token_key(dir, &pem)?;
    Ok(pem)
}

/// Writes that key, durable and readable by the owner only.
pub fn save_token_key(dir: &Path, pem: &str) -> Result<()> {
    files::create_private_dir(dir)?;
    files::write_private(&dir.join(TOKEN_KEY), pem.as_bytes())
}

fn paths(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (
        dir.join(format!("{name}.crt")),
        dir.join(format!("{name}.key")),
    )
}

/// A new key and a request for it, for a machine that joins.
pub fn certificate_request() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok((key.serialize_pem(), params.serialize_request(&key)?.pem()?))
}

/// DER of the first certificate of a PEM file.
pub fn first_der(pem: &str) -> Result<Vec<u8>> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|error| anyhow::anyhow!("malformed certificate: {error}"))?;
    Ok(block.contents)
}

/// SHA-256 of the first certificate of a PEM file, in hex.
pub fn digest_of_pem(pem: &str) -> Result<String> {
    Ok(digest_of_der(&first_der(pem)?))
}

/// SHA-256 of a certificate, in hex.
pub fn digest_of_der(der: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(der)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_certificates_are_kept_until_a_host_or_the_authority_changes() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_generate(dir.path(), "api-ca", "kontiki").unwrap();
        let hosts = ["10.0.0.1".to_owned()];
        let first = authority
            .ensure(dir.path(), "gateway", &Subject::gateway(&hosts))
            .unwrap();
        let again = Authority::load_or_generate(dir.path(), "api-ca", "kontiki").unwrap();
        assert_eq!(again.digest().unwrap(), authority.digest().unwrap());
        let second = again
            .ensure(dir.path(), "gateway", &Subject::gateway(&hosts))
            .unwrap();
        assert_eq!(first, second);
        let moved = ["10.0.0.2".to_owned()];
        let third = again
            .ensure(dir.path(), "gateway", &Subject::gateway(&moved))
            .unwrap();
        assert_ne!(second, third);
        let foreign = Authority::generate("kontiki").unwrap();
        assert_ne!(
            foreign
                .ensure(dir.path(), "gateway", &Subject::gateway(&moved))
                .unwrap(),
            third
        );
    }

    #[test]
    fn the_token_key_is_made_once_and_signs() {
        let dir = tempfile::tempdir().unwrap();
        let pem = token_key(dir.path()).unwrap();
        assert_eq!(token_key(dir.path()).unwrap(), pem);
        let issuer = |pem: &str| kontiki_apiserver::TokenIssuer::from_pem(pem);
        assert_eq!(issuer(&pem).unwrap().jwks(), issuer(&pem).unwrap().jwks());
        assert!(issuer("-----BEGIN PRIVATE KEY-----\nAA==\n").is_err());
    }

    #[test]
    fn a_request_gets_the_subject_that_the_server_chose() {
        let authority = Authority::generate("kontiki").unwrap();
        let (_key, csr) = certificate_request().unwrap();
        let pem = authority
            .sign_request(&csr, &Subject::node("worker-1"))
            .unwrap();
        let der = first_der(&pem).unwrap();
        let (_, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(
            cert.subject().to_string(),
            "O=system:nodes, CN=system:node:worker-1"
        );
        assert!(
            authority
                .sign_request("garbage", &Subject::node("x"))
                .is_err()
        );
    }

    #[test]
    fn a_gateway_keeps_its_name_and_hosts_when_it_renews() {
        let authority = Authority::generate("kontiki").unwrap();
        let hosts = ["api.example.com".to_owned(), "10.0.0.9".to_owned()];
        let subject = Subject::remote_gateway("east-1", hosts.to_vec());
        let pair = authority.issue(&subject).unwrap();
        let again = Subject::of_remote_gateway(&first_der(&pair.cert_pem).unwrap()).unwrap();
        assert_eq!(
            (&again.name, &again.groups),
            (&subject.name, &subject.groups)
        );
        assert_eq!(again.hosts, hosts);
        assert!(!is_due(&pair.cert_pem).unwrap());
        let old = authority.issue_between(&subject, now() - LEAF_LIFE, now() + RENEW_BEFORE);
        assert!(is_due(&old.unwrap().cert_pem).unwrap());
        let node = authority.issue(&Subject::node("n1")).unwrap();
        assert!(Subject::of_remote_gateway(&first_der(&node.cert_pem).unwrap()).is_err());
    }
}
