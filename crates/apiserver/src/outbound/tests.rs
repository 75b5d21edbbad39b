//! A real TLS server on this machine, and what becomes of requests to it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kontiki_base::limits;
use kontiki_base::task::{TaskKind, spawn};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::server::Options;
use crate::testing::{self, Memory, create};

/// What the test's extension answers.
pub(crate) enum Reply {
    Json(Value),
    Code(u16, &'static str),
    Bytes(usize),
    Never,
}

type Handler = dyn Fn(&str, Value) -> Reply + Send + Sync;

/// A TLS server and what a client has to know of it.
pub(crate) struct Extension {
    pub(crate) address: SocketAddr,
    /// PEM of its authority.
    pub(crate) authority: String,
    /// Connections so far.
    pub(crate) n_connections: Arc<Mutex<usize>>,
}

impl Extension {
    /// Serves `handler` under these names: path of the request, its JSON.
    pub(crate) async fn start(
        names: &[&str],
        handler: impl Fn(&str, Value) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (authority, chain, key) = issued(names);
        Self::serve(authority, chain, key, Arc::new(handler)).await
    }

    async fn serve(
        authority: String,
        chain: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        handler: Arc<Handler>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let n_connections = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&n_connections);
        spawn(TaskKind::Listener, async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counter.lock() += 1;
                let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                spawn(TaskKind::Connection, async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service =
                        service_fn(move |request| answered(Arc::clone(&handler), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            authority,
            n_connections,
        }
    }

    /// A server whose way to any pod leads here.
    pub(crate) async fn server(&self) -> ApiServer {
        let options = OutboundOptions {
            dialer: Arc::new(Redirected(self.address)),
            allow_loopback: false,
        };
        server_with(options).await
    }

    /// `clientConfig` of a webhook by Service.
    pub(crate) fn client_config(&self, path: &str) -> Value {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.encode(&self.authority);
        json!({
            "service": {"namespace": "default", "name": "hook", "path": path, "port": 8443},
            "caBundle": bundle,
        })
    }
}

async fn answered(
    handler: Arc<Handler>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let sent = serde_json::from_slice(&body).unwrap_or_default();
    let (code, body) = match handler(&path, sent) {
        Reply::Json(value) => (200, value.to_string()),
        Reply::Code(code, location) => (code, location.to_owned()),
        Reply::Bytes(n) => (200, " ".repeat(n)),
        Reply::Never => std::future::pending().await,
    };
    let mut response = http::Response::new(Full::from(body));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    Ok(response)
}

fn issued(names: &[&str]) -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new(Vec::new()).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(names).expect("names");
    let server = server.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    (authority.pem(), server.der().clone(), key)
}

/// Every address is the test's server.
struct Redirected(SocketAddr);

impl Dialer for Redirected {
    fn dial(&self, _: &Address) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Direct.dial(&Address {
            ip: self.0.ip(),
            port: self.0.port(),
            node: None,
            pod_uid: None,
        })
    }
}

/// A server with the Service `hook` that one pod is behind.
async fn server_with(outbound: OutboundOptions) -> ApiServer {
    let server = testing::server_with_options(
        Memory::default(),
        Options {
            outbound,
            ..Options::default()
        },
    )
    .await;
    let service = json!({
        "metadata": {"name": "hook"},
        "spec": {"ports": [{"name": "https", "port": 8443, "targetPort": 9443}]},
    });
    create(&server, "services", "default", service).await;
    let slice = json!({
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": 9443}],
        "endpoints": [
            {"addresses": ["10.1.2.3"], "conditions": {"ready": false}},
            {"addresses": ["10.1.2.4"], "conditions": {"ready": true}},
        ],
    });
    create(&server, "endpointslices.discovery.k8s.io", "default", slice).await;
    server
}

fn peer(extension: &Extension) -> Peer {
    Peer::of_client_config(&extension.client_config("/x"))
}

async fn post(server: &ApiServer, peer: &Peer) -> Result<Bytes, Error> {
    let body = Bytes::from_static(b"{}");
    server.post_json(peer, body, Duration::from_secs(30)).await
}

const NAME: &str = "hook.default.svc";

#[tokio::test]
async fn a_service_answers_and_its_connection_is_used_again() {
    let extension = Extension::start(&[NAME], |path, sent| {
        Reply::Json(json!({"path": path, "sent": sent}))
    })
    .await;
    let server = extension.server().await;
    for _ in 0..3 {
        let reply = post(&server, &peer(&extension)).await.expect("a reply");
        let reply: Value = serde_json::from_slice(&reply).expect("JSON");
        assert_eq!(reply, json!({"path": "/x", "sent": {}}));
        while !server.0.outbound.is_resting() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(*extension.n_connections.lock(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_told() {
    let extension = Extension::start(&["other.default.svc"], |_, _| Reply::Never).await;
    let server = extension.server().await;
    let failed = post(&server, &peer(&extension)).await;
    let Err(Error::Unreachable(why)) = failed else {
        panic!("{failed:?}");
    };
    assert!(why.starts_with("tls: ") && why.contains("name"), "{why}");

    let stranger = Extension::start(&[NAME], |_, _| Reply::Never).await;
    let failed = post(&server, &peer(&stranger)).await;
    assert!(matches!(failed, Err(Error::Unreachable(_))), "{failed:?}");
    let anyone = Peer {
        trust: Trust::Anyone,
        ..peer(&extension)
    };
    let failed = server
        .post_json(&anyone, Bytes::new(), Duration::from_millis(200))
        .await;
    assert_eq!(failed, Err(Error::Timeout));
}

#[tokio::test]
async fn replies_are_bounded_and_redirects_not_followed() {
    let extension = Extension::start(&[NAME], |path, _| match path {
        "/giant" => Reply::Bytes(limits::WEBHOOK_REPLY_BYTES + 1),
        "/redirect" => Reply::Code(302, "https://elsewhere"),
        "/broken" => Reply::Code(500, "oops"),
        _ => Reply::Never,
    })
    .await;
    let server = extension.server().await;
    for (path, expected) in [
        ("/giant", Error::TooLarge(limits::WEBHOOK_REPLY_BYTES)),
        ("/redirect", Error::Code(302)),
        ("/broken", Error::Code(500)),
    ] {
        let peer = Peer::of_client_config(&extension.client_config(path));
        assert_eq!(post(&server, &peer).await, Err(expected), "{path}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_believed_under_its_name() {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let handler = Arc::new(|_: &str, _: Value| Reply::Json(json!({})));
    let (pem, der) = (certificate.pem(), certificate.der().clone());
    let extension = Extension::serve(pem, der, key, handler).await;
    let server = extension.server().await;
    assert!(post(&server, &peer(&extension)).await.is_ok());
    let misnamed = Peer {
        destination: Destination::Url("https://10.9.9.9/".parse().expect("a URL")),
        ..peer(&extension)
    };
    let failed = post(&server, &misnamed).await;
    assert!(
        matches!(&failed, Err(Error::Unreachable(why)) if why.ends_with("NotValidForName")),
        "{failed:?}"
    );
}

#[tokio::test]
async fn addresses_of_this_machine_are_refused_unless_allowed() {
    let extension = Extension::start(&["127.0.0.1"], |_, _| Reply::Json(json!({}))).await;
    let by_url = |address: &str| Peer {
        destination: Destination::Url(address.parse().expect("a URL")),
        ..peer(&extension)
    };
    let url = format!("https://{}", extension.address);
    let server = server_with(OutboundOptions::default()).await;
    for url in [
        url.as_str(),
        "https://169.254.169.254",
        "https://[::1]:1",
        "https://localhost:1",
    ] {
        let failed = post(&server, &by_url(url)).await;
        let Err(Error::Unreachable(why)) = failed else {
            panic!("{url}: {failed:?}");
        };
        assert!(why.contains(" is refused: "), "{why}");
    }
    let open = OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    };
    let server = server_with(open).await;
    assert!(post(&server, &by_url(&url)).await.is_ok());
}

#[tokio::test]
async fn a_service_without_a_ready_pod_is_told() {
    let server = server_with(OutboundOptions::default()).await;
    let service = |name: &str| Peer {
        destination: Destination::of_service(&json!({"namespace": "default", "name": name})),
        trust: Trust::System,
        identity: None,
    };
    let lonely = json!({"metadata": {"name": "lonely"}, "spec": {"ports": [{"port": 443}]}});
    create(&server, "services", "default", lonely).await;
    let misported = Peer {
        destination: Destination::of_service(
            &json!({"namespace": "default", "name": "hook", "port": 1}),
        ),
        ..service("hook")
    };
    let expected = "no service port 1 found for service \"hook\"";
    let failed = post(&server, &misported).await;
    assert_eq!(failed, Err(Error::Unreachable(expected.into())));
    for (name, expected) in [
        ("lonely", "no endpoints available for service \"lonely\""),
        ("nobody", "service \"nobody\" not found"),
    ] {
        let failed = post(&server, &service(name)).await;
        assert_eq!(failed, Err(Error::Unreachable(expected.into())));
    }
}
