//! What is passed on to another server belongs to two connections: which headers stay behind, and how two upgraded
//! connections become one stream.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kontiki_base::task::{TaskKind, spawn};
use tokio::io::AsyncWriteExt as _;

use crate::streams::Io;

/// Headers that concern one connection.
const HOP_BY_HOP: &[HeaderName] = &[CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// What the names of others begin with.
const HOP_BY_HOP_PREFIXES: [&str; 2] = ["proxy-", "keep-alive"];

/// Removes the headers of one connection.
pub fn strip(headers: &mut HeaderMap) {
    let is_stripped = |name: &&HeaderName| {
        let is_prefixed = |prefix| name.as_str().starts_with(prefix);
        HOP_BY_HOP.contains(name) || HOP_BY_HOP_PREFIXES.into_iter().any(is_prefixed)
    };
    let stripped: Vec<HeaderName> = headers.keys().filter(is_stripped).cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
}

/// The same, but for the wish to upgrade, which is passed on.
pub fn strip_but_upgrade(headers: &mut HeaderMap) {
    let upgrade = headers.get(UPGRADE).cloned();
    strip(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

/// Carries bytes between a client and a server once both connections are upgraded.
pub fn join(client: Option<OnUpgrade>, server: OnUpgrade) {
    let Some(client) = client else {
        return;
    };
    spawn(TaskKind::Request, async move {
        if let (Ok(client), Ok(server)) = (client.await, server.await) {
            let (mut client, already) = Io::new(client);
            let mut server = TokioIo::new(server);
            if server.write_all(&already).await.is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        }
    });
}
