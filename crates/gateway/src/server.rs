//! The one public port: accepts, TLS, HTTP/1.1 and HTTP/2, and an orderly end.
//!
//! What hurts one connection ends that connection only: no error of a peer reaches the accept loop. Slow clients are
//! bounded at each stage: handshake, first bytes, headers, and writes that nobody reads.
//! Deliberately absent: paths and bodies (`router`), who may do what (`apiserver`).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use kontiki_apiserver::authn::PeerCert;
use kontiki_base::limits::{CONNECTIONS, HANDSHAKE_TIMEOUT, STREAMS_PER_CONNECTION};
use kontiki_base::task::{TaskKind, spawn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::guarded_io::GuardedIo;

/// How long open requests may take to end once the server stops; watches are cut then.
const GRACE: Duration = Duration::from_secs(10);
/// Pause after an accept error that concerns the process (out of file descriptors), lest the loop spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Quiet HTTP/2 connections are pinged this often, and closed when no answer comes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a peer may reset before we looked at them (rapid reset, CVE-2023-44487).
const PENDING_RESETS: usize = 64;
/// Bytes buffered towards one HTTP/2 stream.
const STREAM_SEND_BYTES: usize = 256 * 1024;

/// What every connection is served with.
struct Shared {
    acceptor: TlsAcceptor,
    builder: Builder<TokioExecutor>,
    router: Router,
}

/// Serves connections until `shutdown`, then lets open requests end for at most ten seconds.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let shared = Arc::new(Shared { acceptor, builder: http_builder(), router });
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let (cut, cut_seen) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_connection_error(&error) {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        // Full: closing at once is the cheapest answer, and clients know how to come back.
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let connection = serve_connection(shared.clone(), stream, peer, graceful.watcher());
        let mut cut_seen = cut_seen.clone();
        spawn(TaskKind::Connection, async move {
            tokio::select! {
                () = connection => {}
                _ = cut_seen.changed() => {}
            }
            drop(slot);
        });
    }
    drop((listener, cut_seen));
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::info!("cutting connections that did not end");
        cut.send_replace(());
    }
}

/// Whether an accept error is about the one connection that was to be accepted.
fn is_connection_error(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn http_builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_send_buf_size(STREAM_SEND_BYTES)
        .adaptive_window(true);
    builder
}

async fn serve_connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    watcher: Watcher,
) {
    // Watch events are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    let handshake = shared.acceptor.accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await else {
        tracing::debug!(%peer, "TLS handshake failed");
        return;
    };
    let certs = stream.get_ref().1.peer_certificates();
    let cert = certs.and_then(<[_]>::first).map(|cert| PeerCert(Bytes::copy_from_slice(cert)));
    let router = shared.router.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(cert) = &cert {
            request.extensions_mut().insert(cert.clone());
        }
        router.clone().oneshot(request)
    });
    let connection = shared.builder.serve_connection_with_upgrades(TokioIo::new(GuardedIo::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
