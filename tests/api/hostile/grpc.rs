//! gRPC messages that are too large, too deep or cut.

use anyhow::{Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use kontiki_proto::api::{CreateRequest, ObjectRef};
use prost::Message as _;

use super::Row;
use crate::wire::{Caller, Http2};
use crate::world::World;

pub const ROWS: &[Row] = &[Row::new(
    21,
    "gRPC messages too large, too deep or cut",
    |w| Box::pin(messages(w)),
)];

const CREATE: &str = "/kontiki.api.v1.ObjectService/Create";
const RESOURCE_EXHAUSTED: &str = "8";
const INVALID_ARGUMENT: &str = "3";

/// A message behind its frame, which says this length.
pub fn framed(message: &[u8], length: usize) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap());
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Calls and answers with the status code, wherever it stands, and the body.
pub async fn call(caller: &Caller, path: &str, body: Bytes) -> Result<(String, Bytes)> {
    call_on(caller.http2().await?, caller.clone(), path, body).await
}

/// As `call`, on a connection that is open.
pub async fn call_on(
    mut connection: Http2,
    caller: Caller,
    path: &str,
    body: Bytes,
) -> Result<(String, Bytes)> {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let request = caller.request("POST", path, &headers, body)?;
    connection.ready().await?;
    let (parts, body) = connection.send_request(request).await?.into_parts();
    let body = body.collect().await.ok();
    let trailers = body.as_ref().and_then(|body| body.trailers().cloned());
    let status = |headers: &HeaderMap| Some(headers.get("grpc-status")?.to_str().ok()?.to_owned());
    let code = status(&parts.headers).or_else(|| status(trailers.as_ref()?));
    let body = body.map(http_body_util::Collected::to_bytes);
    Ok((
        code.unwrap_or_else(|| "none".into()),
        body.unwrap_or_default(),
    ))
}

fn create(json: Vec<u8>) -> Vec<u8> {
    let reference = ObjectRef {
        version: "v1".into(),
        resource: "configmaps".into(),
        namespace: "default".into(),
        ..ObjectRef::default()
    };
    let request = CreateRequest {
        r#ref: Some(reference),
        json: json.into(),
        options: None,
    };
    request.encode_to_vec()
}

/// Groups within groups, which a decoder that skips unknown fields would follow all the way down.
fn nested(depth: usize) -> Vec<u8> {
    let (start, end) = ((100_u8 << 3) & 0x7f | 3, (100_u8 << 3) & 0x7f | 4);
    let group = |tag: u8| [tag | 0x80, 6];
    let mut message = group(start).repeat(depth);
    message.extend(group(end).repeat(depth));
    message
}

async fn code_of(world: &World, path: &str, body: Bytes) -> Result<String> {
    Ok(call(world.admin(), path, body).await?.0)
}

async fn messages(world: &World) -> Result<()> {
    let large = create(vec![b' '; 5 << 20]);
    let code = code_of(world, CREATE, framed(&large, large.len())).await?;
    ensure!(code == RESOURCE_EXHAUSTED, "too large: {code}");
    // One that only says so.
    let code = code_of(world, CREATE, framed(b"x", 1 << 30)).await?;
    ensure!(
        code == RESOURCE_EXHAUSTED,
        "too large by its own words: {code}"
    );
    let deep = nested(200);
    let code = code_of(world, CREATE, framed(&deep, deep.len())).await?;
    ensure!(code == INVALID_ARGUMENT, "too deep: {code}");
    let garbage = [0xff; 64];
    let code = code_of(world, CREATE, framed(&garbage, garbage.len())).await?;
    ensure!(code == INVALID_ARGUMENT, "garbage: {code}");
    let json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = create(json.into_bytes());
    let code = code_of(world, CREATE, framed(&deep, deep.len())).await?;
    ensure!(code == INVALID_ARGUMENT, "deep JSON: {code}");
    let cut = create(b"{}".to_vec());
    let code = code_of(world, CREATE, framed(&cut, cut.len() + 10)).await?;
    ensure!(code != "0", "a cut frame is taken");
    let code = code_of(world, CREATE, Bytes::from_static(&[1, 0])).await?;
    ensure!(code != "0", "half a frame is taken");
    let code = code_of(
        world,
        "/kontiki.api.v1.ObjectService/Nothing",
        framed(b"", 0),
    )
    .await?;
    ensure!(code == "12", "an unknown method: {code}");
    Ok(())
}
