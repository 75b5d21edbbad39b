//! Volumes that say by their labels in which zone or region they are.

use crate::framework::{Cycle, Plugin, Rejection};
use crate::volumes::Need;

/// The plugin.
pub struct VolumeZone;

/// Labels that a volume and its node must agree on, if the volume has them.
const TOPOLOGY: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
/// Between the zones of a volume that is in several.
const DELIMITER: &str = "__";

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn local(&self) -> bool {
        false
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        let labels = cycle.cache.table.labels(slot);
        for need in &cycle.needs {
            let Need::Bound(Some(volume)) = need else {
                continue;
            };
            for key in TOPOLOGY {
                let of_volume = volume.metadata.labels.as_ref().and_then(|it| it.get(key));
                let Some(wanted) = of_volume else { continue };
                let has = labels.and_then(|labels| labels.get(key));
                if !has.is_some_and(|has| wanted.split(DELIMITER).any(|zone| zone == has)) {
                    let reason = "node(s) had no available volume zone";
                    return Err(Rejection::unresolvable(reason));
                }
            }
        }
        Ok(())
    }
}
