//! Webhooks and aggregated API servers that lead elsewhere, hang or never stop talking.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kontiki::pki::{Authority, Subject};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_tests::eventually;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Row;
use super::bodies::{CONFIG_MAPS, config_map};
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(31, "an extension that answers with a redirect", |w| {
        Box::pin(redirect(w))
    }),
    Row::new(49, "webhooks at addresses of the machine", |w| {
        Box::pin(forbidden_addresses(w))
    }),
    Row::new(49, "a webhook that hangs", |w| Box::pin(hanging(w))),
    Row::new(49, "a webhook that never stops talking", |w| {
        Box::pin(talking(w))
    }),
];

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const GIB: usize = 1 << 30;

/// What an extension does once it has read a request.
#[derive(Clone, Copy)]
enum Manner {
    Redirects,
    Hangs,
    Talks,
}

struct Extension {
    port: u16,
    ca_bundle: String,
}

impl Extension {
    /// Serves on loopback, in this manner.
    async fn start(manner: Manner) -> Result<Self> {
        let authority = Authority::generate("extension")?;
        let pair = authority.issue(&Subject::gateway(&["ext.default.svc".into()]))?;
        let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes());
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                chain.collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())?,
            )?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        spawn(TaskKind::Command, async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                spawn(TaskKind::Command, async move {
                    let _ = answer(acceptor, tcp, manner).await;
                });
            }
        });
        Ok(Self {
            port,
            ca_bundle: STANDARD.encode(authority.cert_pem()),
        })
    }

    fn webhook(&self, policy: &str) -> Value {
        json!({"url": format!("https://127.0.0.1:{}/", self.port), "caBundle": self.ca_bundle, "policy": policy})
    }
}

async fn answer(acceptor: TlsAcceptor, tcp: tokio::net::TcpStream, manner: Manner) -> Result<()> {
    let mut stream = acceptor.accept(tcp).await?;
    let mut request = [0; 4096];
    let n_bytes = stream.read(&mut request).await?;
    match manner {
        Manner::Redirects => {
            let asked = String::from_utf8_lossy(&request[..n_bytes]).into_owned();
            // It is healthy, as far as the server asks of its own accord.
            let location = if asked.contains("/things") {
                "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
            } else if asked.contains("/elsewhere") {
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfollowed!"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
            };
            stream.write_all(location.as_bytes()).await?;
        }
        Manner::Hangs => std::future::pending().await,
        Manner::Talks => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
                .await?;
            let spaces = vec![b' '; 1 << 20];
            for _ in 0..GIB / spaces.len() {
                stream.write_all(&spaces).await?;
            }
        }
    }
    stream.shutdown().await?;
    Ok(())
}

fn configuration(name: &str, hook: &Value) -> Value {
    json!({"metadata": {"name": name}, "webhooks": [{
        "name": format!("{name}.hostile.example"),
        "clientConfig": {"url": hook["url"], "caBundle": hook["caBundle"]},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE"], "scope": "*"}],
        "matchConditions": [{"name": "own", "expression": "object.metadata.name.startsWith('hooked')"}],
        "failurePolicy": hook["policy"], "sideEffects": "None", "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1"]}]})
}

/// Configures a webhook and creates what it is asked about; the answer, once the webhook is known.
async fn hooked(world: &World, name: &str, hook: &Value) -> Result<crate::wire::Answer> {
    let admin = world.admin();
    let made = admin.post(WEBHOOKS, &configuration(name, hook)).await?;
    made.coded(&[201])?;
    let object = config_map(json!({ "name": format!("hooked-{name}") }));
    let answer = admin
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), &object)
        .await;
    admin
        .send("DELETE", &format!("{WEBHOOKS}/{name}"), &[], "")
        .await?
        .coded(&[200])?;
    answer
}

