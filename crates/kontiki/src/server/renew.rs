//! Certificates are made anew while the replica runs, and the token list is read again: nobody restarts for either.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kontiki_apiserver::ApiServer;
use kontiki_apiserver::authn::Tokens;
use kontiki_apiserver::outbound::Identity;
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
    api: ApiServer,
    tokens: Arc<Tokens>,
) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Err(error) = renew(&config, &authorities, &cert, &consensus, &api, &tokens) {
            tracing::error!("certificates are not renewed: {error:#}");
        }
    }
}

fn renew(
    config: &ServerConfig,
    authorities: &Authorities,
    cert: &ServerCert,
    consensus: &Consensus,
    api: &ApiServer,
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
    show_to_extensions(authorities, api)?;
    if let Some(file) = &config.token_auth_file {
        tokens.load(&files::read(file)?)?;
    }
    Ok(())
}

/// Gives the API server the certificate that aggregated API servers are shown.
pub fn show_to_extensions(authorities: &Authorities, api: &ApiServer) -> Result<()> {
    let pair = authorities.front_proxy_pair()?;
    let identity = Identity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes())
        .map_err(anyhow::Error::msg)?;
    api.aggregation().set_identity(identity);
    Ok(())
}
