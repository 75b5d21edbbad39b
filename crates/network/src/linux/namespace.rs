//! Work within a pod's network namespace.
//!
//! A thread that entered a namespace never comes back to serve others: each piece of work gets a thread of its own
//! with a small executor, and the thread ends with it.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use futures::TryStreamExt as _;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{kernel, links, programs, unless};
use crate::Result;

/// The pod's name for its link.
const POD_LINK: &str = "eth0";

/// Longest wait for a connection to a port within a pod; on loopback an answer is at once.
const DIAL: Duration = Duration::from_secs(10);

/// What a pod's namespace is to get.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the host's end.
    pub host_link: String,
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// Largest packet.
    pub mtu: u32,
}

/// Whether the pod of a process has its link, address and host end.
pub async fn is_connected(pid: u32, plan: &Plan) -> Result<bool> {
    let address = plan.address;
    within(pid, move |handle, _host| async move {
        let Some(index) = links::index_of(&handle, POD_LINK).await? else {
            return Ok(false);
        };
        let addresses = handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute();
        let addresses: Vec<_> = addresses
            .try_collect()
            .await
            .map_err(|error| kernel("list addresses", &error))?;
        let wanted = AddressAttribute::Local(IpAddr::V4(address));
        Ok(addresses
            .iter()
            .any(|found| found.attributes.contains(&wanted)))
    })
    .await
}

/// Makes the link between the pod of a process and the host, with address and routes on the pod's side.
pub async fn connect(pid: u32, plan: Plan) -> Result<()> {
    within(pid, move |handle, host| async move {
        if let Some(index) = links::index_of(&handle, POD_LINK).await? {
            let gone = handle.link().del(index).execute().await;
            unless(gone, &[Errno::ENODEV], "delete a half-made link")?;
        }
        let peer = LinkUnspec::new_with_name(&plan.host_link)
            .mtu(plan.mtu)
            .setns_by_fd(host.as_raw_fd())
            .build();
        let pair = LinkVeth::new(POD_LINK, &plan.host_link)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .address(links::hardware_address(plan.address))
            .mtu(plan.mtu)
            .build();
        let made = handle.link().add(pair).execute().await;
        unless(made, &[], format!("create link {}", plan.host_link))?;
        // A neighbour is reached through the gateway too: no redirects, please.
        for scope in ["all", POD_LINK] {
            let setting = format!("net/ipv4/conf/{scope}/accept_redirects");
            if let Err(error) = programs::set_sysctl(&setting, "0") {
                tracing::debug!(%error, "redirects stay accepted");
            }
        }
        up(&handle, "lo").await?;
        let index = up(&handle, POD_LINK).await?;
        let address = handle.address().add(index, IpAddr::V4(plan.address), 32);
        unless(address.execute().await, &[Errno::EEXIST], "a pod's address")?;
        let gateway = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(plan.gateway, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let added = handle.route().add(gateway).execute().await;
        unless(added, &[Errno::EEXIST], "a pod's route to its gateway")?;
        let default = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(plan.gateway)
            .output_interface(index)
            .build();
        let added = handle.route().add(default).execute().await;
        unless(added, &[Errno::EEXIST], "a pod's default route")
    })
    .await
}

async fn up(handle: &Handle, name: &str) -> Result<u32> {
    let message = LinkUnspec::new_with_name(name).up().build();
    unless(
        handle.link().set(message).execute().await,
        &[],
        format!("set {name} up"),
    )?;
    Ok(links::index_of(handle, name).await?.unwrap_or(0))
}

/// Connects to a port on the loopback interface of the pod of a process: IPv4 first, as upstream.
pub async fn dial(pid: u32, port: u16) -> Result<TcpStream> {
    let stream = on_thread(move || {
        enter(pid)?;
        let at = |address: &SocketAddr| std::net::TcpStream::connect_timeout(address, DIAL);
        let (v4, v6) = (
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        );
        at(&v4).or_else(|first| {
            at(&v6).map_err(|_| kernel(format!("dial tcp4 {v4}: connect"), &first))
        })
    })
    .await?;
    let failed = |error: std::io::Error| kernel("a connection within a pod", &error);
    stream.set_nonblocking(true).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    TcpStream::from_std(stream).map_err(failed)
}

/// Moves the thread into the network namespace of a process; gives the one that it came from.
fn enter(pid: u32) -> Result<File> {
    let failed = |error: std::io::Error| kernel(format!("network of process {pid}"), &error);
    let host = File::open("/proc/thread-self/ns/net").map_err(failed)?;
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(failed)?;
    setns(&namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|error| kernel(format!("enter the network of process {pid}"), &error))?;
    Ok(host)
}

/// Runs `work` on a thread within the network namespace of a process, with the host's namespace at hand.
async fn within<T, W, F>(pid: u32, work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce(Handle, File) -> F + Send + 'static,
    F: Future<Output = Result<T>>,
{
    on_thread(move || {
        let failed = |error: std::io::Error| kernel(format!("network of process {pid}"), &error);
        let host = enter(pid)?;
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed)?;
        executor.block_on(async move { work(super::connect()?, host).await })
    })
    .await
}

/// Runs `body` on a thread that ends with it.
async fn on_thread<T: Send + 'static>(
    body: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("pod-network".into())
        .spawn(move || {
            // A caller that went away needs no answer.
            let _ = sender.send(body());
        })
        .map_err(|error| kernel("start a thread", &error))?;
    receiver
        .await
        .map_err(|error| kernel("work in a pod's network", &error))?
}
