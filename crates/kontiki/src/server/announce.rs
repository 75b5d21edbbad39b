//! A replica that joined asks the cluster to take it in: as a learner first, as a voter once it is up to date.

use std::time::Duration;

use anyhow::{Context, Result};
use kontiki_base::backoff::Backoff;
use kontiki_base::random::SystemRandom;
use kontiki_proto::cluster::{AddMemberRequest, GetStatusRequest};

use super::identity::Identity;
use crate::config::ServerConfig;
use crate::{client, kubeconfig};

/// Asks until it is a voter; a replica that never joined has nothing to ask.
pub async fn run(config: ServerConfig, identity: Identity) {
    if !identity.joined {
        return;
    }
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));
    while let Err(error) = ask(&config, &identity).await {
        tracing::warn!("the cluster does not take this replica in yet: {error:#}");
        tokio::time::sleep(backoff.next_delay(&SystemRandom)).await;
    }
    tracing::info!(replica = identity.replica_id, "a voter of the cluster");
}

async fn ask(config: &ServerConfig, identity: &Identity) -> Result<()> {
    let join = config
        .join
        .as_ref()
        .context("the config no longer says which cluster to join")?;
    let mut access = kubeconfig::read(&config.data_dir.join("kubeconfig"))?;
    access.server = format!("https://{}", join.endpoint);
    let mut cluster = client::cluster(&access).await?;
    let status = cluster
        .get_status(GetStatusRequest {})
        .await
        .map_err(client::refused)?
        .into_inner();
    let voter =
        |member: &kontiki_proto::cluster::Member| member.id == identity.replica_id && member.voter;
    if status.members.iter().any(voter) {
        return Ok(());
    }
    let request = AddMemberRequest {
        id: identity.replica_id,
        name: config.name.clone(),
        peer_endpoint: config.advertise_peer.clone(),
        api_endpoint: config.advertise.clone(),
        learner_only: false,
    };
    cluster.add_member(request).await.map_err(client::refused)?;
    Ok(())
}
