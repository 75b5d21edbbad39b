//! A network that exists in memory only: for hollow nodes and unit tests.

use std::net::Ipv4Addr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::ipam::Ipam;
use crate::{NodeNetwork, PodNetwork, PodPort, Result, Service};

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

    fn apply_services(&self, _services: Vec<Service>) -> BoxFuture<'_, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}
