//! Replicas in one process on loopback: real RocksDB in temporary directories, real TLS, ports chosen by the system.

#![allow(dead_code, missing_docs)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kontiki_consensus::{
    Config, Consensus, Lane, Member, PeerTls, ProposeError, ReplicaId, Resources, Retention,
    Sealing, Timing,
};
use kontiki_state::{Header, Key, Op, OpResult, Proposal};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Nothing in these tests takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A CA of peers.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "peers");
        let key = KeyPair::generate().unwrap();
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            ca_pem,
        }
    }

    pub fn replica(&self, id: ReplicaId) -> PeerTls {
        self.certificate(&format!("replica-{id}"), "kontiki:peer")
    }

    pub fn certificate(&self, name: &str, organization: &str) -> PeerTls {
        let mut params = CertificateParams::new(vec!["kontiki-peer".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        PeerTls {
            ca_pem: self.ca_pem.clone(),
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

pub struct Cluster {
    pub pki: Pki,
    pub root: TempDir,
    pub retention: Retention,
    pub timing: Timing,
    pub replicas: Vec<Option<Consensus>>,
    addresses: Vec<Option<SocketAddr>>,
}

impl Cluster {
    /// Replicas 1 to `n`, bootstrapped.
    pub async fn start(n: usize) -> Self {
        Self::with(n, Retention::default()).await
    }

    pub async fn with(n: usize, retention: Retention) -> Self {
        let mut cluster = Self::empty(Timing::default());
        cluster.retention = retention;
        for id in 1..=n as u64 {
            cluster.launch(id).await;
        }
        cluster.bootstrap().await;
        cluster
    }

    /// Without replicas.
    pub fn empty(timing: Timing) -> Self {
        Self {
            pki: Pki::new(),
            root: tempfile::tempdir().unwrap(),
            retention: Retention::default(),
            timing,
            replicas: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// Makes a cluster of the replicas that were launched; the first one leads.
    pub async fn bootstrap(&mut self) {
        let ids = 1..=self.replicas.len() as u64;
        let members = ids.clone().map(|id| self.member(id)).collect();
        self.get(1).bootstrap(members).await.unwrap();
        for id in ids {
            self.read(id).await;
        }
    }

    pub fn dir(&self, id: ReplicaId) -> PathBuf {
        self.root.path().join(id.to_string())
    }

    pub fn config(&self, id: ReplicaId) -> Config {
        let at = id as usize - 1;
        let known = self.addresses.get(at).copied().flatten();
        Config {
            cluster_id: "test".to_owned(),
            replica_id: id,
            name: format!("r{id}"),
            data_dir: self.dir(id),
            peer_listen: known.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap()),
            advertise_peer: String::new(),
            advertise_api: format!("api-{id}"),
            peer_tls: self.pki.replica(id),
            timing: self.timing,
            retention: self.retention,
            sealing: self.sealing(id),
        }
    }

    /// Everything that these tests write is sealed.
    pub fn sealing(&self, id: ReplicaId) -> Sealing {
        Sealing {
            keyring: self.root.path().join("keys").join(id.to_string()),
            resources: Resources::exactly(["configmaps"]),
        }
    }

    /// Starts a replica, at its old address if it had one.
    pub async fn launch(&mut self, id: ReplicaId) {
        let replica = Consensus::start(self.config(id)).await.unwrap();
        self.join(id, replica);
    }

    /// Takes a replica that was started with `config`.
    pub fn join(&mut self, id: ReplicaId, replica: Consensus) {
        let at = id as usize - 1;
        self.replicas
            .resize_with(self.replicas.len().max(at + 1), || None);
        self.addresses
            .resize(self.addresses.len().max(at + 1), None);
        self.addresses[at] = replica.peer_address();
        self.replicas[at] = Some(replica);
    }

    pub async fn stop(&mut self, id: ReplicaId) {
        let replica = self.replicas[id as usize - 1].take().unwrap();
        replica.shutdown().await;
        drop(replica);
    }

    pub fn get(&self, id: ReplicaId) -> &Consensus {
        self.replicas[id as usize - 1].as_ref().unwrap()
    }

    pub fn member(&self, id: ReplicaId) -> Member {
        Member {
            id,
            name: format!("r{id}"),
            peer_endpoint: self.addresses[id as usize - 1].unwrap().to_string(),
            api_endpoint: format!("api-{id}"),
            voter: true,
            leader: false,
            matched_index: None,
        }
    }

    pub fn running(&self) -> impl Iterator<Item = &Consensus> {
        self.replicas.iter().flatten()
    }

    /// The leader, once there is one that knows it.
    pub async fn leader(&self) -> ReplicaId {
        let watches = self.running().map(|replica| {
            let mut leadership = replica.leadership();
            Box::pin(async move {
                leadership.wait_for(|now| now.is_leader).await.unwrap();
                replica.id()
            })
        });
        let found = futures::future::select_all(watches);
        tokio::time::timeout(PATIENCE, found)
            .await
            .expect("a leader")
            .0
    }

    pub async fn follower(&self) -> ReplicaId {
        let leader = self.leader().await;
        self.running()
            .map(Consensus::id)
            .find(|id| *id != leader)
            .unwrap()
    }

    /// Waits until a replica can read linearizably.
    pub async fn read(&self, id: ReplicaId) {
        let read = async { while self.get(id).read_barrier().await.is_err() {} };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("a linearizable read");
    }

    pub async fn write(&self, id: ReplicaId, name: &str) -> Result<Vec<OpResult>, ProposeError> {
        self.get(id).propose(create(name), Lane::User).await
    }

    /// All running replicas agree on everything.
    pub async fn assert_equal(&self) {
        let mut hashes = Vec::new();
        for replica in self.running() {
            self.read(replica.id()).await;
            replica.store().validate().unwrap();
            hashes.push((replica.store().revision(), replica.store().hash()));
        }
        assert!(
            hashes.windows(2).all(|pair| pair[0] == pair[1]),
            "{hashes:?}"
        );
    }
}

pub fn key(name: &str) -> Key {
    Key::new("configmaps", "default", name)
}

pub fn create(name: &str) -> Proposal {
    sized(name, 100)
}

pub fn sized(name: &str, size_bytes: usize) -> Proposal {
    let header = Header {
        uid: name.into(),
        ..Header::default()
    };
    let data = "x".repeat(size_bytes);
    let bytes = format!("{{\"metadata\":{{\"name\":\"{name}\"}},\"data\":\"{data}\"}}").into();
    Proposal::batch(vec![Op::Create {
        key: key(name),
        header,
        bytes,
    }])
}
