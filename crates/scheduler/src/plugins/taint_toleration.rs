//! Taints keep pods away unless tolerated; of those that only prefer, fewer are better.

use k8s_openapi::api::core::v1::Toleration;
use kontiki_api::scheduling::any_tolerates;

use crate::framework::{Cycle, Plugin, Rejection, default_normalize};
use crate::pod_info::PodInfo;

/// The plugin.
pub struct TaintToleration;

/// The pod's tolerations.
pub fn tolerations(pod: &PodInfo) -> &[Toleration] {
    let spec = pod.pod.spec.as_ref();
    spec.and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default()
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        let tolerations = tolerations(cycle.pod);
        let mut taints = cycle.cache.table.taints(slot).iter();
        let repels = |effect: &str| effect == "NoSchedule" || effect == "NoExecute";
        match taints.any(|taint| repels(&taint.effect) && !any_tolerates(tolerations, taint)) {
            true => Err(Rejection::unresolvable("node(s) had untolerated taint(s)")),
            false => Ok(()),
        }
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, cycle: &Cycle<'_>, slot: usize) -> i64 {
        let taints = cycle.cache.table.taints(slot).iter();
        let preferring = taints.filter(|taint| taint.effect == "PreferNoSchedule");
        preferring
            .filter(|taint| !any_tolerates(tolerations(cycle.pod), taint))
            .count() as i64
    }

    fn normalize_score(&self, _: &Cycle<'_>, _: &[u32], scores: &mut [i64]) {
        default_normalize(scores, true);
    }
}
