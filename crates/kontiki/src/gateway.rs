//! A gateway of its own process: its certificate, the way to the replicas, the listener. It holds no authority's key, no
//! token's key and no object; what is kept on disk is its own key.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kontiki_apiserver::relay::Replicas;
use kontiki_base::random::{Random as _, SystemRandom};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_gateway::{relay, tls};
use kontiki_rpc::remote::{Identity, Remote};

use crate::config::GatewayConfig;
use crate::pki::{self, Pair, Subject};
use crate::server::{listen::listen, wait_for_end};
use crate::{files, join};

/// How often the certificate is looked at.
const RENEW_PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: GatewayConfig) -> Result<()> {
    // Bound before anything else: a taken port is found at once and changes nothing.
    let listener = listen(config.listen, false)?;
    let mut servers = config.servers.clone();
    if let Some(from) = &config.join {
        servers.extend(join::gateway(&config, from).await?);
    }
    servers.sort();
    servers.dedup();
    let dir = config.data_dir.join("pki");
    let identity = identity(&dir)?;
    warn_of_missing_hosts(&config, &identity);
    let cert = tls::ServerCert::from_pem(&identity.cert_pem, &identity.key_pem)?;
    let tls = Arc::new(tls::server_config(cert.clone(), &identity.ca_pem)?);
    // Gateways begin at different replicas.
    let first = SystemRandom.below(servers.len() as u64) as usize;
    let remote = Arc::new(Remote::new(&servers, identity, first));
    let renewal = spawn(
        TaskKind::Housekeeping,
        renew(dir, remote.clone(), cert.clone()),
    );
    let router = relay::router(remote as Arc<dyn Replicas>);
    tracing::info!(name = config.name, listen = %config.listen, ?servers, "serving");
    let shutdown = async {
        if let Err(error) = wait_for_end().await {
            tracing::error!("signals cannot be waited for: {error:#}");
        }
        tracing::info!("stopping");
    };
    kontiki_gateway::serve(listener, tls, router, shutdown).await;
    renewal.abort();
    Ok(())
}

fn identity(dir: &Path) -> Result<Identity> {
    let Some(pair) = Pair::load(dir, "gateway")? else {
        bail!(
            "this gateway has no certificate in {}; join with --join and --token (see `kontiki token create --role gateway`)",
            dir.display()
        );
    };
    Ok(Identity {
        ca_pem: files::read(&dir.join("ca.crt"))?,
        cert_pem: pair.cert_pem,
        key_pem: pair.key_pem,
    })
}

/// A host that was added after the join is not in the certificate, and clients that use it would refuse it.
fn warn_of_missing_hosts(config: &GatewayConfig, identity: &Identity) {
    let der = pki::first_der(&identity.cert_pem);
    let Ok(subject) = der.and_then(|der| Subject::of_remote_gateway(&der)) else {
        return;
    };
    for host in &config.hosts {
        if !subject.hosts.contains(host) {
            tracing::warn!(
                host,
                "is not in the gateway's certificate; remove pki/gateway.* and join again"
            );
        }
    }
}

/// Has the certificate made anew in time, until aborted.
async fn renew(dir: std::path::PathBuf, remote: Arc<Remote>, cert: Arc<tls::ServerCert>) {
    loop {
        if let Err(error) = renew_if_due(&dir, &remote, &cert).await {
            tracing::error!("the certificate is not renewed: {error:#}");
        }
        tokio::time::sleep(RENEW_PERIOD).await;
    }
}

async fn renew_if_due(dir: &Path, remote: &Remote, cert: &tls::ServerCert) -> Result<()> {
    if !pki::is_due(&identity(dir)?.cert_pem)? {
        return Ok(());
    }
    let (key_pem, csr_pem) = pki::certificate_request()?;
    let renewed = remote.renew_certificate(csr_pem).await;
    let (cert_pem, ca_pem, servers) = renewed.context("no replica signs")?;
    let pair = Pair { cert_pem, key_pem };
    pair.save(dir, "gateway")?;
    files::write_private(&dir.join("ca.crt"), ca_pem.as_bytes())?;
    cert.renew(&pair.cert_pem, &pair.key_pem)?;
    remote.learn(&servers);
    remote.renew(identity(dir)?);
    tracing::info!("the certificate is renewed");
    Ok(())
}
