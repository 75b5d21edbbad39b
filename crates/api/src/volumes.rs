//! Rules about volumes and claims that controllers, the scheduler, the dispatcher and agents share: what a claim asks
//! for, which volume suits it, from which nodes a volume can be reached.
//!
//! Not here: decisions, and what the API checks of either kind.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::Value;

use crate::podspec::selectors;
use crate::quantity::Quantity;
use crate::scheduling::node_terms_match;

/// Provisioner and driver of the directories that agents keep.
pub const LOCAL_PATH: &str = "local-path.kontiki.io";
/// Attribute of such a volume with the name of its node.
pub const NODE_ATTRIBUTE: &str = "node";
/// Annotation of a claim with the node that the scheduler chose for its first consumer.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A node, as far as volumes care.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// The claims that a pod's volumes name, those of ephemeral volumes too.
pub fn claims_of(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let volumes = spec.and_then(|spec| spec.volumes.as_ref());
    let claim = |volume: &k8s_openapi::api::core::v1::Volume| {
        if let Some(claim) = &volume.persistent_volume_claim {
            return Some(claim.claim_name.clone());
        }
        let ephemeral = volume.ephemeral.as_ref()?.volume_claim_template.as_ref();
        ephemeral.map(|_| format!("{name}-{}", volume.name))
    };
    volumes.into_iter().flatten().filter_map(claim).collect()
}

/// The class that a claim asks for; empty for none.
pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let annotations = claim.metadata.annotations.as_ref();
    let former = annotations.and_then(|it| it.get("volume.beta.kubernetes.io/storage-class"));
    let spec = claim.spec.as_ref();
    former
        .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_ref()))
        .map_or("", String::as_str)
}

/// The volume that a claim names; empty for none.
pub fn volume_of(claim: &PersistentVolumeClaim) -> &str {
    let spec = claim.spec.as_ref();
    spec.and_then(|spec| spec.volume_name.as_deref())
        .unwrap_or("")
}

/// Whether a volume names this claim: the very one, or whichever has its name.
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let spec = volume.spec.as_ref();
    let reference = spec.and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let uid = reference.uid.as_deref().unwrap_or("");
        reference.name == claim.metadata.name
            && reference.namespace == claim.metadata.namespace
            && (uid.is_empty() || claim.metadata.uid.as_deref() == Some(uid))
    })
}

/// The node whose directory a stored volume is; none of other volumes.
pub fn local_node(volume: &Value) -> Option<&str> {
    let source = &volume["spec"]["csi"];
    let ours = source["driver"] == LOCAL_PATH;
    source["volumeAttributes"][NODE_ATTRIBUTE]
        .as_str()
        .filter(|_| ours)
}

/// Bytes that a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let spec = claim.spec.as_ref();
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let storage = requests.and_then(|requests| requests.get("storage"));
    storage.and_then(|it| it.0.parse().ok()).unwrap_or_default()
}

/// Bytes that a volume has.
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    let spec = volume.spec.as_ref();
    let storage = spec.and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    storage.and_then(|it| it.0.parse().ok()).unwrap_or_default()
}

/// Why a volume cannot be bound to a claim.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (Some(has), Some(wants)) = (&volume.spec, &claim.spec) else {
        return Some("it has no spec");
    };
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    let modes = has.access_modes.as_deref().unwrap_or_default();
    let mut wanted = wants.access_modes.iter().flatten();
    if capacity(volume) < requested(claim) {
        Some("requested PV is too small")
    } else if has.storage_class_name.as_deref().unwrap_or("") != class_of(claim) {
        Some("storageClassName does not match")
    } else if mode(&has.volume_mode) != mode(&wants.volume_mode) {
        Some("incompatible volumeMode")
    } else if !wanted.all(|mode| modes.contains(mode)) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// Whether a volume can be reached from a node.
pub fn is_reachable(volume: &PersistentVolume, node: NodeRef<'_>) -> bool {
    let spec = volume.spec.as_ref();
    let affinity = spec.and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    affinity.is_none_or(|required| {
        node_terms_match(&required.node_selector_terms, node.labels, node.name)
    })
}