async fn hanging(world: &World) -> Result<()> {
    let extension = Extension::start(Manner::Hangs).await?;
    let strict = hooked(world, "hangs-strict", &extension.webhook("Fail")).await?;
    strict.refused(500, "InternalError", "failed calling webhook")?;
    strict.refused(500, "InternalError", "context deadline exceeded")?;
    let lenient = hooked(world, "hangs-lenient", &extension.webhook("Ignore")).await?;
    lenient.coded(&[201])
}

async fn talking(world: &World) -> Result<()> {
    let extension = Extension::start(Manner::Talks).await?;
    let strict = hooked(world, "talks-strict", &extension.webhook("Fail")).await?;
    strict.refused(500, "InternalError", "failed calling webhook")?;
    let lenient = hooked(world, "talks-lenient", &extension.webhook("Ignore")).await?;
    lenient.coded(&[201])
}

async fn forbidden_addresses(world: &World) -> Result<()> {
    for url in [
        "http://127.0.0.1/",
        "https://user:secret@127.0.0.1/",
        "file:///etc/passwd",
        "https:///",
        "gopher://x/",
    ] {
        let hook = json!({"url": url, "policy": "Fail"});
        let answer = world
            .admin()
            .post(WEBHOOKS, &configuration("bad-url", &hook))
            .await?;
        answer.refused(422, "Invalid", "url").context(url)?;
    }
    for host in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "224.0.0.1",
        "[fe80::1]",
    ] {
        let hook = json!({"url": format!("https://{host}/"), "policy": "Fail"});
        let answer = hooked(world, "metadata", &hook)
            .await
            .with_context(|| host.to_owned())?;
        answer
            .refused(500, "InternalError", "is refused")
            .with_context(|| host.to_owned())?;
    }
    // A server that was not told otherwise reaches nothing of its own machine either.
    let strict = World::start(|_| {}).await;
    let extension = Extension::start(Manner::Talks).await?;
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"] {
        let mut hook = extension.webhook("Fail");
        hook["url"] = format!("https://{host}:{}/", extension.port).into();
        let answer = hooked(&strict, "loopback", &hook)
            .await
            .with_context(|| host.to_owned())?;
        answer
            .refused(500, "InternalError", "is refused")
            .with_context(|| host.to_owned())?;
    }
    Ok(())
}

/// As upstream's aggregator: whoever may register an extension must not thereby send users elsewhere.
async fn redirect(world: &World) -> Result<()> {
    let extension = Extension::start(Manner::Redirects).await?;
    let admin = world.admin();
    // A Service by name, since that is how an APIService names its server.
    let service = json!({"metadata": {"name": "ext"}, "spec": {
        "type": "ExternalName", "externalName": "localhost", "ports": [{"port": extension.port}]}});
    admin
        .post("/api/v1/namespaces/default/services", &service)
        .await?
        .coded(&[201])?;
    let api_service = json!({"metadata": {"name": "v1.redirecting.example"}, "spec": {
        "group": "redirecting.example", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
        "caBundle": extension.ca_bundle,
        "service": {"name": "ext", "namespace": "default", "port": extension.port}}});
    let path = "/apis/apiregistration.k8s.io/v1/apiservices";
    admin.post(path, &api_service).await?.coded(&[201])?;
    let answer = async {
        let asking = || async {
            let answer = admin
                .get("/apis/redirecting.example/v1/things")
                .await
                .ok()?;
            (answer.code != 503 && answer.code != 404).then_some(answer)
        };
        eventually("the extension is asked", asking).await
    };
    let answer = tokio::time::timeout(Duration::from_secs(90), answer).await?;
    answer.coded(&[502])?;
    ensure!(
        !answer.headers.contains_key("location"),
        "{:?}",
        answer.headers
    );
    ensure!(!answer.text().contains("followed!"), "{}", answer.text());
    admin
        .send("DELETE", &format!("{path}/v1.redirecting.example"), &[], "")
        .await?
        .coded(&[200])?;
    let path = "/api/v1/namespaces/default/services/ext";
    admin.send("DELETE", path, &[], "").await?.coded(&[200])
}
