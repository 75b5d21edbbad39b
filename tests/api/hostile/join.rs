//! Joining with what does not admit, and joining a server that is not ours.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kontiki::join::Token;
use kontiki::pki::{Authority, Subject, digest_of_pem};
use kontiki_proto::cluster::{
    CreateTokenRequest, CreateTokenResponse, JoinNodeRequest, JoinServerRequest,
};
use kontiki_tests::kontiki_binary;
use prost::Message;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use super::grpc::{self, framed};
use super::{MIB, Row};
use crate::world::World;

pub const ROWS: &[Row] = &[
    Row::new(33, "join tokens that are wrong or of another role", |w| {
        Box::pin(tokens(w))
    }),
    Row::new(33, "join tokens by the ten thousand", |w| {
        Box::pin(guessing(w))
    })
    .with_memory(128 * MIB),
    Row::new(34, "somebody in the middle of a join", |w| {
        Box::pin(in_the_middle(w))
    }),
];

const JOIN_NODE: &str = "/kontiki.cluster.v1.JoinService/JoinNode";
const JOIN_SERVER: &str = "/kontiki.cluster.v1.JoinService/JoinServer";
const CREATE_TOKEN: &str = "/kontiki.cluster.v1.ClusterService/CreateToken";
const UNAUTHENTICATED: &str = "16";
const RESOURCE_EXHAUSTED: &str = "8";
const N_GUESSES: usize = 10_000;
/// Guesses that are under way at once.
const N_AT_ONCE: usize = 100;
/// Guesses of one address that are judged by their merits; a person who mistypes needs fewer.
const N_JUDGED: usize = 200;

fn node(token: &str) -> Vec<u8> {
    let request = JoinNodeRequest {
        token: token.into(),
        node_name: "joining".into(),
        csr_pem: String::new(),
    };
    request.encode_to_vec()
}

fn server(token: &str) -> Vec<u8> {
    let request = JoinServerRequest {
        token: token.into(),
        name: "joining".into(),
        ..JoinServerRequest::default()
    };
    request.encode_to_vec()
}

async fn join(world: &World, path: &str, message: &[u8]) -> Result<String> {
    let body = framed(message, message.len());
    Ok(grpc::call(&world.stranger(), path, body).await?.0)
}

async fn created(world: &World, role: &str) -> Result<String> {
    let request = CreateTokenRequest {
        role: role.into(),
        ..CreateTokenRequest::default()
    };
    let message = request.encode_to_vec();
    let body = framed(&message, message.len());
    let (code, answer) = grpc::call(world.admin(), CREATE_TOKEN, body).await?;
    ensure!(code == "0", "no token: {code}");
    Ok(CreateTokenResponse::decode(&answer[5..])?.token)
}

async fn tokens(world: &World) -> Result<()> {
    let (of_node, of_server) = (
        created(world, "node").await?,
        created(world, "server").await?,
    );
    let token = Token::parse(&of_node)?;
    let rotated = Token::generate(token.ca_digest.clone()).to_string();
    let wrong = Token {
        secret: "0".repeat(32),
        ..token.clone()
    }
    .to_string();
    let long = "K1.".repeat(100_000);
    for (path, message) in [
        (JOIN_NODE, node("")),
        (JOIN_NODE, node("nonsense")),
        (JOIN_NODE, node(&rotated)),
        (JOIN_NODE, node(&wrong)),
        (JOIN_NODE, node(&of_server)),
        (JOIN_SERVER, server(&of_node)),
        (JOIN_SERVER, server(&rotated)),
    ] {
        let code = join(world, path, &message).await?;
        ensure!(code == UNAUTHENTICATED, "{path}: {code}");
    }
    let code = join(world, JOIN_NODE, &node(&long)).await?;
    ensure!(code != "0", "a long token: {code}");
    let secret = &token.secret;
    ensure!(!world.log().contains(secret), "the server logs the secret");
    ensure!(
        !world.audit_log().contains(secret),
        "the audit log has the secret"
    );
    Ok(())
}

/// No secret of 128 bits is found so; what it must not do is keep the server from its work.
async fn guessing(world: &World) -> Result<()> {
    let digest = digest_of_pem(world.authority().cert_pem())?;
    let connection = world.stranger().http2().await?;
    let mut codes = Vec::new();
    for _ in 0..N_GUESSES / N_AT_ONCE {
        let guesses = (0..N_AT_ONCE).map(|_| {
            let message = node(&Token::generate(digest.clone()).to_string());
            let body = framed(&message, message.len());
            grpc::call_on(connection.clone(), world.stranger(), JOIN_NODE, body)
        });
        codes.extend(
            try_join_all(guesses)
                .await?
                .into_iter()
                .map(|(code, _)| code),
        );
    }
    let count = |wanted: &str| codes.iter().filter(|code| *code == wanted).count();
    let (n_judged, n_limited) = (count(UNAUTHENTICATED), count(RESOURCE_EXHAUSTED));
    ensure!(
        n_judged + n_limited == N_GUESSES,
        "{n_judged} + {n_limited} of {N_GUESSES}"
    );
    ensure!(
        (1..=N_JUDGED).contains(&n_judged),
        "{n_judged} guesses were judged"
    );
    Ok(())
}

/// A server with another authority takes what it can get: the token's secret is not among it.
async fn in_the_middle(world: &World) -> Result<()> {
    let foreign = Authority::generate("kontiki")?;
    let pair = foreign.issue(&Subject::gateway(&[]))?;
    let tls = {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes());
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                chain.collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())?,
            )?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(std::sync::Arc::new(tls))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = listener.local_addr()?.to_string();
    let token = Token::generate(digest_of_pem(world.authority().cert_pem())?).to_string();
    let data_dir = world.scratch().join("joining");
    let mut joining = Command::new(kontiki_binary());
    joining
        .args([
            "agent",
            "--join",
            &endpoint,
            "--token",
            &token,
            "--data-dir",
        ])
        .arg(&data_dir)
        .kill_on_drop(true);
    let listening = async {
        let mut taken = Vec::new();
        loop {
            let (tcp, _) = listener.accept().await?;
            // A client that leaves the handshake has told nothing.
            if let Ok(mut stream) = tls.accept(tcp).await {
                let _ = stream.read_to_end(&mut taken).await;
            }
            ensure!(taken.is_empty(), "{} bytes were told", taken.len());
        }
    };
    let output = tokio::select! {
        output = joining.output() => output.context("the agent starts")?,
        told = listening => return told,
    };
    ensure!(!output.status.success(), "the agent joined");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        complaint.lines().any(|line| line.starts_with("kontiki: ")),
        "{complaint}"
    );
    let secret = token.rsplit('.').next().unwrap_or_default();
    ensure!(
        !complaint.contains(secret),
        "the complaint shows the secret"
    );
    Ok(())
}
