//! The continue token of lists: opaque to clients, checked when it comes back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kontiki_base::status::Status;
use kontiki_state::Revision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::options::Target;

const CHECKSUM_BYTES: usize = 8;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageToken {
    /// Revision of the list; none after a 410: whatever is newest.
    #[serde(rename = "rv", skip_serializing_if = "Option::is_none", default)]
    pub(crate) revision: Option<Revision>,
    /// Namespace of the last object that was sent.
    #[serde(rename = "ns", default)]
    pub(crate) namespace: String,
    /// Its name.
    #[serde(rename = "n")]
    pub(crate) name: String,
    /// Objects that were left then.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none", default)]
    pub(crate) left: Option<u64>,
}

impl PageToken {
    pub(crate) fn encode(&self, target: &Target) -> String {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = checksum(&body, target).to_vec();
        bytes.extend_from_slice(&body);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Refuses tokens of other lists: the checksum covers resource and namespace.
    pub(crate) fn decode(text: &str, target: &Target) -> Result<Self, Status> {
        let wrong = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| wrong("not base64"))?;
        let (sum, body) = bytes
            .split_at_checked(CHECKSUM_BYTES)
            .ok_or_else(|| wrong("too short"))?;
        if sum != checksum(body, target) {
            return Err(wrong("it is not of this list"));
        }
        serde_json::from_slice(body).map_err(|_| wrong("malformed"))
    }
}

fn checksum(body: &[u8], target: &Target) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    for part in [
        target.kind.resource().as_bytes(),
        target.namespace.as_bytes(),
        body,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hash.finalize()[..CHECKSUM_BYTES]);
    sum
}
