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
    let shared = Arc::new(Shared {
        acceptor,
        builder: http_builder(),
        router,
    });
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
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            continue;
        };
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
    if tokio::time::timeout(GRACE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::info!("cutting connections that did not end");
        cut.send_replace(());
    }
}

/// Whether an accept error is about the one connection that was to be accepted.
fn is_connection_error(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn http_builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT);
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
    let cert = certs
        .and_then(<[_]>::first)
        .map(|cert| PeerCert(Bytes::copy_from_slice(cert)));
    let router = shared.router.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(cert) = &cert {
            request.extensions_mut().insert(cert.clone());
        }
        router.clone().oneshot(request)
    });
    let connection = shared
        .builder
        .serve_connection_with_upgrades(TokioIo::new(GuardedIo::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use hyper::client::conn::http2;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{ServerCert, server_config};

    struct Pki {
        ca: rcgen::Certificate,
        issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    }

    impl Pki {
        fn new() -> Self {
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let ca = params.self_signed(&key).unwrap();
            Self {
                ca,
                issuer: rcgen::Issuer::new(params, key),
            }
        }

        fn issue(&self, name: &str) -> (rcgen::Certificate, rcgen::KeyPair) {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &self.issuer).unwrap(), key)
        }

        fn connector(
            &self,
            identity: Option<(rcgen::Certificate, rcgen::KeyPair)>,
        ) -> TlsConnector {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.ca.der().clone()).unwrap();
            let builder = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots);
            let mut config = match identity {
                Some((cert, key)) => {
                    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                    builder
                        .with_client_auth_cert(vec![cert.der().clone()], key)
                        .unwrap()
                }
                None => builder.with_no_client_auth(),
            };
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsConnector::from(Arc::new(config))
        }
    }

    struct Served {
        pki: Pki,
        cert: Arc<ServerCert>,
        address: SocketAddr,
        stop: tokio::sync::oneshot::Sender<()>,
        server: tokio::task::JoinHandle<()>,
    }

    /// Serves a route that answers with the size of the caller's certificate.
    async fn served() -> Served {
        let pki = Pki::new();
        let (cert, key) = pki.issue("localhost");
        let cert = ServerCert::from_pem(&cert.pem(), &key.serialize_pem()).unwrap();
        let tls = server_config(cert.clone(), &pki.ca.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(|request: axum::extract::Request| async move {
            request
                .extensions()
                .get::<PeerCert>()
                .map_or(0, |cert| cert.0.len())
                .to_string()
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let server = spawn(TaskKind::Listener, async move {
            serve(listener, Arc::new(tls), router, async {
                drop(stopped.await)
            })
            .await;
        });
        Served {
            pki,
            cert,
            address,
            stop,
            server,
        }
    }

    async fn connect(
        served: &Served,
        connector: &TlsConnector,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(served.address).await?;
        connector
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
    }

    async fn get(served: &Served, connector: &TlsConnector) -> (StatusCode, HeaderMap, Bytes) {
        use http_body_util::BodyExt as _;
        let stream = TokioIo::new(connect(served, connector).await.unwrap());
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        let driver = spawn(TaskKind::Connection, async move { drop(connection.await) });
        let request = hyper::Request::get("https://localhost/")
            .body(Body::empty())
            .unwrap();
        let (parts, body) = client.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        driver.abort();
        (parts.status, parts.headers, body)
    }

    #[tokio::test]
    async fn requests_carry_the_client_certificate_and_strangers_end_nothing() {
        let served = served().await;
        let anonymous = served.pki.connector(None);
        assert_eq!(get(&served, &anonymous).await.2, "0");
        let known = served.pki.issue("client");
        let size = known.0.der().len().to_string();
        assert_eq!(
            get(&served, &served.pki.connector(Some(known))).await.2,
            size
        );

        // A certificate of another CA: refused in TLS. Garbage instead of TLS: likewise.
        let other = Pki::new().issue("client");
        let mut refused = connect(&served, &served.pki.connector(Some(other)))
            .await
            .unwrap();
        assert!(refused.read_u8().await.is_err());
        let mut raw = TcpStream::connect(served.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut raw, b"GET / HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = raw.read_to_end(&mut answer).await;
        assert_eq!(get(&served, &anonymous).await.0, StatusCode::OK);

        served.stop.send(()).unwrap();
        served.server.await.unwrap();
        assert!(TcpStream::connect(served.address).await.is_err());
    }

    #[tokio::test]
    async fn a_renewed_certificate_serves_new_connections() {
        let served = served().await;
        let anonymous = served.pki.connector(None);
        let shown = |stream: &tokio_rustls::client::TlsStream<TcpStream>| {
            let certs: &[CertificateDer<'_>] = stream.get_ref().1.peer_certificates().unwrap();
            certs[0].to_vec()
        };
        let before = shown(&connect(&served, &anonymous).await.unwrap());
        let (cert, key) = served.pki.issue("localhost");
        served
            .cert
            .renew(&cert.pem(), &key.serialize_pem())
            .unwrap();
        let after = shown(&connect(&served, &anonymous).await.unwrap());
        assert_eq!(after, cert.der().to_vec());
        assert_ne!(before, after);
        let stolen = rcgen::KeyPair::generate().unwrap();
        assert!(
            served
                .cert
                .renew(&cert.pem(), &stolen.serialize_pem())
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed() {
        use tokio::io::AsyncWriteExt as _;
        let (mut client, server) = tokio::io::duplex(64);
        let mut guarded = GuardedIo::new(server);
        client.write_all(b"GET / HT").await.unwrap();
        let mut byte = [0; 64];
        assert_eq!(guarded.read(&mut byte).await.unwrap(), 8);
        let error = guarded.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);

        // And one that never reads: the write gives up once no byte moved for a minute.
        let error = guarded.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
