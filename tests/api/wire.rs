//! The wire as a hostile client has it: any identity, any header, any bytes, over HTTP/1.1, HTTP/2 or bare TLS.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kontiki::kubeconfig::Access;
use kontiki_base::task::{TaskKind, spawn};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::PATIENCE;

/// Largest answer that a test reads.
const ANSWER_BYTES: usize = 64 << 20;

/// Most headers of an answer: a warning is one.
const HEADERS: usize = 300;

/// A sender of HTTP/2 requests; clones share the connection.
pub type Http2 = http2::SendRequest<Full<Bytes>>;

/// Somebody who calls: an address and an identity.
#[derive(Clone)]
pub struct Caller {
    access: Access,
    tls: Arc<rustls::ClientConfig>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Caller {
    /// A caller of these credentials, none among them.
    pub fn new(access: Access) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(access.ca_pem.as_bytes()) {
            roots.add(cert.unwrap()).unwrap();
        }
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let tls = match &access.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(chain.collect::<Result<_, _>>().unwrap(), key)
                    .unwrap()
            }
        };
        Self {
            access,
            tls: Arc::new(tls),
        }
    }

    /// `host:port`.
    pub fn endpoint(&self) -> &str {
        self.access.endpoint()
    }

    /// A TLS connection that speaks this protocol.
    pub async fn tls(&self, protocol: &str) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.endpoint()).await?;
        tcp.set_nodelay(true)?;
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        Ok(TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?)
    }

    /// An HTTP/2 connection.
    pub async fn http2(&self) -> Result<Http2> {
        let stream = TokioIo::new(self.tls("h2").await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        spawn(TaskKind::Command, async move { drop(connection.await) });
        Ok(sender)
    }

    /// A request of this caller.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(format!("https://{}{path}", self.endpoint()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.access.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(request.body(Full::new(body))?)
    }

    /// One request on a connection of its own; the answer's head at once, its body as the server sends it.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let stream = TokioIo::new(self.tls("http/1.1").await?);
        let mut client = http1::Builder::new();
        client.max_headers(HEADERS);
        let (mut sender, connection) = client.handshake(stream).await?;
        spawn(TaskKind::Command, async move { drop(connection.await) });
        let (mut parts, body) = request.into_parts();
        let host = self.endpoint().parse()?;
        parts.headers.insert("host", host);
        parts.uri = parts
            .uri
            .path_and_query()
            .context("a path")?
            .as_str()
            .parse()?;
        Ok(sender
            .send_request(Request::from_parts(parts, body))
            .await?)
    }

    /// One request and its whole answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let request = self.request(method, path, headers, body.into())?;
        let answering = async { Answer::whole(self.open(request).await?).await };
        let answer = tokio::time::timeout(PATIENCE, answering).await;
        answer.with_context(|| format!("{method} {path} is not answered"))?
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Answer> {
        let headers = [("content-type", "application/json")];
        let body = object.to_string();
        self.send("POST", path, &headers, body).await
    }

    /// PATCH of this `KIND-patch+json`.
    pub async fn patch(&self, kind: &str, path: &str, patch: &Value) -> Result<Answer> {
        let content_type = format!("application/{kind}-patch+json");
        let headers = [("content-type", content_type.as_str())];
        self.send("PATCH", path, &headers, patch.to_string()).await
    }

    /// Writes bytes as they are over HTTP/1.1 and reads until the server closes.
    pub async fn raw(&self, parts: &[&[u8]]) -> Result<String> {
        let (mut reader, mut writer) = tokio::io::split(self.tls("http/1.1").await?);
        let (parts, reading) = (parts.concat(), read_to_close(&mut reader));
        // The server may close while it is still written to: what it answered counts.
        let writing = async move {
            let _ = writer.write_all(&parts).await;
            writer
        };
        let (answer, _writer) = tokio::join!(reading, writing);
        answer
    }
}

/// What a peer says until it closes, however it closes.
pub async fn read_to_close(reader: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let reading = async {
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n_bytes) = reader.read(&mut buffer).await
            && n_bytes > 0
        {
            said.extend_from_slice(&buffer[..n_bytes]);
        }
        said
    };
    let said = tokio::time::timeout(PATIENCE, reading).await;
    let said = said.context("the server does not close")?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn whole(response: Response<Incoming>) -> Result<Self> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self {
            code: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    /// The body, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success.
    pub fn json(&self) -> Result<Value> {
        ensure!(self.code < 300, "{}: {}", self.code, self.text());
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Checks that it is a refusal with this code, whose `Status` has this reason and these words.
    pub fn refused(&self, code: u16, reason: &str, words: &str) -> Result<()> {
        let shown: String = self.text().chars().take(600).collect();
        ensure!(
            self.code == code,
            "{} instead of {code}: {shown}",
            self.code
        );
        let status: Value = serde_json::from_slice(&self.body).context(shown.clone())?;
        ensure!(status["reason"] == reason, "no {reason}: {shown}");
        let message = status["message"].as_str().unwrap_or_default();
        ensure!(message.contains(words), "no {words:?}: {shown}");
        Ok(())
    }

    /// Checks the code alone.
    pub fn coded(&self, codes: &[u16]) -> Result<()> {
        let shown: String = self.text().chars().take(600).collect();
        ensure!(
            codes.contains(&self.code),
            "{} is none of {codes:?}: {shown}",
            self.code
        );
        Ok(())
    }
}
