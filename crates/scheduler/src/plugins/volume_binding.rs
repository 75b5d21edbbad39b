//! Nodes from which a pod's volumes can be reached, or where volumes that wait for the pod can be had.

use std::borrow::Cow;

use kontiki_api::volumes::{NodeRef, best, is_reachable};

use crate::framework::{Cycle, Plugin, Rejection};
use crate::labels::Labels;
use crate::volumes::Need;

/// The plugin.
pub struct VolumeBinding;

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn local(&self) -> bool {
        false
    }

    fn pre_filter(&self, cycle: &mut Cycle<'_>) {
        cycle.needs = cycle.cache.volumes.needs(cycle.pod);
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        if cycle.needs.is_empty() {
            return Ok(());
        }
        let table = &cycle.cache.table;
        let empty = Labels::new();
        let node = NodeRef {
            name: table.name(slot),
            labels: table.labels(slot).unwrap_or(&empty),
        };
        for need in &cycle.needs {
            let reason: Cow<'static, str> = match need {
                Need::Missing(name) => format!("persistentvolumeclaim \"{name}\" not found").into(),
                Need::Unbound => "pod has unbound immediate PersistentVolumeClaims".into(),
                Need::Bound(None) => {
                    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
                        .into()
                }
                Need::Bound(Some(volume)) if !is_reachable(volume, node) => {
                    "node(s) didn't match PersistentVolume's node affinity".into()
                }
                Need::Waiting(Some(claim))
                    if best(cycle.cache.volumes.all(), claim, Some(node), false).is_none() =>
                {
                    "node(s) didn't find available persistent volumes to bind".into()
                }
                Need::Bound(Some(_)) | Need::Waiting(_) => continue,
            };
            return Err(Rejection::unresolvable(reason));
        }
        Ok(())
    }
}
