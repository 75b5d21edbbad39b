//! Is there a Docker Engine? Asked before anything is started, so that the answer is one clear line.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const TIMEOUT: Duration = Duration::from_secs(5);

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
    let path = host.trim_start_matches("unix://");
    let answer = tokio::time::timeout(TIMEOUT, ping(path)).await;
    let answer = answer.with_context(advice)?.with_context(advice)?;
    if !answer.contains("200 OK") {
        bail!(advice());
    }
    Ok(())
}

async fn ping(path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream
        .write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        .await?;
    let mut answer = vec![0; 512];
    let n = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
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
