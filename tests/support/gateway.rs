//! A `kontiki gateway` process in front of a cluster, ended with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kontiki::https::Client;
use kontiki::kubeconfig::{self, Access};
use kontiki::local::settings::loopback;
use kontiki::pki::Pair;

use crate::{Kubectl, LocalCluster, eventually, kontiki_binary};

/// A gateway of a cluster.
pub struct Gateway {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Gateway {
    /// Joins a gateway with a token and starts it on a free port, before all replicas of the cluster.
    pub async fn join(cluster: &LocalCluster) -> Self {
        let token = cluster.kontiki(&["token", "create", "--role", "gateway", "--json"]);
        let token: serde_json::Value = serde_json::from_slice(&token.stdout).unwrap();
        let folder = cluster.scratch().join("gateway");
        std::fs::create_dir(&folder).unwrap();
        let port = free_port();
        let settings = cluster.settings();
        let servers: Vec<String> = settings
            .server_ports
            .iter()
            .map(|(api, _)| loopback(*api).to_string())
            .collect();
        let mut command = Command::new(kontiki_binary());
        command
            .args(["gateway", "--name", "test", "--log", "info"])
            .args(["--listen", &loopback(port).to_string()])
            .args(["--join", &servers[0]])
            .args(["--token", token["token"].as_str().unwrap()])
            .arg("--data-dir")
            .arg(&folder);
        for server in &servers {
            command.args(["--server", server]);
        }
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let process = command
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut gateway = Self {
            folder,
            port,
            process,
        };
        gateway.write_kubeconfig(&cluster.kubeconfig());
        let client = gateway.client();
        eventually("the gateway is ready", || async {
            let answer = client.get("/readyz").await.ok()?;
            (answer.code == 200).then_some(())
        })
        .await;
        assert!(gateway.process.try_wait().unwrap().is_none());
        gateway
    }

    fn write_kubeconfig(&self, of_cluster: &Path) {
        let access = kubeconfig::read(of_cluster).unwrap();
        let server = format!("https://{}", loopback(self.port));
        let identity = access.identity.unwrap();
        kubeconfig::write(&self.kubeconfig(), &server, &access.ca_pem, &identity).unwrap();
    }

    /// The administrator's kubeconfig, at this gateway.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// kubectl through it.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig())
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.access()).unwrap()
    }

    /// Where it is, and the administrator's identity.
    pub fn access(&self) -> Access {
        kubeconfig::read(&self.kubeconfig()).unwrap()
    }

    /// Its own certificate.
    pub fn identity(&self) -> Pair {
        let pair = Pair::load(&self.folder.join("pki"), "gateway").unwrap();
        pair.unwrap()
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("--- log of the gateway\n{log}");
        }
    }
}
