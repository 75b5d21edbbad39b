//! Cordoned nodes take only pods that tolerate `node.kubernetes.io/unschedulable`.

use k8s_openapi::api::core::v1::Taint;
use kontiki_api::scheduling::any_tolerates;

use crate::framework::{Cycle, Plugin, Rejection};
use crate::plugins::taint_toleration::tolerations;

/// The plugin.
pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, cycle: &Cycle<'_>, slot: usize) -> Result<(), Rejection> {
        if !cycle.cache.table.unschedulable(slot) {
            return Ok(());
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            value: None,
            time_added: None,
        };
        if any_tolerates(tolerations(cycle.pod), &taint) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) were unschedulable"))
    }
}
