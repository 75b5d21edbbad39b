//! `kontiki encryption`: the keys that replicas seal objects with on their disks.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;
use kontiki_proto::cluster::cluster_service_client::ClusterServiceClient;
use kontiki_proto::cluster::{
    GetEncryptionRequest, GetEncryptionResponse, ReplicaEncryption, RotateEncryptionKeysRequest,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::output::Steps;
use crate::{client, kubeconfig, output};

/// Between two looks at how far a rotation is.
const POLL: Duration = Duration::from_millis(500);

/// Show and rotate the keys of encryption at rest.
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
    /// Show each replica's keys, and how many objects and log entries lie under each
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal everything with new keys and let the old ones go
    Rotate {
        /// Seconds to wait until all replicas are done; they go on without being waited for
        #[arg(long, default_value_t = 300)]
        wait: u64,
    },
}

/// Asks and prints.
pub async fn run(args: Args) -> Result<()> {
    let access = kubeconfig::read(&kubeconfig::locate(args.kubeconfig.as_deref()))?;
    let mut cluster = client::cluster(&access).await?;
    match args.action {
        Action::Status { json: as_json } => {
            let status = status(&mut cluster).await?;
            match as_json {
                true => output::json(&to_json(&status)),
                false => print(&status),
            }
        }
        Action::Rotate { wait } => rotate(&mut cluster, Duration::from_secs(wait)).await?,
    }
    Ok(())
}

async fn status(cluster: &mut ClusterServiceClient<Channel>) -> Result<GetEncryptionResponse> {
    let answer = cluster.get_encryption(GetEncryptionRequest {}).await;
    Ok(answer.map_err(client::refused)?.into_inner())
}

async fn rotate(cluster: &mut ClusterServiceClient<Channel>, wait: Duration) -> Result<()> {
    let mut steps = Steps::default();
    steps.begin("rotating");
    let answer = cluster
        .rotate_encryption_keys(RotateEncryptionKeysRequest {})
        .await;
    let rotation = answer.map_err(client::refused)?.into_inner().rotation;
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        // The replica that is asked may be the next to end; another one answers then.
        let left: Vec<String> = match status(cluster).await {
            Ok(status) => status
                .replicas
                .iter()
                .filter_map(|replica| what_is_left(replica, rotation))
                .collect(),
            Err(error) => vec![error.to_string()],
        };
        if left.is_empty() {
            steps.end(&format!("rotation {rotation} is done on all replicas"));
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            println!("not done");
            bail!(
                "rotation {rotation} goes on: {}; look again with `kontiki encryption status`",
                left.join(", ")
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Why a replica is not done with a rotation.
fn what_is_left(replica: &ReplicaEncryption, rotation: u64) -> Option<String> {
    let id = replica.replica_id;
    match (replica.error.as_str(), replica.rotation >= rotation) {
        ("", true) if replica.settled => None,
        ("", _) => Some(format!("replica {id} still rewrites")),
        (error, _) => Some(format!("replica {id} does not answer ({error})")),
    }
}

fn to_json(status: &GetEncryptionResponse) -> Value {
    let replica = |replica: &ReplicaEncryption| {
        let keys = replica.keys.iter().map(|key| {
            json!({
                "id": key.id,
                "createdUnixMs": key.created_unix_ms,
                "seals": key.seals,
                "objects": key.n_objects,
                "logEntries": key.n_log_entries,
            })
        });
        json!({
            "id": replica.replica_id,
            "error": replica.error,
            "resources": replica.resources,
            "rotation": replica.rotation,
            "settled": replica.settled,
            "plainObjects": replica.n_plain_objects,
            "keys": keys.collect::<Value>(),
        })
    };
    json!({
        "rotation": status.rotation,
        "replicas": status.replicas.iter().map(replica).collect::<Value>(),
    })
}

fn print(status: &GetEncryptionResponse) {
    let rows: Vec<_> = status.replicas.iter().flat_map(rows).collect();
    let headers = [
        "REPLICA",
        "RESOURCES",
        "STATE",
        "ROTATION",
        "KEY",
        "USE",
        "CREATED",
        "OBJECTS",
        "ENTRIES",
    ];
    output::table(&headers, &rows);
    if let Some(last) = status.replicas.iter().map(|r| r.rotation).min()
        && last < status.rotation
    {
        println!("rotation {} was asked for and goes on", status.rotation);
    }
}

/// A line for each key, and one for what is plain though it should not be.
fn rows(replica: &ReplicaEncryption) -> Vec<Vec<String>> {
    let state = match (replica.error.as_str(), replica.settled) {
        ("", true) => "settled".to_owned(),
        ("", false) => "rewriting".to_owned(),
        (error, _) => error.to_owned(),
    };
    let resources = match replica.resources.as_str() {
        "" => "-",
        resources => resources,
    };
    let row = |key: &str, used: &str, created: String, objects: String, entries: String| {
        vec![
            replica.replica_id.to_string(),
            resources.to_owned(),
            state.clone(),
            replica.rotation.to_string(),
            key.to_owned(),
            used.to_owned(),
            created,
            objects,
            entries,
        ]
    };
    let dash = || "-".to_owned();
    let mut rows: Vec<_> = replica
        .keys
        .iter()
        .map(|key| {
            let created = chrono::DateTime::from_timestamp_millis(key.created_unix_ms)
                .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
            let used = if key.seals { "seals" } else { "opens" };
            row(
                &key.id,
                used,
                created.unwrap_or_default(),
                key.n_objects.to_string(),
                key.n_log_entries.to_string(),
            )
        })
        .collect();
    if replica.n_plain_objects > 0 {
        let plain = replica.n_plain_objects.to_string();
        rows.push(row("plain", "-", dash(), plain, dash()));
    }
    if rows.is_empty() {
        rows.push(row("-", "-", dash(), dash(), dash()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_done_once_it_settled_on_the_rotation() {
        let replica = |error: &str, rotation, settled| ReplicaEncryption {
            replica_id: 2,
            error: error.into(),
            rotation,
            settled,
            ..ReplicaEncryption::default()
        };
        assert_eq!(what_is_left(&replica("", 3, true), 3), None);
        assert_eq!(what_is_left(&replica("", 4, true), 3), None);
        for (replica, why) in [
            (replica("", 3, false), "still rewrites"),
            (replica("", 2, true), "still rewrites"),
            (replica("gone", 3, true), "does not answer (gone)"),
        ] {
            assert!(what_is_left(&replica, 3).unwrap().contains(why));
        }
    }
}
