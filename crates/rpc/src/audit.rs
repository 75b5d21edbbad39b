//! The audit log's view of a call: what is known of it before its handler tells what it is about.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use kontiki_apiserver::User;
use kontiki_apiserver::audit::{About, Auditor, Received, Trail, source_ips};
use kontiki_base::random::{Random as _, SystemRandom};
use kontiki_base::status::Status;
use tonic::Request;
use tonic::metadata::MetadataMap;

/// Longest id of a request that is taken from its sender.
const MAX_ID_LENGTH: usize = 64;

/// A call as it came.
pub fn received<T>(method: &str, request: &Request<T>, user: Option<User>) -> Received {
    let text = |name: &str| {
        let value = request.metadata().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let sent = text("audit-id").filter(|id| !id.is_empty() && id.len() <= MAX_ID_LENGTH);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    Received {
        audit_id: sent.map_or_else(new_id, str::to_owned),
        uri: method.to_owned(),
        user,
        source_ips: source_ips(
            text("x-forwarded-for"),
            text("x-real-ip"),
            peer.map(|peer| peer.0.ip()),
        ),
        user_agent: text("user-agent").unwrap_or_default().to_owned(),
    }
}

/// Tells the id under which a call is recorded, as REST's header of that name does.
pub fn tell_id(trail: &Trail, metadata: &mut MetadataMap) {
    if let Some(id) = trail.id().and_then(|id| id.parse().ok()) {
        metadata.insert("audit-id", id);
    }
}

/// Records a call of nobody that we know.
pub fn refused<T>(auditor: &Auditor, method: &str, request: &Request<T>, status: &Status) {
    let has_token = request.metadata().contains_key("authorization");
    let why = if has_token {
        "Authentication failed, attempted: bearer"
    } else {
        "Authentication failed, no credentials provided"
    };
    let about = || About {
        verb: "post".into(),
        target: None,
    };
    let trail = auditor.begin_unknown(received(method, request, None));
    trail.refused(about, status, why);
}

fn new_id() -> String {
    let bits = (u128::from(SystemRandom.bits()) << 64) | u128::from(SystemRandom.bits());
    uuid::Builder::from_random_bytes(bits.to_be_bytes())
        .into_uuid()
        .to_string()
}
