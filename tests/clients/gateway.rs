//! A gateway of its own process in front of a live cluster: kubectl sees no difference, watchers are one upstream watch and
//! outlive a leader, and nobody is believed to be a gateway who is none.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use kontiki::https::{Client, Lines};
use kontiki::kubeconfig::Access;
use kontiki::pki::Pair;
use kontiki_proto::api as proto;
use kontiki_proto::api::forward_request::Content;
use kontiki_proto::api::gateway_service_client::GatewayServiceClient;
use kontiki_tests::{Gateway, LocalCluster, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Watchers of one kind.
const N_WATCHERS: usize = 200;
/// A watch ends when nothing comes for so long.
const PATIENCE: Duration = Duration::from_secs(60);

async fn write(client: &Client, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let body = Bytes::from(body.to_string());
    eventually("the write is there", || async {
        let mut connection = client.connect().await.ok()?;
        let sent = connection.send("POST", MAPS, body.clone()).await.ok()?;
        // After an unknown outcome the name may be taken: by this very write.
        matches!(sent.code, 201 | 409).then_some(())
    })
    .await;
}

async fn watch(client: &Client, query: &str) -> Lines {
    let mut connection = client.connect().await.unwrap();
    connection
        .stream(&format!("{MAPS}?watch=1&{query}"))
        .await
        .unwrap()
}

/// Type and name of the next event.
async fn next(lines: &mut Lines) -> (String, String) {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = line.unwrap().unwrap().expect("the watch goes on");
    let event: Value = serde_json::from_slice(&line).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&event["type"]),
        text(&event["object"]["metadata"]["name"]),
    )
}

fn added(name: &str) -> (String, String) {
    ("ADDED".to_owned(), name.to_owned())
}

/// The newest revision of the collection.
async fn revision(client: &Client) -> String {
    let list = client.get(&format!("{MAPS}?limit=1")).await.unwrap();
    let list = list.json().unwrap();
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A gauge of a process.
async fn gauge(client: &Client, name: &str) -> u64 {
    let answer = client.get("/metrics").await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_watchers_are_one_upstream_watch_and_outlive_a_leader() {
    let cluster = LocalCluster::up(3, 0);
    let gateway = Gateway::join(&cluster).await;
    let client = gateway.client();
    let from = revision(&client).await;
    let watches = async || {
        let mut sum = 0;
        for server in 1..=3 {
            sum += gauge(&cluster.client_of(server), "kontiki_watches ").await;
        }
        sum
    };
    let before = watches().await;
    let mut watchers = Vec::new();
    for _ in 0..N_WATCHERS {
        watchers.push(watch(&client, &format!("resourceVersion={from}")).await);
    }
    assert_eq!(gauge(&client, "kontiki_watches ").await, N_WATCHERS as u64);
    assert_eq!(watches().await, before + 1);

    write(&client, "before").await;
    let leader = cluster.leader().await;
    cluster
        .signal(&format!("server-{leader}"), Signal::SIGKILL)
        .await;
    write(&client, "after").await;
    for watcher in &mut watchers {
        assert_eq!(next(watcher).await, added("before"));
        assert_eq!(next(watcher).await, added("after"));
    }
    let mut fresh = watch(&client, "resourceVersion=0").await;
    assert_eq!(next(&mut fresh).await.0, "ADDED");
}

/// A connection to a replica under an identity.
async fn as_gateway(access: &Access, identity: Option<&Pair>) -> GatewayServiceClient<Channel> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&access.ca_pem))
        .domain_name("kubernetes");
    if let Some(pair) = identity {
        tls = tls.identity(Identity::from_pem(&pair.cert_pem, &pair.key_pem));
    }
    let endpoint = Channel::from_shared(access.server.clone()).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await;
    GatewayServiceClient::new(channel.unwrap())
}

