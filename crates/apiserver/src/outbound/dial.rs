//! Opening a connection. A trait, since a replica that has no route to pods will go through the node's tunnel.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The node that the pod runs on, when it is one.
    pub node: Option<Arc<str>>,
    /// The pod, when it is one.
    pub pod_uid: Option<Arc<str>>,
}

/// Both directions of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens connections.
pub trait Dialer: Send + Sync {
    /// Connects to an address.
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// By the machine's own routes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl Dialer for Direct {
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let to = (address.ip, address.port);
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Io> = Box::new(stream);
            Ok(stream)
        })
    }
}
