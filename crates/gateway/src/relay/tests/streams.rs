//! Upgraded connections through a gateway: bytes in both directions, each of which may end before the other.

use axum::routing::any;
use http::header::{CONNECTION, UPGRADE};
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Answers an upgrade with a stream that says what it read once its client has ended.
async fn echo(mut request: Request) -> Response {
    let asked = request.headers().get(UPGRADE).cloned();
    let Some(asked) = asked.filter(|it| *it == "SPDY/3.1") else {
        return respond::text(StatusCode::BAD_REQUEST, "no upgrade");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    spawn(TaskKind::Request, async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        io.write_all(b"welcome ").await.unwrap();
        let mut read = Vec::new();
        io.read_to_end(&mut read).await.unwrap();
        io.write_all(&read).await.unwrap();
        io.shutdown().await.unwrap();
    });
    let mut response = respond::text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(UPGRADE, asked);
    headers.insert(CONNECTION, "Upgrade".parse().unwrap());
    response
}

#[tokio::test]
async fn an_upgraded_stream_carries_bytes_and_half_closes() {
    let rest = Router::new().fallback(any(echo));
    let gateway = Gateway::over(Local::over(testing::server().await, rest));
    let (client, server) = tokio::io::duplex(1024);
    let router = gateway.router.clone();
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    spawn(TaskKind::Connection, async move {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), service);
        let _ = connection.with_upgrades().await;
    });
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .unwrap();
    spawn(TaskKind::Connection, async move {
        let _ = connection.with_upgrades().await;
    });
    let request = http::Request::post("/api/v1/namespaces/default/pods/a/exec")
        .header(UPGRADE, "SPDY/3.1")
        .header(CONNECTION, "Upgrade")
        .body(axum::body::Body::empty())
        .unwrap();
    let mut answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(answer.headers()[UPGRADE], "SPDY/3.1");
    assert_eq!(answer.headers()[CONNECTION], "Upgrade");
    let mut io = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    let mut welcome = [0; 8];
    io.read_exact(&mut welcome).await.unwrap();
    assert_eq!(&welcome, b"welcome ");
    let sent = vec![b'x'; 100_000];
    let (mut reader, mut writer) = tokio::io::split(io);
    writer.write_all(&sent).await.unwrap();
    writer.shutdown().await.unwrap();
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == sent, "{} of {} bytes", read.len(), sent.len());
}