/// Asks a replica to serve a request of whom a certificate names; its code when it refuses.
async fn forward(
    client: &mut GatewayServiceClient<Channel>,
    certificate: Vec<u8>,
) -> Result<(), Code> {
    let named = proto::ForwardedClient {
        certificate: certificate.into(),
        ..proto::ForwardedClient::default()
    };
    let request = "GET /api/v1/secrets HTTP/1.1\r\nhost: x\r\n\r\n";
    let messages = [
        Content::Client(named),
        Content::Data(request.as_bytes().into()),
    ];
    let messages = messages.map(|content| proto::ForwardRequest {
        content: Some(content),
    });
    // As a gateway does, which ends its side when it has the answer.
    let messages = futures::stream::iter(messages).chain(futures::stream::pending());
    let answered = client.forward(messages).await;
    let mut answer = answered.map_err(|status| status.code())?.into_inner();
    let first = answer.message().await.unwrap().unwrap().data;
    assert!(first.starts_with(b"HTTP/1.1 200"), "{first:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_identity_is_refused() {
    let cluster = LocalCluster::up(1, 1);
    let gateway = Gateway::join(&cluster).await;
    let access = kontiki::kubeconfig::read(&cluster.kubeconfig()).unwrap();
    let admin = access.identity.clone().unwrap();
    let admin_der = kontiki::pki::first_der(&admin.cert_pem).unwrap();
    let node = Pair::load(&cluster.layout.data("node-1").join("pki"), "node");
    let node = node.unwrap().unwrap();

    // Not even an administrator is a gateway, a node is none, nobody is none.
    for (identity, code) in [
        (Some(&admin), Code::PermissionDenied),
        (Some(&node), Code::PermissionDenied),
        (None, Code::Unauthenticated),
    ] {
        let mut client = as_gateway(&access, identity).await;
        let refused = forward(&mut client, admin_der.clone()).await;
        assert_eq!(refused, Err(code));
        let fed = client.feed(proto::FeedRequest::default()).await;
        assert_eq!(fed.unwrap_err().code(), code);
        let renewed = client.renew_certificate(proto::RenewCertificateRequest::default());
        assert_eq!(renewed.await.unwrap_err().code(), code);
    }
    // A gateway repeats what it was shown, and makes up nobody.
    let own = gateway.identity();
    let mut client = as_gateway(&access, Some(&own)).await;
    assert_eq!(forward(&mut client, admin_der).await, Ok(()));
    let made_up = kontiki::pki::Authority::generate("kontiki-ca").unwrap();
    let made_up = made_up.issue(&kontiki::pki::Subject::admin()).unwrap();
    let made_up = kontiki::pki::first_der(&made_up.cert_pem).unwrap();
    let refused = forward(&mut client, made_up).await;
    assert_eq!(refused, Err(Code::Unauthenticated));
    // As a user of the API its certificate is worth nothing.
    let as_user = Access {
        identity: Some(own),
        ..gateway.access()
    };
    for server in [as_user.server.clone(), access.server.clone()] {
        let client = Client::new(Access {
            server,
            ..as_user.clone()
        });
        assert_eq!(
            client.unwrap().get("/api/v1/secrets").await.unwrap().code,
            403
        );
    }
    // Its certificate is renewed under the same name, for the same hosts.
    let (_, csr_pem) = kontiki::pki::certificate_request().unwrap();
    let renewed = client
        .renew_certificate(proto::RenewCertificateRequest { csr_pem })
        .await
        .unwrap()
        .into_inner();
    let subject = |pem: &str| {
        let der = kontiki::pki::first_der(pem).unwrap();
        kontiki::pki::Subject::of_remote_gateway(&der).unwrap()
    };
    let (old, new) = (
        subject(&gateway.identity().cert_pem),
        subject(&renewed.certificate_pem),
    );
    assert_eq!((old.name, old.hosts), (new.name, new.hosts));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_a_gateway_lives_and_says_when_to_come_back() {
    let cluster = LocalCluster::up(1, 0);
    let gateway = Gateway::join(&cluster).await;
    let client = gateway.client();
    let mut watcher = watch(&client, "resourceVersion=0").await;
    assert_eq!(next(&mut watcher).await.0, "ADDED");
    cluster.signal("server-1", Signal::SIGKILL).await;
    let refused = eventually("the replica is missed", || async {
        let answer = client.get(MAPS).await.ok()?;
        (answer.code == 503).then_some(answer)
    })
    .await;
    let status: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    assert_eq!(client.get("/livez").await.unwrap().code, 200);
    eventually("it is not ready", || async {
        let answer = client.get("/readyz").await.ok()?;
        (answer.code == 500).then_some(())
    })
    .await;
    cluster.up_again();
    write(&client, "later").await;
    while next(&mut watcher).await != added("later") {}
}
