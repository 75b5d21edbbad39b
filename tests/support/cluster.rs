//! A local cluster of real processes, made by `kontiki up` and taken away by `kontiki down --purge`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kontiki::https::Client;
use kontiki::kubeconfig;
use kontiki::local::layout::Layout;
use kontiki::local::process::Process;
use kontiki::local::settings::{Settings, loopback};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Kubectl, eventually, kontiki_binary};

/// A cluster that ends with the test.
pub struct LocalCluster {
    folder: TempDir,
    /// Its paths.
    pub layout: Layout,
}

impl LocalCluster {
    /// Starts so many replicas and nodes on free ports.
    pub fn up(servers: u32, nodes: u32) -> Self {
        Self::up_in(&std::env::temp_dir(), servers, nodes)
    }

    /// As `up`, with its data below a folder.
    pub fn up_in(parent: &Path, servers: u32, nodes: u32) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new()
            .prefix("kontiki-test-")
            .tempdir_in(parent)
            .unwrap();
        let layout = Layout::new(&folder.path().join("cluster"));
        let cluster = Self { folder, layout };
        let (servers, nodes) = (servers.to_string(), nodes.to_string());
        let args = [
            "up",
            "--detach",
            "--port",
            "0",
            "--servers",
            &servers,
            "--nodes",
            &nodes,
        ];
        let output = cluster.kontiki(&args);
        assert!(output.status.success(), "up failed: {}", text(&output));
        cluster
    }

    /// Starts again what does not run.
    pub fn up_again(&self) {
        let output = self.kontiki(&["up", "--detach"]);
        assert!(output.status.success(), "up failed: {}", text(&output));
    }

    /// Runs a `kontiki` command on this cluster's data directory.
    pub fn kontiki(&self, args: &[&str]) -> Output {
        let mut command = Command::new(kontiki_binary());
        command
            .args(args)
            .env("KUBECONFIG", self.layout.kubeconfig());
        if matches!(args.first(), Some(&"up" | &"down")) {
            command.arg("--data-dir").arg(self.layout.dir());
        }
        command.output().expect("the binary under test starts")
    }

    /// A scratch folder beside the cluster.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// kubectl on this cluster.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.kubeconfig())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// Ports and sizes.
    pub fn settings(&self) -> Settings {
        kontiki::config::load(&self.layout.settings()).unwrap()
    }

    /// A client of the port that all replicas share.
    pub fn client(&self) -> Client {
        Client::new(kubeconfig::read(&self.kubeconfig()).unwrap()).unwrap()
    }

    /// A client of one replica.
    pub fn client_of(&self, server: u32) -> Client {
        let mut access = kubeconfig::read(&self.kubeconfig()).unwrap();
        let (api, _) = self.settings().server_ports[server as usize - 1];
        access.server = format!("https://{}", loopback(api));
        Client::new(access).unwrap()
    }

    /// A process of the cluster (`server-1`, `node-1`).
    pub fn process(&self, name: &str) -> Process {
        Process::new(&self.layout, name)
    }

    /// Sends a signal to a process of the cluster and, for SIGKILL, waits until it is gone.
    pub async fn signal(&self, name: &str, signal: Signal) {
        let process = self.process(name);
        let pid = process
            .pid()
            .unwrap_or_else(|| panic!("{name} does not run"));
        kill(pid, signal).unwrap();
        if signal == Signal::SIGKILL {
            eventually("the killed process is gone", || async {
                process.pid().is_none().then_some(())
            })
            .await;
        }
    }

    /// What `kontiki status --json` says.
    pub fn status(&self) -> Option<Value> {
        let output = self.kontiki(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The leader's id, once there is one.
    pub async fn leader(&self) -> u32 {
        eventually("a leader", || async {
            let id = self.status()?["leaderId"].as_u64().filter(|id| *id > 0)?;
            u32::try_from(id).ok()
        })
        .await
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in std::fs::read_dir(self.layout.logs())
                .into_iter()
                .flatten()
                .flatten()
            {
                let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                eprintln!("--- end of {}", entry.path().display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
        let output = self.kontiki(&["down", "--purge"]);
        if !output.status.success() {
            eprintln!("down failed: {}", text(&output));
        }
    }
}
