//! The objects that this node was assigned, as of the last assignment.
//!
//! Kept in memory only: secrets do not touch the disk here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kontiki_proto::node::AssignmentChange;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

/// Resource ids as assignments spell them.
pub mod resource {
    /// Pods bound to this node.
    pub const PODS: &str = "pods";
    /// ConfigMaps that they use.
    pub const CONFIG_MAPS: &str = "configmaps";
    /// Secrets that they use.
    pub const SECRETS: &str = "secrets";
    /// Claims that they use.
    pub const CLAIMS: &str = "persistentvolumeclaims";
    /// The volumes of those, and all that this node keeps.
    pub const VOLUMES: &str = "persistentvolumes";
    /// Services.
    pub const SERVICES: &str = "services";
    /// Who serves.
    pub const ENDPOINT_SLICES: &str = "endpointslices.discovery.k8s.io";
    /// This node and its peers.
    pub const NODES: &str = "nodes";
}

type Key = (String, String, String);

/// Objects by resource, namespace and name.
#[derive(Default)]
pub struct Mirror {
    objects: Mutex<BTreeMap<Key, Stored>>,
    /// Volumes that were told to be gone, until someone looks.
    gone: Mutex<Vec<Bytes>>,
}

#[derive(Clone)]
struct Stored {
    uid: String,
    json: Bytes,
    /// Parsed once, for pods only.
    pod: Option<Arc<Pod>>,
}

/// Which parts of the node an assignment touches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    /// Pods.
    pub pods: bool,
    /// ConfigMaps, secrets, or claims and their volumes.
    pub config: bool,
    /// Services or endpoints.
    pub services: bool,
    /// Nodes.
    pub nodes: bool,
    /// Volumes.
    pub volumes: bool,
}

impl Mirror {
    /// Takes an assignment in; a complete one replaces everything.
    pub fn apply(&self, complete: bool, changes: Vec<AssignmentChange>) -> Touched {
        let mut touched = Touched::default();
        let mut objects = self.objects.lock();
        if complete {
            objects.clear();
            touched = Touched {
                pods: true,
                config: true,
                services: true,
                nodes: true,
                volumes: true,
            };
        }
        for change in changes {
            match change.resource.as_str() {
                resource::PODS => touched.pods = true,
                resource::CONFIG_MAPS | resource::SECRETS | resource::CLAIMS => {
                    touched.config = true;
                }
                resource::VOLUMES => (touched.volumes, touched.config) = (true, true),
                resource::SERVICES | resource::ENDPOINT_SLICES => touched.services = true,
                resource::NODES => touched.nodes = true,
                _ => {}
            }
            let is_pod = change.resource == resource::PODS;
            let key = (change.resource, change.namespace, change.name);
            if change.object_json.is_empty() {
                // A removal names the object that it means: its successor may be here already.
                if objects
                    .get(&key)
                    .is_some_and(|stored| change.uid.is_empty() || stored.uid == change.uid)
                    && let Some(stored) = objects.remove(&key)
                    && key.0 == resource::VOLUMES
                {
                    self.gone.lock().push(stored.json);
                }
                continue;
            }
            let pod = if is_pod {
                parse_pod(&change.object_json)
            } else {
                None
            };
            let stored = Stored {
                uid: change.uid,
                json: change.object_json,
                pod,
            };
            objects.insert(key, stored);
        }
        touched
    }

    /// All pods by uid.
    pub fn pods(&self) -> BTreeMap<String, Arc<Pod>> {
        let objects = self.objects.lock();
        let pods = in_resource(&objects, resource::PODS).filter_map(|(_, stored)| {
            let pod = stored.pod.clone()?;
            Some((pod.metadata.uid.clone()?, pod))
        });
        pods.collect()
    }

    /// Volumes that were told to be gone since this was asked last.
    pub fn take_gone(&self) -> Vec<PersistentVolume> {
        let texts = std::mem::take(&mut *self.gone.lock());
        texts.iter().filter_map(parse).collect()
    }

    /// One object, parsed.
    pub fn get<T: DeserializeOwned>(&self, resource: &str, ns: &str, name: &str) -> Option<T> {
        let key = (resource.to_owned(), ns.to_owned(), name.to_owned());
        let json = self.objects.lock().get(&key)?.json.clone();
        parse(&json)
    }

    /// All objects of a resource, parsed.
    pub fn list<T: DeserializeOwned>(&self, resource: &str) -> Vec<T> {
        let texts: Vec<Bytes> = in_resource(&self.objects.lock(), resource)
            .map(|(_, stored)| stored.json.clone())
            .collect();
        texts.iter().filter_map(|json| parse(json)).collect()
    }
}

fn in_resource<'a>(
    objects: &'a BTreeMap<Key, Stored>,
    resource: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
    let first = (resource.to_owned(), String::new(), String::new());
    objects
        .range(first..)
        .take_while(move |(key, _)| key.0 == resource)
}

fn parse_pod(json: &Bytes) -> Option<Arc<Pod>> {
    parse(json).map(Arc::new)
}

fn parse<T: DeserializeOwned>(json: &Bytes) -> Option<T> {
    match serde_json::from_slice(json) {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::error!(%error, "an assigned object is not what its kind says");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, uid: &str, present: bool) -> AssignmentChange {
        let json = format!(r#"{{"metadata":{{"name":"{name}","namespace":"d","uid":"{uid}"}}}}"#);
        AssignmentChange {
            resource: resource::PODS.into(),
            namespace: "d".into(),
            name: name.into(),
            uid: uid.into(),
            revision: 1,
            object_json: if present { json.into() } else { Bytes::new() },
        }
    }

    fn uids(mirror: &Mirror) -> Vec<String> {
        mirror.pods().into_keys().collect()
    }

    #[test]
    fn a_volume_is_gone_when_that_is_said_and_not_when_it_is_not_said_yet() {
        let volume = |present| AssignmentChange {
            resource: resource::VOLUMES.into(),
            namespace: String::new(),
            ..change("v", "1", present)
        };
        let mirror = Mirror::default();
        mirror.apply(true, vec![volume(true)]);
        mirror.apply(true, Vec::new());
        assert!(mirror.take_gone().is_empty(), "the rest may follow");
        mirror.apply(false, vec![volume(true)]);
        mirror.apply(false, vec![volume(false)]);
        assert_eq!(mirror.take_gone().len(), 1);
        assert!(mirror.take_gone().is_empty());
    }

    #[test]
    fn complete_assignments_replace_and_late_removals_spare_the_successor() {
        let mirror = Mirror::default();
        mirror.apply(true, vec![change("a", "1", true), change("b", "2", true)]);
        assert_eq!(uids(&mirror), ["1", "2"]);
        mirror.apply(false, vec![change("a", "3", true)]);
        mirror.apply(
            false,
            vec![change("a", "1", false), change("b", "2", false)],
        );
        assert_eq!(uids(&mirror), ["3"]);
        let touched = mirror.apply(true, Vec::new());
        assert!(touched.services && uids(&mirror).is_empty());
    }
}
