//! Which replica of which cluster this is: found on disk, in the config, or given by the cluster that it joins.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kontiki_consensus::Consensus;
use serde::{Deserialize, Serialize};

use crate::config::{self, ServerConfig};
use crate::join;

/// First id of a cluster that grows by joins.
const FIRST_ID: u64 = 1;

/// Identity of a replica, kept in its data directory from the first start on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The replica.
    pub replica_id: u64,
    /// It came by a join: the cluster adds it, it never makes one.
    pub joined: bool,
}

impl Identity {
    /// Reads the identity of an earlier start, or makes it.
    pub async fn find(config: &ServerConfig) -> Result<Self> {
        let path = path(&config.data_dir);
        if path.exists() {
            let identity: Self = config::load(&path)?;
            identity.check(config)?;
            return Ok(identity);
        }
        let identity = match &config.join {
            Some(join) => {
                let answer = join::server(config, join).await?;
                Self {
                    cluster_id: answer.cluster_id,
                    replica_id: answer.id,
                    joined: true,
                }
            }
            None => Self {
                cluster_id: match config.cluster_id.as_str() {
                    "" if config.initial_members.len() > 1 => {
                        bail!("initial-members needs a cluster-id, the same on each replica")
                    }
                    "" => join::random_hex(8),
                    id => id.to_owned(),
                },
                replica_id: config.replica_id.max(FIRST_ID),
                joined: false,
            },
        };
        config::save(&path, &identity)?;
        Ok(identity)
    }

    fn check(&self, config: &ServerConfig) -> Result<()> {
        let other_cluster = !config.cluster_id.is_empty() && config.cluster_id != self.cluster_id;
        let other_replica = config.replica_id != 0 && config.replica_id != self.replica_id;
        if other_cluster || other_replica {
            bail!(
                "{} belongs to replica {} of cluster {}; name another data-dir",
                config.data_dir.display(),
                self.replica_id,
                self.cluster_id
            );
        }
        Ok(())
    }

    /// Makes the first membership, on the first of the initial members only.
    pub async fn bootstrap(&self, config: &ServerConfig, consensus: &Consensus) -> Result<()> {
        let first = config.initial_members.iter().map(|member| member.id).min();
        if self.joined || first.is_some_and(|first| first != self.replica_id) {
            return Ok(());
        }
        consensus
            .bootstrap(super::members(config, self.replica_id))
            .await
            .context("the cluster cannot be made")
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("identity.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_identity_stays_and_another_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            data_dir: dir.path().to_owned(),
            ..ServerConfig::default()
        };
        let identity = Identity::find(&config).await.unwrap();
        assert_eq!(Identity::find(&config).await.unwrap(), identity);
        let other = ServerConfig {
            cluster_id: "other".into(),
            ..config.clone()
        };
        assert!(Identity::find(&other).await.is_err());
        let other = ServerConfig {
            replica_id: 7,
            ..config
        };
        assert!(Identity::find(&other).await.is_err());
    }
}
