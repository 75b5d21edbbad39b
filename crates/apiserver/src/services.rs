//! ClusterIPs and NodePorts of Services.
//!
//! An address is taken by creating its claim object in the transaction that writes the Service, and given back in
//! the one that no longer needs it: there is no allocator to repair. Claims are never served to clients.

mod claims;
mod fields;

pub(crate) use claims::Claims;

use kontiki_api::Kind;
use kontiki_base::status::Status;
use kontiki_state::Op;
use serde_json::Value;

use crate::server::ApiServer;
use claims::Pool;
use fields::Needs;

/// Fills in the addresses that a Service needs, and says which claims that takes and gives back.
pub(crate) fn allocate(
    server: &ApiServer,
    kind: &Kind,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<Claims, Status> {
    if !is_service(kind) || !new["spec"].is_object() {
        return Ok(Claims::default());
    }
    if let Some(old) = old {
        fields::carry_over(new, old);
    }
    let before = old.map(Needs::of).unwrap_or_default();
    let mut pool = Pool::new(server, kind, new);
    fields::fill(new, &before, &mut pool)?;
    let after = Needs::of(new);
    Ok(pool.into_claims(&before, &after))
}

/// Gives back all that a Service had claimed.
pub(crate) fn release_all(server: &ApiServer, kind: &Kind, old: &Value) -> Vec<Op> {
    if !is_service(kind) {
        return Vec::new();
    }
    let pool = Pool::new(server, kind, old);
    pool.into_claims(&Needs::of(old), &Needs::default()).ops
}

/// Whether objects of a kind need addresses.
pub(crate) fn is_service(kind: &Kind) -> bool {
    kind.kind() == "Service" && kind.group().is_empty()
}
