//! A network that exists in memory only: for hollow nodes and unit tests.

use std::net::Ipv4Addr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::ipam::Ipam;
use crate::{Error, NodeNetwork, PodNetwork, PodPort, Result, Service};

/// Addresses are given out and nothing is connected.
#[derive(Debug, Default)]
pub struct Hollow(Mutex<Ipam>);

impl PodNetwork for Hollow {
    fn configure(&self, network: NodeNetwork) -> BoxFuture<'_, Result<()>> {
        self.0.lock().set_cidr(network.pod_cidr);
        std::future::ready(Ok(())).boxed()
    }

    fn allocate(&self, pod_uid: &str) -> Result<Ipv4Addr> {
        self.0.lock().allocate(pod_uid)
    }

    fn adopt(&self, pod_uid: &str, address: Ipv4Addr) {
        self.0.lock().adopt(pod_uid, address);
    }

    fn release(&self, pod_uid: &str) {
        self.0.lock().release(pod_uid);
    }

    fn attach<'a>(&'a self, _port: &'a PodPort) -> BoxFuture<'a, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn dial_within(&self, _pid: u32, port: u16) -> BoxFuture<'_, Result<TcpStream>> {
        let refused = Error::Kernel {
            what: format!("dial tcp4 127.0.0.1:{port}"),
            why: "a hollow node's pods have no network".to_owned(),
        };
        std::future::ready(Err(refused)).boxed()
    }

    fn apply_services(&self, _services: Vec<Service>) -> BoxFuture<'_, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}
