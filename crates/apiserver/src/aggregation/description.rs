//! What aggregated API servers say of their kinds: OpenAPI v3, fetched when its place in the server's index is another than
//! before, since the place names the document's hash.
//!
//! Not here: servers that know OpenAPI v2 only; they stay without a description.

use std::sync::Arc;

use kontiki_base::limits;
use sha2::{Digest as _, Sha256};

use super::{Delegation, Description};
use crate::server::ApiServer;

/// Where the documents are listed, and below which each has to be.
const INDEX: &str = "/openapi/v3";

impl ApiServer {
    /// Keeps what a server says of its version. One that says nothing loses nothing else.
    pub(super) async fn describe(&self, delegation: &Delegation) {
        let path = format!("apis/{}/{}", delegation.group, delegation.version);
        let Ok(index) = self.fetch(delegation, INDEX).await else {
            return;
        };
        let Ok(index) = serde_json::from_slice::<serde_json::Value>(&index) else {
            return;
        };
        let url = index["paths"][&path]["serverRelativeURL"].as_str();
        let Some(url) = url.filter(|url| url.starts_with(INDEX)) else {
            return;
        };
        let described = &self.0.aggregation.described;
        let known = described.read().get(&delegation.name).map(Arc::clone);
        if known.is_some_and(|known| known.url == url) {
            return;
        }
        match self.fetch(delegation, url).await {
            Ok(json) if json.len() <= limits::EXTENSION_DISCOVERY_BYTES => {
                let digest = Sha256::digest(&json);
                let hash = digest.iter().map(|byte| format!("{byte:02X}")).collect();
                let description = Description {
                    group: delegation.group.clone(),
                    version: delegation.version.clone(),
                    json,
                    hash,
                    url: url.to_owned(),
                };
                let mut described = described.write();
                described.insert(delegation.name.clone(), Arc::new(description));
            }
            Ok(_) => {}
            Err(why) => {
                tracing::debug!(apiservice = delegation.name, %why, "no OpenAPI document");
            }
        }
    }
}
