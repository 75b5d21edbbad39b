//! Listening sockets: the replica's own port, and those that all replicas of this machine share.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::ServerConfig;

const BACKLOG: u32 = 1024;

/// Binds every address that the replica serves.
pub fn bind(config: &ServerConfig) -> Result<Vec<TcpListener>> {
    let mut listeners = vec![listen(config.listen, false)?];
    for shared in [config.shared_listen, config.pod_listen]
        .into_iter()
        .flatten()
    {
        listeners.push(listen(shared, true)?);
    }
    Ok(listeners)
}

/// Binds one address; `shared` lets other processes of this machine bind it too.
pub fn listen(address: SocketAddr, shared: bool) -> Result<TcpListener> {
    let open = || -> std::io::Result<TcpListener> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(shared)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().with_context(|| format!("cannot listen on {address}; choose another with --listen"))
}
