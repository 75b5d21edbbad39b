//! The network in a Linux kernel: rtnetlink for links, addresses and routes, nftables for services.
//!
//! Everything bears the node's hash in its name, so that agents on one machine do not meet and cleanup takes away
//! exactly what was made.

mod forwarding;
mod links;
mod namespace;
mod programs;
pub mod routes;

use std::net::Ipv4Addr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kontiki_base::task::{TaskKind, spawn};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::ipam::Ipam;
use crate::services::rules::{Frame, Rules};
use crate::services::update;
use crate::{Error, NodeNetwork, PodNetwork, PodPort, Result, Service, node_hash, short_hash};

/// How this node's links look.
#[derive(Debug, Clone)]
struct Names {
    hash: String,
    bridge: String,
    table: String,
}

/// The network of one node.
pub struct Linux {
    names: Names,
    mtu: u32,
    ipam: Mutex<Ipam>,
    network: Mutex<Option<NodeNetwork>>,
    /// What the kernel has: the frame it was made with and the rules. Held while `nft` runs.
    applied: tokio::sync::Mutex<Option<(Frame, Rules)>>,
    wanted: Mutex<Vec<Service>>,
}

impl Linux {
    /// The network of a node; the kernel is untouched until it is configured.
    pub fn new(cluster_id: &str, node_name: &str, mtu: u32) -> Self {
        let hash = node_hash(cluster_id, node_name);
        Self {
            names: Names {
                bridge: format!("ktk{hash}"),
                table: format!("kontiki_{hash}"),
                hash,
            },
            mtu,
            ipam: Mutex::default(),
            network: Mutex::default(),
            applied: tokio::sync::Mutex::default(),
            wanted: Mutex::default(),
        }
    }

    fn host_link(&self, pod_uid: &str) -> String {
        format!(
            "ktp{}",
            short_hash(&format!("{}/{pod_uid}", self.names.hash), 11)
        )
    }

    async fn configure_inner(&self, network: NodeNetwork) -> Result<()> {
        let handle = connect()?;
        let gateway = Ipam::gateway(network.pod_cidr);
        let bridge = &self.names.bridge;
        let index =
            links::ensure_bridge(&handle, bridge, gateway, network.pod_cidr, self.mtu).await?;
        programs::set_sysctl("net/ipv4/ip_forward", "1")?;
        programs::set_sysctl(&format!("net/ipv4/conf/{bridge}/send_redirects"), "0")?;
        routes::ensure(&handle, &self.names.hash, index, gateway, &network).await?;
        forwarding::ensure(bridge).await?;
        self.ipam.lock().set_cidr(network.pod_cidr);
        *self.network.lock() = Some(network);
        self.update_services().await
    }

    async fn attach_inner(&self, port: &PodPort) -> Result<()> {
        let network = self.network.lock().clone().ok_or(Error::NotConfigured)?;
        let handle = connect()?;
        let host_link = self.host_link(&port.pod_uid);
        let plan = namespace::Plan {
            host_link: host_link.clone(),
            address: port.address,
            gateway: Ipam::gateway(network.pod_cidr),
            mtu: self.mtu,
        };
        if !namespace::is_connected(port.pid, &plan).await? {
            links::delete(&handle, &host_link).await?;
            namespace::connect(port.pid, plan).await?;
        }
        links::join_bridge(&handle, &host_link, &self.names.bridge).await
    }

    async fn update_services(&self) -> Result<()> {
        let Some(network) = self.network.lock().clone() else {
            return Ok(());
        };
        let frame = Frame {
            table: self.names.table.clone(),
            bridge: self.names.bridge.clone(),
            pod_cidr: network.pod_cidr,
            cluster_cidr: network.cluster_cidr,
        };
        let mut applied = self.applied.lock().await;
        let rules = frame.rules(&self.wanted.lock());
        if let Some((old_frame, old_rules)) = applied.as_ref()
            && *old_frame == frame
        {
            let text = update::difference(&frame.table, old_rules, &rules);
            if text.is_empty() {
                return Ok(());
            }
            match programs::nft(&text).await {
                Ok(()) => {
                    *applied = Some((frame, rules));
                    return Ok(());
                }
                // Somebody changed the table behind our back: make it anew.
                Err(error) => tracing::warn!(%error, "services out of step; replacing all rules"),
            }
        }
        *applied = None;
        programs::nft(&update::replace(&frame, &rules)).await?;
        *applied = Some((frame, rules));
        Ok(())
    }

    async fn cleanup_inner(&self) -> Result<()> {
        let handle = connect()?;
        forwarding::remove(&self.names.bridge).await?;
        routes::remove_all(&handle, &self.names.hash).await?;
        links::delete_ports(&handle, &self.names.bridge).await?;
        links::delete(&handle, &self.names.bridge).await?;
        let table = &self.names.table;
        let mut applied = self.applied.lock().await;
        *applied = None;
        // Adding first makes the deletion of an absent table no error.
        programs::nft(&format!("add table ip {table}\ndelete table ip {table}\n")).await
    }
}

impl PodNetwork for Linux {
    fn configure(&self, network: NodeNetwork) -> BoxFuture<'_, Result<()>> {
        self.configure_inner(network).boxed()
    }

    fn allocate(&self, pod_uid: &str) -> Result<Ipv4Addr> {
        self.ipam.lock().allocate(pod_uid)
    }

    fn adopt(&self, pod_uid: &str, address: Ipv4Addr) {
        self.ipam.lock().adopt(pod_uid, address);
    }

    fn release(&self, pod_uid: &str) {
        self.ipam.lock().release(pod_uid);
    }

    fn attach<'a>(&'a self, port: &'a PodPort) -> BoxFuture<'a, Result<()>> {
        self.attach_inner(port).boxed()
    }

    fn dial_within(&self, pid: u32, port: u16) -> BoxFuture<'_, Result<TcpStream>> {
        namespace::dial(pid, port).boxed()
    }

    fn apply_services(&self, services: Vec<Service>) -> BoxFuture<'_, Result<()>> {
        *self.wanted.lock() = services;
        self.update_services().boxed()
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<()>> {
        self.cleanup_inner().boxed()
    }
}

/// A netlink connection in the caller's network namespace; it ends with its handle.
fn connect() -> Result<rtnetlink::Handle> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| kernel("open netlink", &error))?;
    spawn(TaskKind::Network, connection);
    Ok(handle)
}

fn kernel(what: impl Into<String>, why: &dyn std::fmt::Display) -> Error {
    Error::Kernel {
        what: what.into(),
        why: why.to_string(),
    }
}

/// The error number that the kernel answered with.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

/// "It is so already" is success.
fn unless(
    result: std::result::Result<(), rtnetlink::Error>,
    forgiven: &[nix::errno::Errno],
    what: impl Into<String>,
) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if forgiven.iter().any(|no| errno(&error) == Some(*no as i32)) => Ok(()),
        Err(error) => Err(kernel(what, &error)),
    }
}
