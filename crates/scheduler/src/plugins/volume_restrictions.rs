//! A claim of access mode ReadWriteOncePod is one pod's at a time, wherever that is.

use kontiki_api::volumes::claims_of;

use crate::framework::{Cycle, Plugin, Rejection};

/// The plugin.
pub struct VolumeRestrictions;

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn local(&self) -> bool {
        false
    }

    fn pre_filter(&self, cycle: &mut Cycle<'_>) {
        let namespace = cycle.pod.namespace();
        let single = |name: &String| {
            let claim = cycle.cache.volumes.claim(namespace, name);
            let spec = claim.and_then(|claim| claim.spec.as_ref());
            let mut modes = spec
                .into_iter()
                .flat_map(|it| it.access_modes.iter().flatten());
            modes.any(|mode| mode == "ReadWriteOncePod")
        };
        let mut names = claims_of(&cycle.pod.pod);
        names.retain(single);
        // Rare: only who asks for such a claim looks at all pods.
        cycle.is_taken = !names.is_empty()
            && cycle.cache.placed().any(|other| {
                other.namespace() == namespace
                    && claims_of(&other.pod)
                        .iter()
                        .any(|name| names.contains(name))
            });
    }

    fn filter(&self, cycle: &Cycle<'_>, _: usize) -> Result<(), Rejection> {
        if !cycle.is_taken {
            return Ok(());
        }
        Err(Rejection::unresolvable(
            "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
        ))
    }
}
