//! The agent's half of a tunnel: what is said to the server, in pieces of a bounded size.

use bytes::Bytes;
use kontiki_base::limits::TUNNEL_CHUNK_BYTES;
use kontiki_proto::node::tunnel_request::Message;
use kontiki_proto::node::{ChannelData, TunnelEnd, TunnelReady, TunnelRequest};
use tokio::sync::mpsc;

use super::Failure;

/// Nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The sending side. Sends wait while the server does not take more.
pub(super) struct Outbound(mpsc::Sender<TunnelRequest>);

impl Outbound {
    pub(super) fn new(sender: mpsc::Sender<TunnelRequest>) -> Self {
        Self(sender)
    }

    async fn send(&self, message: Message) -> Result<(), Gone> {
        let request = TunnelRequest {
            message: Some(message),
        };
        self.0.send(request).await.map_err(|_| Gone)
    }

    /// What was asked for is there.
    pub(super) async fn ready(&self) -> Result<(), Gone> {
        self.send(Message::Ready(TunnelReady {})).await
    }

    /// Bytes of a channel; 0 is that of streams that have no others.
    pub(super) async fn data(&self, channel: u8, mut data: Bytes) -> Result<(), Gone> {
        while !data.is_empty() {
            let part = data.split_to(data.len().min(TUNNEL_CHUNK_BYTES));
            let message = match channel {
                0 => Message::Data(part),
                channel => Message::Channel(ChannelData {
                    channel: channel.into(),
                    data: part,
                    end: false,
                }),
            };
            self.send(message).await?;
        }
        Ok(())
    }

    /// Nothing follows on a channel.
    pub(super) async fn close(&self, channel: u8) -> Result<(), Gone> {
        let end = ChannelData {
            channel: channel.into(),
            data: Bytes::new(),
            end: true,
        };
        self.send(Message::Channel(end)).await
    }

    /// The last word. A server that has gone away needs none.
    pub(super) async fn end(&self, ended: Result<(), Failure>) {
        let end = match ended {
            Ok(()) => TunnelEnd::default(),
            Err(failure) => TunnelEnd {
                error: failure.message,
                code: u32::from(failure.reason.http_code()),
            },
        };
        let _ = self.send(Message::End(end)).await;
    }
}
