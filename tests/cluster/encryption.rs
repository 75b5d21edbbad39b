//! Secrets at rest: nowhere to be read, through a rotation under writes and kills, by a replica that joins, and in a
//! restored archive.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kontiki::https::Client;
use kontiki::kubeconfig;
use kontiki_base::random::{Random as _, SystemRandom};
use kontiki_base::task::{TaskKind, spawn};
use kontiki_tests::{LocalCluster, eventually, eventually_within, kontiki_binary};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/namespaces/default/secrets";

/// What must be nowhere: random, so that no compression hides it.
struct Canary(String);

impl Canary {
    fn new() -> Self {
        let random = || format!("{:016x}", SystemRandom.bits());
        Self(format!("canary{}{}", random(), random()))
    }

    fn encoded(&self) -> String {
        STANDARD.encode(&self.0)
    }

    fn secret(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "data": { "password": self.encoded() },
        })
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        // Without the end, which depends on what follows.
        let encoded = self.encoded();
        [self.0.as_bytes(), &encoded.as_bytes()[..encoded.len() - 4]]
            .iter()
            .any(|canary| bytes.windows(canary.len()).any(|window| window == *canary))
    }

    /// Files below a folder that it is in.
    fn found_below(&self, folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .flat_map(|path| match path.is_dir() {
                true => self.found_below(&path),
                // Databases remove files meanwhile.
                false if std::fs::read(&path).is_ok_and(|bytes| self.is_in(&bytes)) => vec![path],
                false => Vec::new(),
            })
            .collect()
    }
}

/// A replica beside the cluster, killed with the test.
struct Server(Child);

