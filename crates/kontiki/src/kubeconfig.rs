//! kubeconfig files: written by `up`, read by every client command.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::files;
use crate::pki::Pair;

/// What a client needs to reach and trust the API.
#[derive(Debug, Clone)]
pub struct Access {
    /// `https://host:port`.
    pub server: String,
    /// Authority of the server's certificate.
    pub ca_pem: String,
    /// Client certificate, when there is one.
    pub identity: Option<Pair>,
    /// Bearer token, when there is one.
    pub token: Option<String>,
}

impl Access {
    /// `host:port` of the server.
    pub fn endpoint(&self) -> &str {
        self.server
            .trim_start_matches("https://")
            .trim_end_matches('/')
    }
}

/// Writes a kubeconfig with the one context `kontiki`.
pub fn write(path: &Path, server: &str, ca_pem: &str, identity: &Pair) -> Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: kontiki\n\
         clusters:\n- name: kontiki\n  cluster:\n    server: {server}\n    \
         certificate-authority-data: {}\n\
         contexts:\n- name: kontiki\n  context:\n    cluster: kontiki\n    user: kontiki-admin\n\
         users:\n- name: kontiki-admin\n  user:\n    client-certificate-data: {}\n    \
         client-key-data: {}\n",
        STANDARD.encode(ca_pem),
        STANDARD.encode(&identity.cert_pem),
        STANDARD.encode(&identity.key_pem),
    );
    files::write_private(path, text.as_bytes())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<PathBuf>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: Option<String>,
    client_certificate: Option<PathBuf>,
    client_key_data: Option<String>,
    client_key: Option<PathBuf>,
    token: Option<String>,
}

/// The file to read: the flag, else `KUBECONFIG`, else the one of `up`.
pub fn locate(flag: Option<&Path>) -> PathBuf {
    if let Some(path) = flag {
        return path.to_owned();
    }
    match std::env::var_os("KUBECONFIG") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => files::default_data_dir().join("kubeconfig"),
    }
}

/// Reads the current context of a kubeconfig.
pub fn read(path: &Path) -> Result<Access> {
    let text = files::read(path).with_context(|| {
        "no cluster is configured here: run `kontiki up`, or name a kubeconfig with --kubeconfig"
    })?;
    let config: Config = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .with_context(|| format!("{} is no kubeconfig", path.display()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let context = config
        .contexts
        .iter()
        .find(|entry| entry.name == config.current_context)
        .with_context(|| format!("{} names no current context", path.display()))?;
    let cluster = &config
        .clusters
        .iter()
        .find(|entry| entry.name == context.context.cluster)
        .with_context(|| format!("{} lacks its context's cluster", path.display()))?
        .cluster;
    let user = &config
        .users
        .iter()
        .find(|entry| entry.name == context.context.user)
        .with_context(|| format!("{} lacks its context's user", path.display()))?
        .user;
    let ca = inline(
        &cluster.certificate_authority_data,
        cluster.certificate_authority.as_deref(),
        base,
    )?;
    let cert = inline(
        &user.client_certificate_data,
        user.client_certificate.as_deref(),
        base,
    )?;
    let key = inline(&user.client_key_data, user.client_key.as_deref(), base)?;
    let Some(ca_pem) = ca else {
        bail!("{} names no certificate authority", path.display())
    };
    Ok(Access {
        server: cluster.server.clone(),
        ca_pem,
        identity: cert
            .zip(key)
            .map(|(cert_pem, key_pem)| Pair { cert_pem, key_pem }),
        token: user.token.clone(),
    })
}

fn inline(data: &Option<String>, file: Option<&Path>, base: &Path) -> Result<Option<String>> {
    match (data, file) {
        (Some(data), _) => {
            let bytes = STANDARD
                .decode(data.trim())
                .context("kubeconfig holds bad base64")?;
            Ok(Some(
                String::from_utf8(bytes).context("kubeconfig holds no PEM")?,
            ))
        }
        (None, Some(file)) => files::read(&base.join(file)).map(Some),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let pair = Pair {
            cert_pem: "CERT\n".into(),
            key_pem: "KEY\n".into(),
        };
        write(&path, "https://127.0.0.1:6443", "CA\n", &pair).unwrap();
        let access = read(&path).unwrap();
        assert_eq!(access.endpoint(), "127.0.0.1:6443");
        assert_eq!(access.ca_pem, "CA\n");
        assert_eq!(access.identity, Some(pair));
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let error = format!(
            "{:#}",
            read(Path::new("/nonexistent/kubeconfig")).unwrap_err()
        );
        assert!(error.contains("kontiki up"), "{error}");
    }
}
