//! `kontiki snapshot`: saves the state of a running cluster, inspects a saved one, makes a new cluster of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use kontiki_consensus::{Member, offline};
use kontiki_proto::cluster::SaveSnapshotRequest;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::output::Steps;
use crate::server::{Identity, STORE};
use crate::{client, join, kubeconfig, output};

/// Save, restore and inspect snapshots.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which cluster [default: $KUBECONFIG or ~/.kontiki/kubeconfig]
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Save the state of a running cluster to a file
    Save {
        /// File to write
        file: PathBuf,
    },
    /// Check a saved snapshot and tell what is in it
    Status {
        /// File to read
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the data directory of a new cluster's first replica from a snapshot
    Restore {
        /// File to read
        file: PathBuf,
        /// Data directory to make; must not exist or be empty
        #[arg(long)]
        to: PathBuf,
        /// host:port under which peers will reach the replica
        #[arg(long, default_value = "127.0.0.1:6444")]
        advertise_peer: String,
        /// host:port under which clients will reach the replica
        #[arg(long, default_value = "127.0.0.1:6443")]
        advertise: String,
    },
}

/// Does it.
pub async fn run(args: Args) -> Result<()> {
    match args.action {
        Action::Save { file } => save(args.kubeconfig.as_deref(), &file).await,
        Action::Status { file, json } => status(&file, json),
        Action::Restore {
            file,
            to,
            advertise_peer,
            advertise,
        } => restore(&file, &to, advertise_peer, advertise),
    }
}

async fn save(kubeconfig: Option<&Path>, file: &Path) -> Result<()> {
    let access = kubeconfig::read(&kubeconfig::locate(kubeconfig))?;
    let mut steps = Steps::default();
    steps.begin("saving");
    let mut cluster = client::cluster(&access).await?;
    let stream = cluster
        .save_snapshot(SaveSnapshotRequest {})
        .await
        .map_err(client::refused)?;
    let mut stream = stream.into_inner();
    // Under a name of its own until it is whole and synced: a broken save leaves no file that looks good.
    let partial = file.with_extension("partial");
    let mut output = tokio::fs::File::create(&partial)
        .await
        .with_context(|| format!("cannot write {}", partial.display()))?;
    let mut size_bytes = 0;
    while let Some(piece) = stream.message().await.map_err(client::refused)? {
        size_bytes += piece.data.len();
        output.write_all(&piece.data).await?;
    }
    output.sync_all().await?;
    let checked = offline::status(&partial);
    if let Err(error) = checked {
        let _ = std::fs::remove_file(&partial);
        return Err(error).context("the snapshot arrived damaged; save it again");
    }
    std::fs::rename(&partial, file)?;
    steps.end(&format!("{size_bytes} bytes in {}", file.display()));
    Ok(())
}

fn status(file: &Path, as_json: bool) -> Result<()> {
    let summary =
        offline::status(file).with_context(|| format!("{} is not usable", file.display()))?;
    if as_json {
        output::json(&json!({
            "clusterId": summary.cluster_id,
            "createdUnixMs": summary.created_unix_ms,
            "revision": summary.revision,
            "sizeBytes": summary.size_bytes,
        }));
        return Ok(());
    }
    let created = chrono::DateTime::from_timestamp_millis(summary.created_unix_ms as i64)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        .unwrap_or_default();
    println!("{} is whole", file.display());
    println!(
        "cluster {}, revision {}, saved {created}",
        summary.cluster_id, summary.revision
    );
    Ok(())
}

fn restore(file: &Path, to: &Path, advertise_peer: String, advertise: String) -> Result<()> {
    let mut steps = Steps::default();
    steps.begin("restoring");
    let cluster_id = join::random_hex(8);
    let member = Member {
        id: 1,
        name: crate::config::host_name(),
        peer_endpoint: advertise_peer,
        api_endpoint: advertise,
        voter: true,
        leader: false,
        matched_index: None,
    };
    crate::files::create_private_dir(to)?;
    let summary = offline::restore(file, &to.join(STORE), &cluster_id, &member)
        .with_context(|| format!("{} cannot be restored", file.display()))?;
    crate::config::save(
        &to.join("identity.toml"),
        &Identity {
            cluster_id,
            replica_id: 1,
            joined: false,
        },
    )?;
    steps.end(&format!("revision {}", summary.revision));
    println!(
        "\nStart it with `kontiki server --data-dir {}`; further replicas join it.",
        to.display()
    );
    println!(
        "Keys are not part of a snapshot: copy the old replica's pki folder there to keep them."
    );
    Ok(())
}
