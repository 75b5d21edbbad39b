//! What a replica is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kontiki_storage::Sealing;
use serde::{Deserialize, Serialize};

/// Identity of a replica, never reused: a wiped replica returns under a new one.
pub type ReplicaId = u64;

/// Settings of one replica.
#[derive(Debug, Clone)]
pub struct Config {
    /// Replicas of another cluster are refused.
    pub cluster_id: String,
    /// This replica.
    pub replica_id: ReplicaId,
    /// Name for operators, usually the host's.
    pub name: String,
    /// Where the log, the state and snapshots live; made with mode 0700.
    pub data_dir: PathBuf,
    /// Where peers are accepted.
    pub peer_listen: SocketAddr,
    /// `host:port` under which peers reach this replica.
    pub advertise_peer: String,
    /// `host:port` under which clients reach this replica.
    pub advertise_api: String,
    /// Keys of the peer port.
    pub peer_tls: PeerTls,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// How much history stays.
    pub retention: Retention,
    /// What is sealed on the disk, and where its keys are.
    pub sealing: Sealing,
}

/// Keys of the peer port, in PEM. The CA signs nothing but peers.
#[derive(Clone)]
pub struct PeerTls {
    /// Certificate of the peers' CA.
    pub ca_pem: String,
    /// This replica's certificate: CN `replica-<id>`, O `kontiki:peer`, SAN `kontiki-peer`.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: String,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls")
    }
}

/// Time constants of Raft.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// A follower that hears nothing stands for election after `election_max` (the leader's lease, which every voter
    /// respects) and then a random time from here to `election_max` more.
    pub election_min: Duration,
    /// The leader's lease, and the latest end of that random time.
    pub election_max: Duration,
    /// A log sync that takes longer ends the process, so that a stalled disk does not lead.
    pub stalled_sync: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(800),
            stalled_sync: Duration::from_secs(10),
        }
    }
}

/// How much log stays.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot for followers that lag.
    pub keep_entries: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            snapshot_entries: 50_000,
            keep_entries: 10_000,
        }
    }
}

/// One replica as the others know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: ReplicaId,
    /// Its name.
    pub name: String,
    /// `host:port` for peers.
    pub peer_endpoint: String,
    /// `host:port` for clients.
    pub api_endpoint: String,
    /// Whether it votes; a learner only follows.
    pub voter: bool,
    /// Whether it leads, as far as this replica knows.
    pub leader: bool,
    /// Log index known to be on it; only the leader knows.
    pub matched_index: Option<u64>,
}
