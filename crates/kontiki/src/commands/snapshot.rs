//! `kontiki snapshot`: saves the state of a running cluster with the keys of its authorities, inspects a saved one, makes
//! a new cluster of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use kontiki_consensus::offline::{self, Keys};
use kontiki_consensus::{KEYRING, Member};
use kontiki_proto::cluster::SaveSnapshotRequest;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::output::Steps;
use crate::server::{Identity, PKI, STORE};
use crate::{client, files, join, kubeconfig, output};

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
    /// Save the state of a running cluster and its keys to a file: whoever has it has the cluster
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
    let _ = std::fs::remove_file(&partial);
    let mut output = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
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
            "keys": summary.keys,
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
    match summary.keys.is_empty() {
        true => println!("it holds no keys: nodes and users of a cluster made of it start anew"),
        false => println!("it holds the cluster's keys: keep it as secret as them"),
    }
    Ok(())
}

fn restore(file: &Path, to: &Path, advertise_peer: String, advertise: String) -> Result<()> {
    let mut steps = Steps::default();
    steps.begin("restoring");
    let is_new = check_empty(to)?;
    let unusable = || format!("{} cannot be restored", file.display());
    // All of it, before anything is made.
    offline::status(file).with_context(unusable)?;
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
    files::create_private_dir(to)?;
    let restored = make(file, to, &cluster_id, &member);
    let (summary, has_keys) = restored.with_context(unusable).inspect_err(|_| {
        // Half a replica would only be in the way of the next attempt.
        for part in [STORE, PKI] {
            let _ = std::fs::remove_dir_all(to.join(part));
        }
        if is_new {
            let _ = std::fs::remove_dir(to);
        }
    })?;
    steps.end(&format!(
        "revision {}, goes on at {}",
        summary.revision,
        summary.revision + offline::REVISION_STEP
    ));
    println!(
        "\nStart it with `kontiki server --data-dir {}`; further replicas join it.",
        to.display()
    );
    if !has_keys {
        println!(
            "The snapshot holds no keys: copy the old replica's pki folder there to keep them."
        );
    }
    Ok(())
}

/// Refuses a directory that holds anything; whether it is still to be made.
fn check_empty(dir: &Path) -> Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(false),
            Some(_) => bail!(
                "{} is not empty; a restore needs a directory of its own, name another one",
                dir.display()
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", dir.display())),
    }
}

/// State, then keys, then identity: a directory without identity is no replica's.
fn make(
    file: &Path,
    to: &Path,
    cluster_id: &str,
    member: &Member,
) -> Result<(offline::Summary, bool)> {
    let (summary, keys) = offline::restore(file, &to.join(STORE), cluster_id, member)?;
    save_keys(&to.join(PKI), &keys)?;
    crate::config::save(
        &to.join("identity.toml"),
        &Identity {
            cluster_id: cluster_id.to_owned(),
            replica_id: member.id,
            joined: false,
        },
    )?;
    Ok((summary, !keys.is_empty()))
}

fn save_keys(dir: &Path, keys: &Keys) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    files::create_private_dir(dir)?;
    for (name, content) in keys {
        // A name is a path: a forged snapshot writes nowhere else.
        if name != KEYRING && !join::SERVER_FILES.contains(&name.as_str()) {
            bail!("it holds a key {name:?} that no replica has");
        }
        files::write_private(&dir.join(name), content.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_needs_an_empty_directory_and_leaves_nothing_when_it_fails() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file.snapshot");
        std::fs::write(&file, "no snapshot").unwrap();
        let to = temp.path().join("to");
        let attempt = || restore(&file, &to, "127.0.0.1:1".into(), "127.0.0.1:2".into());
        let error = format!("{:#}", attempt().unwrap_err());
        assert!(error.contains("cannot be restored"), "{error}");
        assert!(!to.exists());
        std::fs::create_dir(&to).unwrap();
        std::fs::write(to.join("anything"), "").unwrap();
        let error = attempt().unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    }

    #[test]
    fn keys_go_to_their_folder_and_nowhere_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join(PKI);
        let keys = |name: &str| Keys::from([(name.to_owned(), "key".to_owned())]);
        save_keys(&dir, &keys("api-ca.key")).unwrap();
        assert_eq!(files::read(&dir.join("api-ca.key")).unwrap(), "key");
        for name in ["../escaped", "/tmp/escaped", "admin.key"] {
            assert!(save_keys(&dir, &keys(name)).is_err(), "{name}");
        }
    }
}
