//! Routes to the pods of other nodes and to services.
//!
//! Our routes bear a protocol number and a metric of this node's, by which they are told from others'.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::{kernel, unless};
use crate::{Cidr, NodeNetwork, Result};

/// Marks a route as Kontiki's; any number that no routing daemon uses.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(107);

/// Routes to peers (by their address, which must be on a link of ours) and the services' prefix.
pub async fn ensure(
    handle: &Handle,
    hash: &str,
    bridge: u32,
    gateway: Ipv4Addr,
    network: &NodeNetwork,
) -> Result<()> {
    let metric = metric(hash);
    let mut wanted = BTreeSet::from([network.service_cidr]);
    // Services' addresses are always translated before they leave; without a route, a machine without a default
    // route could not even try.
    let services = builder(network.service_cidr, metric)
        .output_interface(bridge)
        .pref_source(gateway)
        .scope(RouteScope::Link)
        .build();
    let added = handle.route().add(services).replace().execute().await;
    unless(added, &[Errno::EEXIST], "route to services")?;

    let elsewhere = network
        .peers
        .iter()
        .filter(|peer| peer.node_ip != network.node_ip);
    for peer in elsewhere {
        wanted.insert(peer.pod_cidr);
        let route = builder(peer.pod_cidr, metric).gateway(peer.node_ip).build();
        let added = handle.route().add(route).replace().execute().await;
        if let Err(error) = unless(
            added,
            &[Errno::EEXIST],
            format!("route to {}", peer.pod_cidr),
        ) {
            // One node out of reach must not take the network from the others.
            tracing::warn!(%error, node = %peer.node_ip, "pods of this node are out of reach");
        }
    }
    for (prefix, route) in ours(handle, metric).await? {
        if !wanted.contains(&prefix) {
            let gone = handle.route().del(route).execute().await;
            unless(gone, &[Errno::ESRCH], format!("remove route to {prefix}"))?;
        }
    }
    Ok(())
}

/// Removes all routes of this node's agent.
pub async fn remove_all(handle: &Handle, hash: &str) -> Result<()> {
    for (prefix, route) in ours(handle, metric(hash)).await? {
        let gone = handle.route().del(route).execute().await;
        unless(gone, &[Errno::ESRCH], format!("remove route to {prefix}"))?;
    }
    Ok(())
}

fn builder(prefix: Cidr, metric: u32) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(prefix.network(), prefix.length())
        .priority(metric)
        .protocol(PROTOCOL)
}

/// Between 1,000 and 66,535: after the kernel's own routes.
fn metric(hash: &str) -> u32 {
    1000 + u32::from_str_radix(&hash[..4], 16).unwrap_or(0)
}

async fn ours(handle: &Handle, metric: u32) -> Result<Vec<(Cidr, RouteMessage)>> {
    let mut found = Vec::new();
    let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut routes = handle.route().get(all).execute();
    let list = |error| kernel("list routes", &error);
    while let Some(route) = routes.try_next().await.map_err(list)? {
        let same_metric = route.attributes.contains(&RouteAttribute::Priority(metric));
        let destination = route
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
                _ => None,
            });
        if let Some(address) = destination
            && same_metric
            && route.header.protocol == PROTOCOL
        {
            found.push((
                Cidr::new(address, route.header.destination_prefix_length),
                route,
            ));
        }
    }
    Ok(found)
}

/// The machine's own address towards the default route, or the first one that is not loopback.
pub async fn default_address() -> Result<Option<Ipv4Addr>> {
    let handle = super::connect()?;
    // A socket carries one dump at a time: each is read to its end before the next.
    let routes = handle
        .route()
        .get(RouteMessageBuilder::<Ipv4Addr>::new().build())
        .execute();
    let routes: Vec<RouteMessage> = routes
        .try_collect()
        .await
        .map_err(|error| kernel("list routes", &error))?;
    let default = routes
        .iter()
        .filter(|route| route.header.destination_prefix_length == 0);
    let default_link = default
        .flat_map(|route| &route.attributes)
        .find_map(|attribute| {
            if let RouteAttribute::Oif(index) = attribute {
                Some(*index)
            } else {
                None
            }
        });
    let addresses = handle.address().get().execute();
    let addresses: Vec<AddressMessage> = addresses
        .try_collect()
        .await
        .map_err(|error| kernel("list addresses", &error))?;
    let candidates: Vec<(bool, Ipv4Addr)> = addresses
        .iter()
        .flat_map(|found| {
            found
                .attributes
                .iter()
                .map(|attribute| (found.header.index, attribute))
        })
        .filter_map(|(index, attribute)| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) if !address.is_loopback() => {
                Some((Some(index) == default_link, *address))
            }
            _ => None,
        })
        .collect();
    let best = candidates
        .iter()
        .find(|(on_default, _)| *on_default)
        .or(candidates.first());
    Ok(best.map(|(_, address)| *address))
}
