//! `kontiki bench`: measurements, each one file below `bench/` and one line in its list.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::bench::{BENCHES, Load};
use crate::https::Client;
use crate::local::layout::Layout;
use crate::{kubeconfig, output};

/// Measure a cluster; works against any Kubernetes API server.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(BENCHES.iter().map(|b| b.name)))]
    name: String,
    /// Which cluster [default: $KUBECONFIG or ~/.kontiki/kubeconfig]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Connections; watchers of watch [default: 64; watch: 5000]
    #[arg(long)]
    connections: Option<usize>,
    /// Operations in all; pods of list and memory [default: 20000; list and memory: 100000; kills of failover: 20]
    #[arg(long)]
    count: Option<usize>,
    /// Namespace to work in; made when missing, its objects are removed at the end
    #[arg(long, default_value = "kontiki-bench")]
    namespace: String,
    /// A folder on the disk whose sync rate is printed beside the result
    #[arg(long)]
    disk: Option<PathBuf>,
    /// A cluster of `kontiki up` on this machine: its processor time is printed too, and failover kills its leaders
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs one measurement and prints its figures.
pub async fn run(args: Args) -> Result<()> {
    let bench = BENCHES
        .iter()
        .find(|bench| bench.name == args.name)
        .context("no such bench")?;
    let local = args.data_dir.as_deref().map(Layout::new);
    let kubeconfig = args
        .kubeconfig
        .or_else(|| local.as_ref().map(Layout::kubeconfig));
    let path = kubeconfig::locate(kubeconfig.as_deref());
    let load = Load {
        client: Client::new(kubeconfig::read(&path)?)?,
        connections: args.connections.unwrap_or(bench.default_connections).max(1),
        count: args.count.unwrap_or(bench.default_count).max(1),
        namespace: args.namespace,
        disk: args
            .disk
            .or(args.data_dir)
            .unwrap_or_else(std::env::temp_dir),
        local,
    };
    let report = (bench.run)(load).await?;
    if args.json {
        output::json(&report.to_json());
    } else {
        report.print();
    }
    Ok(())
}