impl Server {
    fn start(args: &[&str], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(kontiki_binary())
            .arg("server")
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn run(cluster: &LocalCluster, args: &[&str]) -> String {
    let output = cluster.kontiki(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn encryption(cluster: &LocalCluster) -> Option<Vec<Value>> {
    let output = cluster.kontiki(&["encryption", "status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    status["replicas"].as_array().cloned()
}

/// Waits until all replicas have settled on a rotation; their keys' ids.
async fn settled(cluster: &LocalCluster, n_replicas: usize, rotation: u64) -> Vec<String> {
    eventually("every replica has settled", || async {
        let replicas = encryption(cluster)?;
        let done = |replica: &&Value| {
            replica["settled"] == true
                && replica["rotation"].as_u64() >= Some(rotation)
                && replica["keys"]
                    .as_array()
                    .is_some_and(|keys| keys.len() == 1)
        };
        let keys = replicas.iter().filter(done);
        let keys: Vec<_> = keys
            .filter_map(|r| Some(r["keys"][0]["id"].as_str()?.to_owned()))
            .collect();
        (keys.len() == n_replicas).then_some(keys)
    })
    .await
}

async fn reads(client: &Client, name: &str, canary: &Canary) -> bool {
    let Ok(answer) = client.get(&format!("{PATH}/{name}")).await else {
        return false;
    };
    answer.code == 200
        && answer
            .json()
            .is_ok_and(|secret| secret["data"]["password"] == canary.encoded().as_str())
}

/// Writes Secrets until told to stop, over a new connection after each failure.
async fn write(
    client: Client,
    canary: Arc<Canary>,
    n_written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = client.connect().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let name = format!("written-{}", n_written.load(Ordering::Relaxed));
            let body = Bytes::from(canary.secret(&name).to_string());
            match connection.send("POST", PATH, body).await {
                Ok(answer) if answer.code == 201 => {
                    n_written.fetch_add(1, Ordering::Relaxed);
                }
                // Its own retry, whose first answer was lost.
                Ok(answer) if answer.code == 409 => {
                    n_written.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}

async fn more(n_written: &AtomicU64) {
    let before = n_written.load(Ordering::Relaxed);
    eventually("writes go on", || async {
        (n_written.load(Ordering::Relaxed) >= before + 20).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_nowhere_to_be_read_and_survives_a_rotation_with_kills() {
    let cluster = LocalCluster::up(3, 0);
    let canary = Arc::new(Canary::new());
    let (n_written, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let writing = write(
        cluster.client(),
        canary.clone(),
        n_written.clone(),
        stop.clone(),
    );
    let writing = spawn(TaskKind::Command, writing);
    more(&n_written).await;
    let before = settled(&cluster, 3, 0).await;

    let rotating = Command::new(kontiki_binary())
        .args(["encryption", "rotate"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdout(Stdio::piped())
        .spawn();
    let mut rotating = Server(rotating.unwrap());
    eventually("the rotation is asked for", || async {
        let output = cluster.kontiki(&["encryption", "status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["rotation"] == 1).then_some(())
    })
    .await;
    let victim = cluster.leader().await % 3 + 1;
    cluster
        .signal(&format!("server-{victim}"), Signal::SIGKILL)
        .await;
    more(&n_written).await;
    cluster.up_again();
    more(&n_written).await;
    let done = tokio::task::spawn_blocking(move || rotating.0.wait().unwrap().success());
    assert!(
        done.await.unwrap(),
        "the command waited until all were done"
    );
    let after = settled(&cluster, 3, 1).await;
    assert!(
        before.iter().all(|key| !after.contains(key)),
        "{before:?} {after:?}"
    );
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();

    // All from their disks.
    for server in 1..=3 {
        cluster
            .signal(&format!("server-{server}"), Signal::SIGKILL)
            .await;
    }
    cluster.up_again();
    let last = format!("written-{}", n_written.load(Ordering::Relaxed) - 1);
    for server in 1..=3 {
        let client = cluster.client_of(server);
        eventually("the last Secret is read from each replica", || async {
            reads(&client, &last, &canary).await.then_some(())
        })
        .await;
    }
    let file = cluster.scratch().join("cluster.snapshot");
    run(&cluster, &["snapshot", "save", file.to_str().unwrap()]);
    assert_eq!(canary.found_below(cluster.scratch()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_joins_and_one_of_an_archive_read_secrets_with_keys_of_their_own() {
    let cluster = LocalCluster::up(1, 0);
    let canary = Canary::new();
    let mut connection = cluster.client().connect().await.unwrap();
    let body = Bytes::from(canary.secret("kept").to_string());
    assert_eq!(connection.send("POST", PATH, body).await.unwrap().code, 201);
    let first = settled(&cluster, 1, 0).await;

    let (api, _) = cluster.settings().server_ports[0];
    let token = run(&cluster, &["token", "create", "--role", "server", "--json"]);
    let token: Value = serde_json::from_str(&token).unwrap();
    let joined = cluster.scratch().join("joined");
    let (listen, peer) = (free_address(), free_address());
    let join = format!("127.0.0.1:{api}");
    let args = [
        "--name",
        "joined",
        "--data-dir",
        joined.to_str().unwrap(),
        "--listen",
        &listen,
        "--peer-listen",
        &peer,
        "--join",
        &join,
        "--token",
        token["token"].as_str().unwrap(),
    ];
    let server = Server::start(&args, &cluster.scratch().join("joined.log"));
    eventually("the new replica reads the Secret", || async {
        let access = kubeconfig::read(&joined.join("kubeconfig")).ok()?;
        let client = Client::new(access).ok()?;
        reads(&client, "kept", &canary).await.then_some(())
    })
    .await;
    let both = settled(&cluster, 2, 0).await;
    assert!(
        both.contains(&first[0]) && both[0] != both[1],
        "{first:?} {both:?}"
    );
    drop(server);
    assert_eq!(canary.found_below(cluster.scratch()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_restores_its_secrets_and_a_replica_without_its_keys_does_not_start() {
    let cluster = LocalCluster::up(1, 0);
    let canary = Canary::new();
    let mut connection = cluster.client().connect().await.unwrap();
    let body = Bytes::from(canary.secret("kept").to_string());
    assert_eq!(connection.send("POST", PATH, body).await.unwrap().code, 201);
    // What is wrong with a Secret is told without the Secret.
    for data in [
        json!({ "password": format!("{}!", canary.0) }),
        json!({ "password": { "deep": canary.encoded() } }),
        json!([canary.0]),
        json!({ "in valid": canary.encoded() }),
    ] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "wrong" }, "data": data,
        });
        let body = Bytes::from(secret.to_string());
        let answer = connection.send("POST", PATH, body).await.unwrap();
        assert!(matches!(answer.code, 400 | 422), "{}", answer.code);
        assert!(
            !canary.is_in(&answer.body),
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    let file = cluster.scratch().join("cluster.snapshot");
    let (file, restored) = (file.to_str().unwrap(), cluster.scratch().join("restored"));
    run(&cluster, &["snapshot", "save", file]);
    run(
        &cluster,
        &[
            "snapshot",
            "restore",
            file,
            "--to",
            restored.to_str().unwrap(),
        ],
    );
    assert_eq!(canary.found_below(cluster.scratch()), Vec::<PathBuf>::new());

    let keyring = restored.join("pki").join(kontiki::server::KEYRING);
    let aside = cluster.scratch().join("keyring-aside");
    std::fs::rename(&keyring, &aside).unwrap();
    let (listen, peer) = (free_address(), free_address());
    let args = [
        "--data-dir",
        restored.to_str().unwrap(),
        "--listen",
        &listen,
        "--peer-listen",
        &peer,
    ];
    let log = cluster.scratch().join("restored.log");
    let mut refused = Server::start(&args, &log);
    let status = tokio::task::spawn_blocking(move || refused.0.wait().unwrap());
    assert!(!status.await.unwrap().success());
    let complaint = std::fs::read_to_string(&log).unwrap();
    let complaint = complaint.lines().last().unwrap();
    let ring = std::fs::read_to_string(&aside).unwrap();
    let key = ring
        .lines()
        .find_map(|line| line.strip_prefix("key "))
        .unwrap();
    let (id, secret) = key.split_once(' ').unwrap();
    assert!(
        complaint.contains(id) && complaint.contains(keyring.to_str().unwrap()),
        "{complaint}"
    );
    assert!(!complaint.contains(&secret[..64]), "{complaint}");

    std::fs::rename(&aside, &keyring).unwrap();
    let _server = Server::start(&args, &log);
    let mut access = kubeconfig::read(&cluster.kubeconfig()).unwrap();
    access.server = format!("https://{listen}");
    let client = Client::new(access).unwrap();
    eventually_within(
        std::time::Duration::from_secs(60),
        "the restored replica reads it",
        || async { reads(&client, "kept", &canary).await.then_some(()) },
    )
    .await;
    assert_eq!(canary.found_below(cluster.scratch()), Vec::<PathBuf>::new());
}
