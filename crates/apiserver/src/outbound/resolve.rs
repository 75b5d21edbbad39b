//! From a destination to an address: a ready pod of a Service by the local store, a host by DNS.

use std::net::IpAddr;
use std::sync::Arc;

use kontiki_api::meta::Meta;
use kontiki_state::Snapshot;
use serde_json::Value;

use super::dial::Address;
use super::guard;
use super::{Destination, Error};
use crate::server::ApiServer;

const SERVICES: &str = "services";
const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

fn unreachable<T>(why: String) -> Result<T, Error> {
    Err(Error::Unreachable(why))
}

impl ApiServer {
    /// An address to connect to, which is none of those that are refused.
    pub(super) async fn resolve(&self, to: &Destination) -> Result<Address, Error> {
        let address = match to {
            Destination::Url(url) => {
                let port = url.port_or_known_default().unwrap_or(443);
                self.looked_up(&to.server_name(), port).await?
            }
            Destination::Service {
                namespace,
                name,
                port,
                ..
            } => match self.pod_of(namespace, name, *port)? {
                Resolved::Pod(address) => address,
                Resolved::Host(host) => self.looked_up(&host, *port).await?,
            },
        };
        self.checked(address)
    }

    fn checked(&self, address: Address) -> Result<Address, Error> {
        let allow_loopback = self.options().outbound.allow_loopback;
        match guard::refusal(address.ip, allow_loopback) {
            None => Ok(address),
            Some(why) => unreachable(format!("address {} is refused: {why}", address.ip)),
        }
    }

    async fn looked_up(&self, host: &str, port: u16) -> Result<Address, Error> {
        let found = tokio::net::lookup_host((host, port)).await;
        let mut found = found
            .map_err(|why| Error::Unreachable(format!("dial tcp: lookup {host}: {why}")))?
            .map(|address| Address {
                ip: address.ip(),
                port,
                node: None,
                pod_uid: None,
            });
        let Some(first) = found.next() else {
            return unreachable(format!("dial tcp: lookup {host}: no such host"));
        };
        Ok(first)
    }

    fn pod_of(&self, namespace: &str, name: &str, port: u16) -> Result<Resolved, Error> {
        let snapshot = self.store().snapshot();
        let service = snapshot.find(SERVICES, namespace, name);
        let Some(service) = service.and_then(|found| found.typed::<Value>().ok()) else {
            return unreachable(format!("service \"{name}\" not found"));
        };
        if service["spec"]["type"] == "ExternalName" {
            let host = service["spec"]["externalName"].as_str().unwrap_or_default();
            return Ok(Resolved::Host(host.to_owned()));
        }
        let ports = service["spec"]["ports"].as_array();
        let known = ports
            .into_iter()
            .flatten()
            .find(|known| known["port"].as_u64() == Some(u64::from(port)));
        let Some(known) = known else {
            return unreachable(format!(
                "no service port {port} found for service \"{name}\""
            ));
        };
        let port_name = known["name"].as_str().unwrap_or_default();
        let ready = endpoints(&snapshot, namespace, name, port_name);
        if ready.is_empty() {
            return unreachable(format!("no endpoints available for service \"{name}\""));
        }
        let i = self.options().random.below(ready.len() as u64) as usize;
        Ok(Resolved::Pod(ready[i].clone()))
    }
}

enum Resolved {
    Pod(Address),
    Host(String),
}

/// Addresses of all ready endpoints, with the port of that name.
pub(crate) fn endpoints(
    snapshot: &Snapshot,
    namespace: &str,
    service: &str,
    port: &str,
) -> Vec<Address> {
    let mut ready = Vec::new();
    for object in snapshot.list(SLICES, Some(namespace), None) {
        let Ok(slice) = object.typed::<Value>() else {
            continue;
        };
        let mut labels = Meta::of(&slice).labels();
        if !labels.any(|label| label == (SERVICE_LABEL, service)) {
            continue;
        }
        let ports = slice["ports"].as_array().into_iter().flatten();
        let number = ports
            .filter(|known| known["name"].as_str().unwrap_or_default() == port)
            .find_map(|known| known["port"].as_u64())
            .and_then(|number| u16::try_from(number).ok());
        let Some(number) = number else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            ready.extend(address(endpoint, number));
        }
    }
    ready
}

/// The address of an endpoint that is ready; one that does not say counts as ready.
fn address(endpoint: &Value, port: u16) -> Option<Address> {
    if endpoint["conditions"]["ready"] == false {
        return None;
    }
    let ip: IpAddr = endpoint["addresses"][0].as_str()?.parse().ok()?;
    let node = endpoint["nodeName"].as_str().map(Arc::from);
    let pod = &endpoint["targetRef"];
    let pod_uid = pod["uid"].as_str().filter(|_| pod["kind"] == "Pod");
    Some(Address {
        ip,
        port,
        node,
        pod_uid: pod_uid.map(Arc::from),
    })
}