/// The best of many volumes for a claim, to be used from `node` if that is known: one that is reserved for the claim,
/// or the smallest that is large enough. While a consumer is waited for, only a reserved one counts.
pub fn best<'a>(
    volumes: impl Iterator<Item = &'a PersistentVolume>,
    claim: &PersistentVolumeClaim,
    node: Option<NodeRef<'_>>,
    waits: bool,
) -> Option<&'a PersistentVolume> {
    let selector = claim.spec.as_ref()?.selector.as_ref();
    let mut found: Option<&PersistentVolume> = None;
    for volume in volumes {
        if volume.metadata.deletion_timestamp.is_some() || mismatch(volume, claim).is_some() {
            continue;
        }
        let spec = volume.spec.as_ref();
        if spec.is_some_and(|spec| spec.claim_ref.is_some()) {
            if is_for(volume, claim) {
                return Some(volume);
            }
            continue;
        }
        let status = volume.status.as_ref();
        let available = status.and_then(|status| status.phase.as_deref()) == Some("Available");
        let labels = volume.metadata.labels.as_ref();
        let suits = available
            && !waits
            && selector.is_none_or(|selector| selectors::matches(selector, labels))
            && node.is_none_or(|node| is_reachable(volume, node));
        if suits && found.is_none_or(|best| capacity(volume) < capacity(best)) {
            found = Some(volume);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(name: &str, size: &str, host: Option<&str>) -> PersistentVolume {
        let mut volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "disk"},
            "status": {"phase": "Available"},
        });
        if let Some(host) = host {
            volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "host", "operator": "In", "values": [host]}]},
            ]}});
        }
        serde_json::from_value(volume).unwrap()
    }

    fn claim(size: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "d", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
                "resources": {"requests": {"storage": size}}},
        }))
        .unwrap()
    }

    fn pick(volumes: &[PersistentVolume], host: Option<&str>, waits: bool) -> Option<String> {
        let labels = BTreeMap::from([("host".to_owned(), host.unwrap_or_default().to_owned())]);
        let node = host.map(|name| NodeRef {
            name,
            labels: &labels,
        });
        let found = best(volumes.iter(), &claim("2Gi"), node, waits);
        found.and_then(|volume| volume.metadata.name.clone())
    }

    #[test]
    fn the_smallest_that_suits_and_can_be_reached_is_taken() {
        let volumes = [
            volume("small", "1Gi", None),
            volume("large", "9Gi", None),
            volume("near", "3Gi", Some("n1")),
            volume("far", "2Gi", Some("n2")),
        ];
        assert_eq!(pick(&volumes, None, false).as_deref(), Some("far"));
        assert_eq!(pick(&volumes, Some("n1"), false).as_deref(), Some("near"));
        assert_eq!(pick(&volumes, Some("n3"), false).as_deref(), Some("large"));
        assert_eq!(pick(&volumes, None, true), None, "nobody is reserved");
    }

    #[test]
    fn a_reserved_volume_is_for_its_claim_alone() {
        let mut reserved = volume("reserved", "9Gi", None);
        let spec = reserved.spec.as_mut().unwrap();
        spec.claim_ref = serde_json::from_value(json!({"namespace": "d", "name": "c"})).unwrap();
        let other = volume("other", "2Gi", None);
        let both = [other, reserved.clone()];
        assert_eq!(pick(&both, None, true).as_deref(), Some("reserved"));
        let spec = reserved.spec.as_mut().unwrap();
        spec.claim_ref.as_mut().unwrap().uid = Some("former".into());
        assert_eq!(pick(&[reserved], None, false), None);
    }

    #[test]
    fn what_differs_is_told() {
        let small = volume("v", "1Gi", None);
        assert_eq!(
            mismatch(&small, &claim("2Gi")),
            Some("requested PV is too small")
        );
        let mut other = claim("1Gi");
        other.spec.as_mut().unwrap().storage_class_name = None;
        assert_eq!(
            mismatch(&small, &other),
            Some("storageClassName does not match")
        );
    }
}
