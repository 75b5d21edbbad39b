//! The node's bridge and the host's ends of the pods' links.

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt as _;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec};

use super::{errno, kernel, unless};
use crate::{Cidr, Result};

/// The hardware address that goes with an address (as the CNI bridge plugin's): whoever gets the address after another
/// is found under what the neighbours still remember.
pub fn hardware_address(address: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = address.octets();
    vec![0x0a, 0x58, a, b, c, d]
}

/// The bridge with its address, up; returns its index.
pub async fn ensure_bridge(
    handle: &Handle,
    name: &str,
    gateway: Ipv4Addr,
    pod_cidr: Cidr,
    mtu: u32,
) -> Result<u32> {
    // A fixed hardware address: one that follows the ports would leave pods with stale neighbours.
    let bridge = LinkBridge::new(name)
        .address(hardware_address(gateway))
        .mtu(mtu)
        .build();
    let added = handle.link().add(bridge).execute().await;
    unless(added, &[Errno::EEXIST], format!("create bridge {name}"))?;
    let index = index_of(handle, name).await?.unwrap_or(0);
    let address = handle
        .address()
        .add(index, IpAddr::V4(gateway), pod_cidr.length());
    unless(
        address.execute().await,
        &[Errno::EEXIST],
        format!("address of {name}"),
    )?;
    let up = handle
        .link()
        .set(LinkUnspec::new_with_index(index).up().build())
        .execute()
        .await;
    unless(up, &[], format!("set {name} up"))?;
    Ok(index)
}

/// Puts a pod's host end on the bridge, up.
pub async fn join_bridge(handle: &Handle, link: &str, bridge: &str) -> Result<()> {
    let bridge_index = index_of(handle, bridge).await?.unwrap_or(0);
    let what = format!("put {link} on {bridge}");
    let message = LinkUnspec::new_with_name(link)
        .controller(bridge_index)
        .up()
        .build();
    unless(handle.link().set(message).execute().await, &[], &what)?;
    // Where bridge netfilter is loaded, a pod that calls itself through a service leaves by the port it came from.
    let index = index_of(handle, link).await?.unwrap_or(0);
    let hairpin = LinkBridgePort::new(index).hairpin(true).build();
    unless(handle.link().set_port(hairpin).execute().await, &[], what)
}

/// Deletes a link; an absent one is no error.
pub async fn delete(handle: &Handle, name: &str) -> Result<()> {
    match index_of(handle, name).await? {
        Some(index) => {
            let gone = handle.link().del(index).execute().await;
            unless(gone, &[Errno::ENODEV], format!("delete {name}"))
        }
        None => Ok(()),
    }
}

/// Deletes all links on a bridge.
pub async fn delete_ports(handle: &Handle, bridge: &str) -> Result<()> {
    let Some(bridge_index) = index_of(handle, bridge).await? else {
        return Ok(());
    };
    let mut links = handle.link().get().execute();
    let mut ports = Vec::new();
    while let Some(link) = links
        .try_next()
        .await
        .map_err(|error| kernel("list links", &error))?
    {
        if link
            .attributes
            .contains(&LinkAttribute::Controller(bridge_index))
        {
            ports.push(link.header.index);
        }
    }
    for index in ports {
        let gone = handle.link().del(index).execute().await;
        unless(gone, &[Errno::ENODEV], "delete a pod's link")?;
    }
    Ok(())
}

/// A link's index by name.
pub async fn index_of(handle: &Handle, name: &str) -> Result<Option<u32>> {
    Ok(find(handle, name).await?.map(|link| link.header.index))
}

/// A link by name.
pub async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>> {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    match links.try_next().await {
        Ok(link) => Ok(link),
        Err(error) if errno(&error) == Some(Errno::ENODEV as i32) => Ok(None),
        Err(error) => Err(kernel(format!("look for {name}"), &error)),
    }
}
