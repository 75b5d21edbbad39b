//! What the disk allows: appends of 4 KiB, each synced, by one writer.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

const APPEND_BYTES: usize = 4096;
const MEASURE: Duration = Duration::from_secs(1);

/// Synced appends a second in `folder`.
pub async fn syncs_per_s(folder: &Path) -> Result<f64> {
    let path = folder.join(format!(".kontiki-bench-{}", std::process::id()));
    tokio::task::spawn_blocking(move || {
        let measured = measure(&path);
        let _ = fs::remove_file(&path);
        measured.with_context(|| format!("cannot measure the disk of {}", path.display()))
    })
    .await?
}

fn measure(path: &Path) -> std::io::Result<f64> {
    let mut file = fs::File::create(path)?;
    let block = [7u8; APPEND_BYTES];
    let started = tokio::time::Instant::now();
    let mut n_syncs = 0;
    while started.elapsed() < MEASURE {
        file.write_all(&block)?;
        file.sync_data()?;
        n_syncs += 1;
    }
    Ok(f64::from(n_syncs) / started.elapsed().as_secs_f64())
}
