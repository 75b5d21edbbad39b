//! The gRPC face: authenticates, and hands streams to `session` and `tunnel`, requests for tokens to `pod_tokens`.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use kontiki_apiserver::ApiServer;
use kontiki_base::limits;
use kontiki_base::task::{TaskKind, spawn};
use kontiki_proto::node::node_service_server::NodeService;
use kontiki_proto::node::tunnel_request::Message;
use kontiki_proto::node::{
    RequestTokenRequest, RequestTokenResponse, SessionRequest, SessionResponse, TunnelRequest,
    TunnelResponse,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::identity::{must_be, node_of};
use crate::{Dispatcher, pod_tokens, session, tunnel};

/// Implements `kontiki.node.v1.NodeService`.
pub struct NodeServiceHandler {
    dispatcher: Dispatcher,
    api: ApiServer,
}

impl NodeServiceHandler {
    pub(crate) fn new(dispatcher: Dispatcher, api: ApiServer) -> Self {
        Self { dispatcher, api }
    }
}

#[tonic::async_trait]
impl NodeService for NodeServiceHandler {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;
    type TunnelStream = BoxStream<'static, Result<TunnelResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let inner = Arc::clone(&self.dispatcher.0);
        let node = node_of(&request, inner.now_unix_ms())?;
        let incoming = request.into_inner().boxed();
        let (outgoing, responses) = mpsc::channel(limits::SESSION_QUEUE);
        spawn(
            TaskKind::Session,
            session::serve(inner, node, incoming, outgoing),
        );
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn tunnel(
        &self,
        request: Request<Streaming<TunnelRequest>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let inner = &self.dispatcher.0;
        let node = node_of(&request, inner.now_unix_ms())?;
        let mut incoming = request.into_inner();
        let first = timeout(limits::HANDSHAKE_TIMEOUT, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no TunnelHello in time"))??;
        let Some(Message::Hello(hello)) = first.and_then(|request| request.message) else {
            return Err(Status::invalid_argument(
                "the first message of a tunnel is TunnelHello",
            ));
        };
        must_be(&node, &hello.node_name)?;
        let outgoing = inner.tunnels.accept(&node, &hello, incoming.boxed())?;
        let responses = ReceiverStream::new(outgoing).map(|frame| Ok(tunnel::response(frame)));
        Ok(Response::new(responses.boxed()))
    }

    async fn request_token(
        &self,
        request: Request<RequestTokenRequest>,
    ) -> Result<Response<RequestTokenResponse>, Status> {
        // Only nodes come this way, whoever else may ask for tokens.
        node_of(&request, self.dispatcher.0.now_unix_ms())?;
        let (_, extensions, wanted) = request.into_parts();
        let issued = pod_tokens::issue(&self.api, extensions.get(), wanted).await?;
        Ok(Response::new(issued))
    }
}
