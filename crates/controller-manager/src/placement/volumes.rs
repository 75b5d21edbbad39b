//! Claims that wait for their first consumer are told its node before the pod is bound.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kontiki_api::Kinds;
use kontiki_api::volumes::{SELECTED_NODE, claims_of};
use kontiki_controllers::Write;
use kontiki_controllers::commit::{Stamp, commit};
use kontiki_state::{Object, Op, Snapshot};
use serde_json::json;

use super::FIELD_MANAGER;

/// Annotation of a claim that is bound for good.
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// What is still to be told to a pod's claims; none when all are bound.
pub(super) fn tell_claims(
    snapshot: &Snapshot,
    pod: &Object,
    node: &str,
    now_ms: u64,
) -> Option<Vec<Op>> {
    let typed = pod.typed::<Pod>().ok()?;
    let (mut waits, mut writes) = (false, Vec::new());
    for name in claims_of(&typed) {
        let claim = snapshot.find("persistentvolumeclaims", &pod.key.namespace, &name);
        // The scheduler has judged by what it knew; who is gone since is waited for.
        let Some(claim) = claim else {
            waits = true;
            continue;
        };
        let Ok(known) = claim.typed::<PersistentVolumeClaim>() else {
            continue;
        };
        let annotation = |name: &str| known.metadata.annotations.as_ref()?.get(name);
        if annotation(COMPLETED).is_some() {
            continue;
        }
        waits = true;
        if annotation(SELECTED_NODE).is_some_and(|told| told == node) {
            continue;
        }
        let mut object = claim.value();
        object["metadata"]["annotations"][SELECTED_NODE] = json!(node);
        writes.push(Write::Update {
            key: claim.key.clone(),
            revision: claim.revision,
            object,
            status_only: false,
        });
    }
    let mut stamp = Stamp {
        now_ms,
        bits: &mut || 0,
    };
    let kinds = Kinds::built_in();
    waits.then(|| commit(&kinds, snapshot, writes, FIELD_MANAGER, &mut stamp).ops)
}
