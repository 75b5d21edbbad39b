//! Connections to ports of a pod: on its loopback interface, where port-forward goes, and on its address, where the
//! proxy goes.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use kontiki_base::limits::TUNNEL_CHUNK_BYTES;
use kontiki_base::status::Reason;
use kontiki_proto::node::tunnel_response::Message;
use kontiki_proto::node::{PodDialRequest, PortForwardRequest};
use kontiki_runtime::labels;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::outbound::{Gone, Outbound};
use super::{Failure, Inbound, containers};
use crate::node::Node;

/// Longest wait for a connection to a pod's address (upstream's dialer waits as long).
const DIAL: Duration = Duration::from_secs(30);

/// Connects to the loopback interface of a pod.
pub(super) async fn forward(
    node: &Node,
    request: &PortForwardRequest,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let port = port(request.port)?;
    // The pause container holds the pod's network.
    let pause = containers::running(node, &request.pod_uid, labels::PAUSE).await?;
    let stream = node.network.dial_within(pause.pid, port).await;
    let stream = stream.map_err(|error| {
        let uid = &request.pod_uid;
        let why = format!(
            "failed to execute portforward in network namespace of pod {uid}: \
             failed to connect to localhost:{port} inside namespace: {error}"
        );
        Failure::new(Reason::InternalError, why)
    })?;
    let (read, write) = stream.into_split();
    pass(read, write, inbound, outbound).await
}

/// Connects to the address of a pod.
pub(super) async fn dial(
    node: &Node,
    request: &PodDialRequest,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let port = port(request.port)?;
    let address = address(node, &request.pod_uid)?;
    let failed = |why: String| {
        let why = format!("dial tcp {address}:{port}: {why}");
        Failure::new(Reason::ServiceUnavailable, why)
    };
    let stream = tokio::time::timeout(DIAL, TcpStream::connect((address, port))).await;
    let stream = stream
        .map_err(|_| failed("i/o timeout".into()))?
        .map_err(|error| failed(format!("connect: {error}")))?;
    // Requests are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    pass(read, write, inbound, outbound).await
}

fn port(port: u32) -> Result<u16, Failure> {
    let valid = u16::try_from(port).ok().filter(|port| *port > 0);
    valid.ok_or_else(|| Failure::new(Reason::BadRequest, format!("{port} is no port")))
}

/// The address of a pod of this node, by what was last told of it. What only this machine reaches is never one, whatever
/// a status says.
fn address(node: &Node, pod_uid: &str) -> Result<IpAddr, Failure> {
    let pods = node.mirror.pods();
    let status = pods.get(pod_uid).and_then(|pod| pod.status.as_ref());
    let address = status.and_then(|status| status.pod_ip.as_deref());
    let address: Option<IpAddr> = address.and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| {
        Failure::new(Reason::ServiceUnavailable, "no address is known of the pod")
    })?;
    if is_refused(address) {
        return Err(Failure::new(Reason::BadRequest, "address not allowed"));
    }
    Ok(address)
}

/// Upstream's `IsProxyableIP`.
fn is_refused(address: IpAddr) -> bool {
    let is_link_local = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let address = address.to_canonical();
    is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

/// Passes bytes both ways until the port's side has ended, or the client is gone.
pub(super) async fn pass(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    inbound: &mut Inbound,
    outbound: &Outbound,
) -> Result<(), Failure> {
    if outbound.ready().await.is_err() {
        return Ok(());
    }
    tokio::select! {
        read = read_all(read, outbound) => match read {
            Ok(Ok(())) | Err(Gone) => Ok(()),
            Ok(Err(error)) => Err(Failure::new(Reason::InternalError, error.to_string())),
        },
        () = write_all(write, inbound) => Ok(()),
    }
}

async fn read_all(
    mut stream: impl AsyncRead + Unpin,
    outbound: &Outbound,
) -> Result<std::io::Result<()>, Gone> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(TUNNEL_CHUNK_BYTES);
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return outbound.close(0).await.map(Ok),
            Ok(_) => outbound.data(0, buffer.split().freeze()).await?,
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Writes what the client sends, closes the port's input with the client's, and ends when the client has gone.
async fn write_all(stream: impl AsyncWrite + Unpin, inbound: &mut Inbound) {
    let mut stream = Some(stream);
    while let Some(Ok(message)) = inbound.next().await {
        let (data, is_end) = match message.message {
            Some(Message::Data(data)) => (data, false),
            Some(Message::Channel(channel)) if channel.channel == 0 => (channel.data, channel.end),
            Some(Message::End(_)) => (Bytes::new(), true),
            Some(Message::Channel(_)) | None => continue,
        };
        if let Some(open) = &mut stream
            && open.write_all(&data).await.is_err()
        {
            // The port's own end is seen by the reader.
            stream = None;
        }
        if is_end && let Some(mut open) = stream.take() {
            let _ = open.shutdown().await;
            // Dropped, it would do no more: the other half still reads.
            drop(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_machine_reaches_is_no_address_of_a_pod() {
        for (address, refused) in [
            ("10.244.0.7", false),
            ("192.168.1.1", false),
            ("fd00::7", false),
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("0.0.0.0", true),
            ("169.254.169.254", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("224.0.0.1", true),
        ] {
            assert_eq!(is_refused(address.parse().unwrap()), refused, "{address}");
        }
    }
}
