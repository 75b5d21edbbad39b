//! What all parts of the agent share about the node they run on.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use kontiki_base::clock::SharedClock;
use kontiki_base::random::Random;
use kontiki_network::PodNetwork;
use kontiki_runtime::{Runtime, labels};
use parking_lot::Mutex;

use crate::config::Capacity;
use crate::events::Recorder;
use crate::images::Pulls;
use crate::kubelet::Sampler;
use crate::mirror::Mirror;
use crate::outbox::Outbox;
use crate::tokens::Tokens;

/// Settings of the cluster, from the server's welcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Addresses of all pods.
    pub cluster_cidr: String,
    /// Addresses of services.
    pub service_cidr: String,
    /// Address of the cluster's DNS.
    pub dns: String,
    /// `cluster.local`.
    pub domain: String,
}

/// The node.
pub struct Node {
    /// Name.
    pub name: String,
    /// Cluster that it belongs to.
    pub cluster_id: String,
    /// Address.
    pub ip: Ipv4Addr,
    /// What it offers.
    pub capacity: Capacity,
    /// Container engine.
    pub runtime: Arc<dyn Runtime>,
    /// Pod network.
    pub network: Arc<dyn PodNetwork>,
    /// Time.
    pub clock: SharedClock,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Folder for volumes.
    pub data_dir: PathBuf,
    /// Assigned objects.
    pub mirror: Mirror,
    /// What is to be told.
    pub outbox: Arc<Outbox>,
    /// Events.
    pub events: Recorder,
    /// Image pulls.
    pub pulls: Pulls,
    /// Tokens of pods' ServiceAccounts.
    pub tokens: Tokens,
    /// What containers use.
    pub sampler: Sampler,
    /// Cluster's settings.
    pub settings: Mutex<ClusterSettings>,
    /// Whether pods' files are really written (not on hollow nodes).
    pub writes_files: bool,
}

impl Node {
    /// Labels by which this node's containers are found.
    pub fn own_labels(&self) -> Vec<(&'static str, String)> {
        vec![
            (labels::CLUSTER, self.cluster_id.clone()),
            (labels::NODE, self.name.clone()),
        ]
    }

    /// Labels by which the containers of one pod are found.
    pub fn pod_labels(&self, uid: &str) -> Vec<(&'static str, String)> {
        let mut wanted = self.own_labels();
        wanted.push((labels::POD_UID, uid.to_owned()));
        wanted
    }

    /// Whether a container of an assigned pod has a terminal.
    pub fn has_tty(&self, pod_uid: &str, container: &str) -> bool {
        let pods = self.mirror.pods();
        let spec = pods.get(pod_uid).and_then(|pod| pod.spec.as_ref());
        spec.is_some_and(|spec| {
            let ephemeral = spec.ephemeral_containers.iter().flatten();
            let init = spec.init_containers.iter().flatten();
            let mut all = spec.containers.iter().chain(init);
            all.any(|it| it.name == container && it.tty == Some(true))
                || ephemeral
                    .clone()
                    .any(|it| it.name == container && it.tty == Some(true))
        })
    }

    /// The folder of a pod's volumes and files.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(uid)
    }

    /// Now, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.unix_ms()
    }
}
