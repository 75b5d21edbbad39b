//! `kontiki down`: ends the cluster of this machine; with `--purge` nothing of it is left.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::files;
use crate::local::layout::Layout;
use crate::local::process::Process;
use crate::output::Steps;

/// End the cluster of this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the cluster is kept [default: ~/.kontiki]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Remove all data, keys and images as well
    #[arg(long)]
    purge: bool,
}

/// Ends agents, then their containers and networks, then servers.
pub async fn run(args: Args) -> Result<()> {
    let layout = Layout::new(&args.data_dir.unwrap_or_else(files::default_data_dir));
    if !layout.settings().exists() {
        println!("no cluster in {}", layout.dir().display());
        return Ok(());
    }
    stop(&layout, args.purge).await?;
    if args.purge {
        std::fs::remove_dir_all(layout.dir())
            .with_context(|| format!("cannot remove {}", layout.dir().display()))?;
        println!("Nothing of the cluster is left.");
    } else {
        println!(
            "Data is kept in {}; `kontiki up` brings it back.",
            layout.dir().display()
        );
    }
    Ok(())
}

/// Ends all processes of a local cluster and what its nodes run.
pub async fn stop(layout: &Layout, purge: bool) -> Result<()> {
    let mut steps = Steps::default();
    let processes = Process::all(layout);
    let (agents, servers): (Vec<_>, Vec<_>) = processes
        .iter()
        .partition(|process| process.name.starts_with("node-"));
    steps.begin("agents");
    for agent in &agents {
        agent.stop().await?;
    }
    steps.end(&format!("{} ended", agents.len()));
    steps.begin("containers");
    clean_nodes(layout, purge)?;
    steps.end("removed");
    steps.begin("control plane");
    for server in &servers {
        server.stop().await?;
    }
    steps.end(&format!("{} replicas ended", servers.len()));
    Ok(())
}

/// Runs each node's own cleanup: its containers, links and rules.
fn clean_nodes(layout: &Layout, purge: bool) -> Result<()> {
    let config_dir = layout.config("x");
    let folder = config_dir.parent().context("a config path has a folder")?;
    let mut configs: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("node-"))
        })
        .collect();
    configs.sort();
    for config in configs {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["agent", "--cleanup", "--config"])
            .arg(&config);
        if purge {
            command.arg("--purge");
        }
        let output = command.output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("{}: {}", config.display(), text.trim());
        }
    }
    Ok(())
}
