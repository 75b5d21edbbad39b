//! What a node is to run, and what it needs for that: computed from a snapshot, sent as differences.
//!
//! Level-triggered: whatever was missed, the next look at the snapshot makes good.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kontiki_api::volumes::volume_of;
use kontiki_proto::node::{Assignment, AssignmentChange};
use kontiki_state::{Key, Object, Revision, Snapshot};

use crate::references::{CLAIMS, References};

/// Resource id of volumes.
pub(crate) const VOLUMES: &str = "persistentvolumes";

/// Bytes of one assignment message, well below the message limit.
pub(crate) const MESSAGE_BYTES: usize = kontiki_base::limits::RPC_MESSAGE_BYTES / 2;

/// The pods of a node, what they name, and their namespaces.
pub(crate) fn own(snapshot: &Snapshot, node: &str) -> BTreeMap<Key, Arc<Object>> {
    let mut wanted = BTreeMap::new();
    for pod in snapshot.by_field("pods", "spec.nodeName", node) {
        let namespace = Key::new("namespaces", "", Arc::clone(&pod.key.namespace));
        let named = References::of(&pod);
        for key in named.0.iter().chain([&namespace]) {
            if let Some(object) = snapshot.get(key) {
                wanted.insert(key.clone(), object);
            }
        }
        for volume in volumes(snapshot, &named) {
            if let Some(object) = snapshot.get(&volume) {
                wanted.insert(volume, object);
            }
        }
        wanted.insert(pod.key.clone(), pod);
    }
    // What the node keeps, also without a pod: what is not listed any more is removed there.
    for volume in snapshot.by_field(VOLUMES, "spec.nodeName", node) {
        wanted.insert(volume.key.clone(), volume);
    }
    wanted
}

/// The volumes that the claims among these are bound to.
fn volumes(snapshot: &Snapshot, named: &References) -> Vec<Key> {
    let claims = named.0.iter().filter(|key| &*key.resource == CLAIMS);
    let volume = |key: &Key| {
        let claim = snapshot.get(key)?.typed::<PersistentVolumeClaim>().ok()?;
        let name = volume_of(&claim);
        (!name.is_empty()).then(|| Key::new(VOLUMES, "", name))
    };
    claims.filter_map(volume).collect()
}

/// All that the pods of a node name, there or not: what to wait for.
pub(crate) fn awaited(snapshot: &Snapshot, node: &str) -> std::collections::BTreeSet<Key> {
    let pods = snapshot.by_field("pods", "spec.nodeName", node);
    let named = |pod: &Arc<Object>| {
        let named = References::of(pod);
        let volumes = volumes(snapshot, &named);
        named.0.iter().cloned().chain(volumes).collect::<Vec<_>>()
    };
    pods.iter().flat_map(named).collect()
}

/// What an agent has been sent of its own objects.
#[derive(Default)]
pub(crate) struct Sent(BTreeMap<Key, Revision>);

impl Sent {
    /// Notes `wanted` as sent and returns how it differs from what was: removals first.
    pub(crate) fn difference(
        &mut self,
        wanted: &BTreeMap<Key, Arc<Object>>,
        at: Revision,
    ) -> Vec<AssignmentChange> {
        let gone: Vec<Key> = self
            .0
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .cloned()
            .collect();
        let mut changes: Vec<AssignmentChange> =
            gone.iter().map(|key| removal(key, "", at)).collect();
        self.0.retain(|key, _| wanted.contains_key(key));
        for (key, object) in wanted {
            if self.0.insert(key.clone(), object.revision) != Some(object.revision) {
                changes.push(change(object, object.lean_json()));
            }
        }
        changes
    }

    /// Forgets everything: the next difference is complete.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// An object as agents get it.
pub(crate) fn change(object: &Object, object_json: Bytes) -> AssignmentChange {
    let mut change = removal(&object.key, &object.header.uid, object.revision);
    change.object_json = object_json;
    change
}

/// The end of an object, as far as the node is concerned.
pub(crate) fn removal(key: &Key, uid: &str, revision: Revision) -> AssignmentChange {
    AssignmentChange {
        resource: key.resource.to_string(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: uid.to_owned(),
        revision,
        object_json: Bytes::new(),
    }
}

/// Messages of bounded size. Only the first of a complete assignment says so; the rest build on it.
pub(crate) fn messages(
    changes: Vec<AssignmentChange>,
    complete: bool,
    sequence: &mut u64,
) -> Vec<Assignment> {
    let mut out = Vec::new();
    let mut open = Assignment {
        complete,
        ..Assignment::default()
    };
    let mut size_bytes = 0;
    for change in changes {
        let change_bytes = change.object_json.len() + change.name.len() + 256;
        if size_bytes + change_bytes > MESSAGE_BYTES && !open.changes.is_empty() {
            out.push(std::mem::take(&mut open));
            size_bytes = 0;
        }
        size_bytes += change_bytes;
        open.changes.push(change);
    }
    if open.complete || !open.changes.is_empty() {
        out.push(open);
    }
    for assignment in &mut out {
        *sequence += 1;
        assignment.sequence = *sequence;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_assignments_are_split_and_numbered() {
        let key = Key::new("services", "default", "web");
        let mut big = removal(&key, "u", 1);
        big.object_json = Bytes::from(vec![b' '; MESSAGE_BYTES / 2]);
        let mut sequence = 4;
        let sent = messages(vec![big; 3], true, &mut sequence);
        let shape: Vec<_> = sent
            .iter()
            .map(|a| (a.sequence, a.complete, a.changes.len()))
            .collect();
        assert_eq!(shape, [(5, true, 1), (6, false, 1), (7, false, 1)]);
        assert_eq!(
            messages(vec![], true, &mut sequence).len(),
            1,
            "an empty node is told so"
        );
        assert!(messages(vec![], false, &mut sequence).is_empty());
    }
}
