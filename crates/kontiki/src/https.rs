//! A small HTTPS client for the API: what `up` waits with and `bench` loads with.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kontiki_base::task::{TaskKind, spawn};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kubeconfig::Access;

/// Largest answer that this client takes, in bytes.
const ANSWER_BYTES: usize = 64 << 20;

/// Connects to one API server.
#[derive(Clone)]
pub struct Client {
    access: Arc<Access>,
    tls: Arc<rustls::ClientConfig>,
}

/// One open connection.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    access: Arc<Access>,
}

/// One open connection that carries many streams at once.
pub struct Multiplexed {
    sender: http2::SendRequest<Full<Bytes>>,
    access: Arc<Access>,
}

/// An answer: code and body.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// Body.
    pub body: Bytes,
}

impl Client {
    /// A client with the identity of a kubeconfig.
    pub fn new(access: Access) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(access.ca_pem.as_bytes()) {
            roots.add(cert.context("malformed certificate authority")?)?;
        }
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let tls = match &access.identity {
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes())
                    .collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(
                    chain,
                    PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())?,
                )?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self {
            access: Arc::new(access),
            tls: Arc::new(tls),
        })
    }

    /// Opens a connection (HTTP/1.1 over TLS).
    pub async fn connect(&self) -> Result<Connection> {
        let stream = self.handshake(self.tls.clone()).await?;
        let (sender, connection) = http1::handshake(stream).await?;
        spawn(TaskKind::Command, async move {
            // The sender sees the error of a broken connection.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            access: self.access.clone(),
        })
    }

    async fn handshake(
        &self,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<TokioIo<TlsStream<TcpStream>>> {
        let endpoint = self.access.endpoint();
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
        let name = ServerName::try_from(host.to_owned())?;
        let tcp = TcpStream::connect(endpoint)
            .await
            .with_context(|| format!("no API server answers at {endpoint}"))?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(tls).connect(name, tcp).await?;
        Ok(TokioIo::new(stream))
    }

    /// Opens an HTTP/2 connection, which carries many streams.
    pub async fn connect_many(&self) -> Result<Multiplexed> {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.handshake(Arc::new(tls)).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        spawn(TaskKind::Command, async move {
            // The streams see the error of a broken connection.
            let _ = connection.await;
        });
        Ok(Multiplexed {
            sender,
            access: self.access.clone(),
        })
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.connect().await?.send("GET", path, Bytes::new()).await
    }
}

impl Connection {
    /// Sends one request and reads the whole answer.
    pub async fn send(&mut self, method: &str, path: &str, body: Bytes) -> Result<Answer> {
        let answer = self.request(method, path, body).await?;
        let code = answer.status().as_u16();
        let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .to_bytes();
        Ok(Answer { code, body })
    }

    /// Opens a stream of lines with GET.
    pub async fn stream(&mut self, path: &str) -> Result<Lines> {
        let answer = self.request("GET", path, Bytes::new()).await?;
        Lines::of(path, answer)
    }

    /// Opens the body of an answer to GET, of whatever length.
    pub async fn body(&mut self, path: &str) -> Result<hyper::body::Incoming> {
        let answer = self.request("GET", path, Bytes::new()).await?;
        succeeded(path, answer)
    }

    async fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let mut request = request(&self.access, method, path.to_owned(), body)?;
        let host = self.access.endpoint().parse()?;
        request.headers_mut().insert("host", host);
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Multiplexed {
    /// Opens a stream of lines with GET.
    pub async fn stream(&mut self, path: &str) -> Result<Lines> {
        let url = format!("https://{}{path}", self.access.endpoint());
        let request = request(&self.access, "GET", url, Bytes::new())?;
        self.sender.ready().await?;
        Lines::of(path, self.sender.send_request(request).await?)
    }
}

fn request(
    access: &Access,
    method: &str,
    uri: String,
    body: Bytes,
) -> Result<http::Request<Full<Bytes>>> {
    // The only patches that this client sends are merge patches.
    let content_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let mut request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("user-agent", "kontiki")
        .header("accept", "application/json")
        .header("content-type", content_type);
    if let Some(token) = &access.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    Ok(request.body(Full::new(body))?)
}

fn succeeded(
    path: &str,
    answer: http::Response<hyper::body::Incoming>,
) -> Result<hyper::body::Incoming> {
    if !answer.status().is_success() {
        bail!("{path} is refused with {}", answer.status().as_u16());
    }
    Ok(answer.into_body())
}

/// The lines of a streamed answer: watches and followed logs.
pub struct Lines {
    body: hyper::body::Incoming,
    buffer: BytesMut,
}

impl Lines {
    fn of(path: &str, answer: http::Response<hyper::body::Incoming>) -> Result<Self> {
        Ok(Self {
            body: succeeded(path, answer)?,
            buffer: BytesMut::new(),
        })
    }

    /// The next line without its end; none when the stream is over.
    pub async fn next_line(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(end + 1);
                line.truncate(end);
                return Ok(Some(line.freeze()));
            }
            if self.buffer.len() > ANSWER_BYTES {
                bail!("a line of the stream has no end");
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

impl Answer {
    /// The body as JSON, or the server's own words as an error.
    pub fn json(&self) -> Result<Value> {
        let value: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if self.code >= 300 {
            bail!(
                "{} ({})",
                value["message"].as_str().unwrap_or("no message"),
                self.code
            );
        }
        Ok(value)
    }
}
