//! Calls from replica to replica, opaque to consensus: heartbeat reports and tunnels of the dispatchers.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::ReplicaId;
use crate::error::CallError;

/// Answers of one call, in order.
pub type CallStream = BoxStream<'static, Result<Bytes, CallError>>;

/// Serves one method that other replicas call.
pub trait CallHandler: Send + Sync + 'static {
    /// Serves one call. `from` is the certified id of the caller.
    fn call(
        &self,
        from: ReplicaId,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<CallStream, CallError>>;
}
