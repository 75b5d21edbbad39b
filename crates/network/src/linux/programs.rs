//! The programs and files that take orders for the kernel: `nft`, `iptables`, `/proc/sys`. Never a shell.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::kernel;
use crate::{Error, Result};

/// Runs one `nft` transaction.
pub async fn nft(text: &str) -> Result<()> {
    let failed = |why: String| Error::Program {
        program: "nft",
        why,
    };
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("{error}; install the package nftables")))?;
    if let Some(mut stdin) = child.stdin.take() {
        let written = stdin.write_all(text.as_bytes()).await;
        written.map_err(|error| failed(error.to_string()))?;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(failed(
        complaint.lines().take(3).collect::<Vec<_>>().join(" "),
    ))
}

/// Runs `iptables`; whether it succeeded.
pub async fn iptables(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("iptables")
        .arg("-w")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    match status {
        Ok(status) => Ok(status.success()),
        Err(error) => Err(Error::Program {
            program: "iptables",
            why: error.to_string(),
        }),
    }
}

/// Sets a kernel setting, unless it is so already (then a read-only `/proc/sys` does no harm).
pub fn set_sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(|error| kernel(format!("set {name}={value}"), &error))
}
