//! `kontiki status`: replicas, nodes and pods at a glance.

use std::path::PathBuf;

use anyhow::Result;
use kontiki_proto::cluster::GetStatusRequest;
use serde_json::json;

use crate::{client, kubeconfig, output};

/// Show replicas, nodes and pods of a cluster.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which cluster [default: $KUBECONFIG or ~/.kontiki/kubeconfig]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub async fn run(args: Args) -> Result<()> {
    let access = kubeconfig::read(&kubeconfig::locate(args.kubeconfig.as_deref()))?;
    let mut cluster = client::cluster(&access).await?;
    let status = cluster
        .get_status(GetStatusRequest {})
        .await
        .map_err(client::refused)?
        .into_inner();
    if args.json {
        output::json(&json!({
            "clusterId": status.cluster_id,
            "version": status.version,
            "leaderId": status.leader_id,
            "term": status.term,
            "appliedIndex": status.applied_index,
            "lastLogIndex": status.last_log_index,
            "revision": status.revision,
            "members": super::member::members_json(&status.members),
            "nodes": status.n_nodes,
            "nodesReady": status.n_nodes_ready,
            "pods": status.n_pods,
            "podsRunning": status.n_pods_running,
        }));
        return Ok(());
    }
    println!("Kontiki {}, cluster {}", status.version, status.cluster_id);
    println!("term {}, revision {}", status.term, status.revision);
    println!("nodes {} of {} ready", status.n_nodes_ready, status.n_nodes);
    println!(
        "pods {} of {} running\n",
        status.n_pods_running, status.n_pods
    );
    super::member::print_members(&status.members);
    Ok(())
}
