//! The command line: one file a command, one line each here.

use anyhow::Result;
use clap::{Parser, Subcommand};

pub mod agent;
pub mod bench;
pub mod down;
pub mod encryption;
pub mod gateway;
pub mod images;
pub mod member;
pub mod server;
pub mod snapshot;
pub mod status;
pub mod token;
pub mod up;

/// Kontiki: a highly available container orchestrator that speaks the Kubernetes API.
#[derive(Debug, Parser)]
#[command(name = "kontiki", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster on this machine
    Up(up::Args),
    /// End the cluster of this machine
    Down(down::Args),
    /// Run one replica of the control plane
    Server(server::Args),
    /// Run a REST gateway alone, in front of the replicas
    Gateway(gateway::Args),
    /// Run one node
    Agent(agent::Args),
    /// Show replicas, nodes and pods of a cluster
    Status(status::Args),
    /// List, add, promote and remove replicas
    Member(member::Args),
    /// Create, list and delete join tokens
    Token(token::Args),
    /// Save, restore and inspect snapshots
    Snapshot(snapshot::Args),
    /// Show and rotate the keys of encryption at rest
    Encryption(encryption::Args),
    /// Load the sample's images into the local Docker Engine
    Images(images::Args),
    /// Measure a cluster; works against any Kubernetes API server
    Bench(bench::Args),
}

impl Cli {
    /// Runs the chosen command to its end.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Up(args) => on_runtime(up::run(args)),
            Command::Down(args) => on_runtime(down::run(args)),
            Command::Server(args) => on_runtime(server::run(args)),
            Command::Gateway(args) => on_runtime(gateway::run(args)),
            Command::Agent(args) => on_runtime(agent::run(args)),
            Command::Status(args) => on_runtime(status::run(args)),
            Command::Member(args) => on_runtime(member::run(args)),
            Command::Token(args) => on_runtime(token::run(args)),
            Command::Snapshot(args) => on_runtime(snapshot::run(args)),
            Command::Encryption(args) => on_runtime(encryption::run(args)),
            Command::Images(args) => on_runtime(images::run(args)),
            Command::Bench(args) => on_runtime(bench::run(args)),
        }
    }
}

fn on_runtime(work: impl Future<Output = Result<()>>) -> Result<()> {
    // One crypto provider for every TLS connection of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
