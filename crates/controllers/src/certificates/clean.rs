//! When a request is over (upstream `pkg/controller/certificates/cleaner`).

use kontiki_api::kinds::certificate_signing_request::pem;

use super::{Request, certificate, condition_ms, is_issued};
use crate::view::ms_of;

const HOUR_MS: u64 = 3_600_000;
/// After it was approved, issued or not.
const APPROVED_MS: u64 = HOUR_MS;
/// After it was denied, or the signer could not.
const DENIED_MS: u64 = HOUR_MS;
/// After it was made, while nobody said anything about it.
const PENDING_MS: u64 = 24 * HOUR_MS;

/// When the request is to be removed, in Unix milliseconds.
pub(super) fn due_ms(request: &Request) -> Option<u64> {
    let since = |kind: &str, ms: u64| condition_ms(request, kind).map(|at_ms| at_ms + ms);
    let conditions = request.status.as_ref();
    let conditions = conditions.and_then(|status| status.conditions.as_deref());
    let pending = match conditions {
        None | Some([]) => request.metadata.creation_timestamp.as_ref().map(ms_of),
        Some(_) => None,
    };
    // A short-lived certificate ends before its request would.
    let end_s = certificate(request).and_then(pem::expiration_s);
    let end_ms = end_s.map(|end_s| u64::try_from(end_s).unwrap_or(0).saturating_mul(1000));
    [
        since("Approved", APPROVED_MS),
        since("Denied", DENIED_MS),
        since("Failed", DENIED_MS),
        pending.map(|at_ms| at_ms + PENDING_MS),
        end_ms.filter(|_| is_issued(request)),
    ]
    .into_iter()
    .flatten()
    .min()
}
