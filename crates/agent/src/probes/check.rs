//! One check of a probe or one call of a lifecycle hook: a command, an HTTP request, a TCP connection.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Subject;
use crate::node::Node;

/// Bytes of an answer that are looked at.
const ANSWER_BYTES: u64 = 10 * 1024;

/// One check; the error says what was wrong.
pub async fn once(subject: &Subject, probe: &Probe) -> Result<(), String> {
    let Subject {
        node,
        container,
        container_id,
        pod_ip,
        ..
    } = subject;
    if let Some(action) = &probe.exec {
        return exec(node, container_id, action).await;
    }
    if !node.writes_files {
        // Nothing listens on a hollow node.
        return Ok(());
    }
    if let Some(action) = &probe.http_get {
        return http(container, pod_ip, action).await;
    }
    if let Some(action) = &probe.tcp_socket {
        return tcp(container, pod_ip, action).await;
    }
    if let Some(action) = &probe.grpc {
        return connect(pod_ip, action.port as u16).await.map(drop);
    }
    Ok(())
}

/// Runs a lifecycle hook to its end.
pub async fn hook(
    node: &Node,
    container: &Container,
    container_id: &str,
    pod_ip: &str,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        return exec(node, container_id, action).await;
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(std::time::Duration::from_secs(action.seconds.max(0) as u64)).await;
        return Ok(());
    }
    match &handler.http_get {
        Some(action) if node.writes_files => http(container, pod_ip, action).await,
        _ => Ok(()),
    }
}

async fn exec(node: &Node, container_id: &str, action: &ExecAction) -> Result<(), String> {
    let argv = action.command.as_deref().unwrap_or_default();
    match node.runtime.exec(container_id, argv).await {
        Ok(result) if result.code == 0 => Ok(()),
        Ok(result) => Err(result.output.trim_end().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn tcp(container: &Container, ip: &str, action: &TCPSocketAction) -> Result<(), String> {
    let host = action
        .host
        .as_deref()
        .filter(|host| !host.is_empty())
        .unwrap_or(ip);
    connect(host, port(container, &action.port)?)
        .await
        .map(drop)
}

async fn http(container: &Container, ip: &str, action: &HTTPGetAction) -> Result<(), String> {
    let host = action
        .host
        .as_deref()
        .filter(|host| !host.is_empty())
        .unwrap_or(ip);
    let port = port(container, &action.port)?;
    let path = action
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    let secure = action.scheme.as_deref() == Some("HTTPS");
    let scheme = if secure { "https" } else { "http" };
    let connected = connect(host, port).await;
    let mut stream =
        connected.map_err(|error| format!("Get \"{scheme}://{host}:{port}{path}\": {error}"))?;
    if secure {
        return Ok(());
    }
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    let headers = action.http_headers.as_deref().unwrap_or_default();
    let has = |name: &str| {
        headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case(name))
    };
    for (name, value) in [
        ("Host", format!("{host}:{port}")),
        ("User-Agent", "kube-probe/1.35".into()),
        ("Accept", "*/*".into()),
    ] {
        if !has(name) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for header in headers {
        let clean = |text: &str| text.replace(['\r', '\n'], " ");
        request.push_str(&format!(
            "{}: {}\r\n",
            clean(&header.name),
            clean(&header.value)
        ));
    }
    request.push_str("Connection: close\r\n\r\n");
    let failed = |error: std::io::Error| format!("Get \"http://{host}:{port}{path}\": {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let mut limited = stream.take(ANSWER_BYTES);
    // The status line decides; who closes without a proper end has still answered.
    while !answer.contains(&b'\n') && limited.read_buf(&mut answer).await.map_err(failed)? > 0 {}
    let line = String::from_utf8_lossy(&answer);
    let code: u16 = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    match code {
        200..400 => Ok(()),
        0 => Err(format!(
            "Get \"http://{host}:{port}{path}\": malformed HTTP response"
        )),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let connected = TcpStream::connect((host, port)).await;
    connected.map_err(|error| format!("dial tcp {host}:{port}: connect: {}", words(&error)))
}

/// The system's words for an error, as other implementations print them.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "no route to host".into(),
        _ => error.to_string(),
    }
}

/// A port by number, or by the name that the container gives it.
fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            let named = ports.iter().find(|port| port.name.as_ref() == Some(name));
            named
                .map(|port| port.container_port)
                .or_else(|| name.parse().ok())
        }
    };
    let number = number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port > 0);
    number.ok_or_else(|| format!("couldn't find port: {port:?}"))
}
