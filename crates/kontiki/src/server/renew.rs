//! Certificates are made anew while the replica runs, and the token list is read again: nobody restarts for either.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kontiki_apiserver::authn::Tokens;
use kontiki_consensus::{Consensus, PeerTls};
use kontiki_gateway::tls::ServerCert;

use super::authority::Authorities;
use crate::config::ServerConfig;
use crate::files;

const PERIOD: Duration = Duration::from_secs(6 * 3600);

/// Looks after certificates until aborted.
pub async fn run(
    config: ServerConfig,
    authorities: Arc<Authorities>,
    cert: Arc<ServerCert>,
    consensus: Consensus,
    tokens: Arc<Tokens>,
) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = renew(&config, &authorities, &cert, &consensus, &tokens) {
            tracing::error!("certificates are not renewed: {error:#}");
        }
    }
}

fn renew(
    config: &ServerConfig,
    authorities: &Authorities,
    cert: &ServerCert,
    consensus: &Consensus,
    tokens: &Tokens,
) -> Result<()> {
    let gateway = authorities.gateway_pair(config)?;
    cert.renew(&gateway.cert_pem, &gateway.key_pem)?;
    let peer = authorities.peer_pair(config, consensus.id())?;
    consensus.renew_peer_tls(&PeerTls {
        ca_pem: authorities.peers.cert_pem().to_owned(),
        cert_pem: peer.cert_pem,
        key_pem: peer.key_pem,
    })?;
    if let Some(file) = &config.token_auth_file {
        tokens.load(&files::read(file)?)?;
    }
    Ok(())
}
