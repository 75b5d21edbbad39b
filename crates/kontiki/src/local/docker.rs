//! Is there a Docker Engine? Asked before anything is started, so that the answer is one clear line.
//!
//! Not the container runtime (`kontiki-runtime`): two questions, asked without a client library.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_BYTES: u64 = 1 << 20;

/// The socket that `DOCKER_HOST` or the default names.
pub fn host() -> String {
    std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| host.starts_with("unix://"))
        .unwrap_or_else(|| "unix:///var/run/docker.sock".into())
}

/// Fails with advice when no Docker Engine answers at `host`.
pub async fn check(host: &str) -> Result<()> {
    let advice = || {
        format!(
            "no Docker Engine answers at {host}: install it (Debian: apt-get install docker.io), start it, \
             or run scripts/up, which does both"
        )
    };
    let answer = get(host, "/_ping").await.with_context(advice)?;
    if !answer.contains("200 OK") {
        bail!(advice());
    }
    Ok(())
}

/// This machine's address on Docker's default bridge: other machines do not route to it, pods of this one reach it.
/// `None` where that bridge is switched off or is in another network namespace (rootless engines).
pub async fn bridge_address(host: &str) -> Option<Ipv4Addr> {
    let answer = get(host, "/networks/bridge").await.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let network: serde_json::Value = serde_json::from_str(body).ok()?;
    let bridge = network["Options"]["com.docker.network.bridge.name"].as_str()?;
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = interfaces
        .filter(|interface| interface.interface_name == bridge)
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses.into_iter().next()
}

/// Head and body of an answer. HTTP/1.0, so that the end of the connection is the end of the body.
async fn get(host: &str, path: &str) -> Result<String> {
    let ask = async {
        let mut stream = UnixStream::connect(host.trim_start_matches("unix://")).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(TIMEOUT, ask).await?
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_missing_engine_is_one_line_of_advice() {
        let error = super::check("unix:///nonexistent.sock").await.unwrap_err();
        assert!(
            error.to_string().contains("apt-get install docker.io"),
            "{error}"
        );
    }
}
