//! What is known of nodes in memory only, put into answers: heartbeat times, and the Lease that a kubelet would renew.
//!
//! Lists and watches show what is stored. A replica that has not heard a node itself tells no time; the leader hears of
//! all.

use std::sync::Arc;

use kontiki_api::{stored, time};
use kontiki_state::{Header, Key, Object};
use serde_json::{Value, json};

use crate::options::Target;
use crate::server::ApiServer;

const LEASES: &str = "leases.coordination.k8s.io";
const NAMESPACE: &str = "kube-node-lease";
/// What a kubelet puts down.
const LEASE_SECONDS: u32 = 40;

impl ApiServer {
    /// The Lease of a node that renews none itself.
    pub(crate) fn node_lease(&self, target: &Target) -> Option<Arc<Object>> {
        if &**target.kind.resource() != LEASES || target.namespace != NAMESPACE {
            return None;
        }
        let node = self.store().snapshot().find("nodes", "", &target.name)?;
        let mut spec =
            json!({"holderIdentity": target.name, "leaseDurationSeconds": LEASE_SECONDS});
        if let Some(heard_ms) = self.heard_ms(&target.name) {
            spec["renewTime"] = time::rfc3339_micro(heard_ms).into();
        }
        let value = json!({
            "apiVersion": target.kind.api_version(),
            "kind": target.kind.kind(),
            "metadata": {
                "name": target.name,
                "namespace": NAMESPACE,
                "uid": &*node.header.uid,
                "creationTimestamp": node.value()["metadata"]["creationTimestamp"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": target.name,
                    "uid": &*node.header.uid}],
            },
            "spec": spec,
        });
        let key = Key::new(LEASES, NAMESPACE, target.name.as_str());
        let header = Header {
            uid: Arc::clone(&node.header.uid),
            ..Header::default()
        };
        Some(rendered(&node, key, header, value))
    }

    /// A node with when it was last heard of; everything else as it is stored.
    pub(crate) fn with_heartbeat(&self, object: Arc<Object>) -> Arc<Object> {
        if &*object.key.resource != "nodes" {
            return object;
        }
        let Some(heard_ms) = self.heard_ms(&object.key.name) else {
            return object;
        };
        let mut value = object.value();
        let conditions = value.pointer_mut("/status/conditions");
        let Some(conditions) = conditions.and_then(Value::as_array_mut) else {
            return object;
        };
        for condition in conditions {
            let stored_ms = condition["lastHeartbeatTime"]
                .as_str()
                .and_then(time::parse);
            if stored_ms.is_some_and(|stored_ms| stored_ms < heard_ms) {
                condition["lastHeartbeatTime"] = time::rfc3339(heard_ms).into();
            }
        }
        rendered(&object, object.key.clone(), object.header.clone(), value)
    }

    fn heard_ms(&self, node: &str) -> Option<u64> {
        self.options().liveness.last_heartbeat_unix_ms(node)
    }
}

fn rendered(of: &Object, key: Key, header: Header, value: Value) -> Arc<Object> {
    let bytes = stored::canonical(value);
    Arc::new(Object::new(key, of.revision, of.created, header, bytes))
}
