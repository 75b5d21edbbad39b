//! `kontiki images`: loads the sample's images into the local Docker Engine, without a registry.

use anyhow::{Context, Result};
use kontiki_runtime::Runtime as _;
use kontiki_runtime::docker::Docker;
use kontiki_runtime::images::{SAMPLE_REPOSITORY, build_sample};

use crate::local::docker;

const VERSIONS: [&str; 2] = ["v1", "v2"];

/// Load the sample's images into the local Docker Engine.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Loads both versions.
pub async fn run(_args: Args) -> Result<()> {
    let host = docker::host();
    docker::check(&host).await?;
    let engine = Docker::new(host.trim_start_matches("unix://"));
    for version in VERSIONS {
        let reference = format!("{SAMPLE_REPOSITORY}:{version}");
        engine
            .load(build_sample(version))
            .await
            .with_context(|| format!("{reference} cannot be loaded"))?;
        println!("{reference}");
    }
    Ok(())
}
