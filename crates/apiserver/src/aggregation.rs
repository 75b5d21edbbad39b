//! API aggregation: versions of groups that another server serves, behind a Service, under this server's URL.
//!
//! An APIService with a Service says so. Requests for its version are passed on in the user's name (`delegation`); whether
//! it answers is looked at every now and then, by each replica for its own discovery and by the leader for the
//! condition `Available` (`availability`). One that is dead takes nothing down but itself.
//!
//! Deliberately absent: HTTP towards the client (gateway); what the other server does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::kinds::api_service::{RESOURCE, available};
use kontiki_state::Snapshot;
use parking_lot::RwLock;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::outbound::{Destination, Identity, Peer, Trust};
use crate::server::ApiServer;

mod authorize;
mod availability;
mod description;
#[cfg(test)]
mod tests;

pub use authorize::RequestInfo;

/// An APIService whose version another server serves.
#[derive(Debug, Clone)]
pub struct Delegation {
    /// Name of the APIService.
    pub name: String,
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// Order among groups: the higher the earlier.
    pub group_priority: i64,
    /// Order among versions of the group.
    pub version_priority: i64,
    /// Whether it answered when it was last looked at.
    pub is_available: bool,
    destination: Destination,
    trust: Trust,
}

/// The typed value of an APIService: none of a local one.
struct Read(Option<Delegation>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let spec = &object["spec"];
        if spec["service"].is_null() {
            return Ok(Self(None));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let trust = if spec["insecureSkipTLSVerify"] == true {
            Trust::Anyone
        } else {
            Trust::of_bundle(&spec["caBundle"])
        };
        Ok(Self(Some(Delegation {
            name: text(&object["metadata"]["name"]),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or_default(),
            version_priority: spec["versionPriority"].as_i64().unwrap_or_default(),
            is_available: available(&object).is_some_and(|found| found["status"] == "True"),
            destination: Destination::of_service(&spec["service"]),
            trust,
        })))
    }
}

/// What the replica shows to aggregated API servers, and what it knows of them.
#[derive(Default)]
pub struct Aggregation {
    identity: RwLock<Option<Arc<Identity>>>,
    /// Resource lists by the name of the APIService, as they were last sent.
    discovered: RwLock<BTreeMap<String, Arc<Value>>>,
    /// OpenAPI documents, likewise.
    described: RwLock<BTreeMap<String, Arc<Description>>>,
}

/// The OpenAPI v3 document of a version that another server serves.
#[derive(Debug)]
pub struct Description {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The document, JSON.
    pub json: Bytes,
    /// Hash of the document.
    pub hash: String,
    /// Where the server told that it is: another place is another document.
    url: String,
}

impl Aggregation {
    /// Sets the certificate by which aggregated API servers believe what this server says of users.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.write() = Some(Arc::new(identity));
    }
}

impl ApiServer {
    /// The certificate and the memory of aggregation.
    pub fn aggregation(&self) -> &Aggregation {
        &self.0.aggregation
    }

    /// Who else serves that version of that group, if anybody does.
    pub fn delegation(&self, group: &str, version: &str) -> Option<Delegation> {
        let name = format!("{version}.{group}");
        let object = self.store().snapshot().find(RESOURCE, "", &name)?;
        let read = object.typed::<Read>().ok()?;
        read.0.clone()
    }

    /// All of them, in the order of discovery.
    pub fn delegations(&self) -> Vec<Delegation> {
        delegations(&self.store().snapshot())
    }

    /// How to reach one.
    pub fn peer_of(&self, delegation: &Delegation) -> Peer {
        Peer {
            destination: delegation.destination.clone(),
            trust: delegation.trust.clone(),
            identity: self.0.aggregation.identity.read().clone(),
        }
    }

    /// The documents of versions that only other servers serve, as they last told them.
    pub fn descriptions(&self) -> Vec<Arc<Description>> {
        let own = self.kinds();
        let described = self.0.aggregation.described.read();
        let others = described.values();
        others
            .filter(|it| !own.has_version(&it.group, &it.version))
            .cloned()
            .collect()
    }

    /// The resources that one serves, as it last told.
    pub fn discovered(&self, delegation: &Delegation) -> Option<Arc<Value>> {
        self.0
            .aggregation
            .discovered
            .read()
            .get(&delegation.name)
            .cloned()
    }
}

fn delegations(snapshot: &Snapshot) -> Vec<Delegation> {
    let objects = snapshot.list(RESOURCE, None, None);
    let mut found: Vec<Delegation> = objects
        .filter_map(|object| object.typed::<Read>().ok()?.0.clone())
        .collect();
    found.sort_by_key(|it| {
        let priorities = (it.group_priority, it.version_priority);
        (-priorities.0, it.group.clone(), -priorities.1)
    });
    found
}
