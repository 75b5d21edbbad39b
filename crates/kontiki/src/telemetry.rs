//! Logs: one line an event on stderr, filtered by the config or `KONTIKI_LOG`.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// Starts logging with `filter` unless the environment says otherwise.
pub fn start(filter: &str) -> Result<()> {
    let filter = std::env::var("KONTIKI_LOG").unwrap_or_else(|_| filter.to_owned());
    // openraft warns of each attempt to reach a peer that is down; `kontiki_consensus` tells what changed.
    let filter = format!("{filter},openraft=error,h2=warn,hyper=warn,tower=warn,rustls=error");
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("bad log filter {filter}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init()
        .map_err(|error| anyhow::anyhow!("{error}"))
}
