//! DaemonSets: a pod on each node that should have one, updated node by node (upstream's `daemon` controller).
//!
//! `node_pods` says which node should run a pod and which has one, `manage` makes and removes them, `rolling` updates
//! them, `revisions` keeps the history, `status` counts. The default scheduler binds the pods: each is told its node by
//! an affinity for the node's name.

mod manage;
mod node_pods;
mod revisions;
mod rolling;
mod status;
mod template;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kontiki_state::Object;

use crate::owned::{claim, pod_to_daemon_sets};
use crate::plan::Plan;
use crate::selector;
use crate::view::{Found, View};
use crate::{Controller, Error, Watch, WorkKey, history, itself};
use node_pods::{Fit, NodePods};

/// Resource id of DaemonSets.
const RESOURCE: &str = "daemonsets.apps";
/// Pods created or deleted in one step (upstream's `BurstReplicas`).
const BURST: usize = 250;

/// The controller.
pub struct DaemonSetController;

/// What one reconcile works on.
struct Work<'a> {
    view: &'a View<'a>,
    set: Found<DaemonSet>,
    spec: DaemonSetSpec,
    status: DaemonSetStatus,
    /// Hash of the present template, as pods carry it.
    hash: String,
    /// `deprecated.daemonset.template.generation`.
    generation: Option<String>,
    nodes: Vec<(Found<Node>, Fit)>,
    pods: NodePods,
    plan: Plan,
    /// Pods that may still be created or deleted in this step.
    room: usize,
}

impl Controller for DaemonSetController {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: RESOURCE,
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_daemon_sets,
            },
            Watch {
                resource: "nodes",
                map: all_sets,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(set) = view.get::<DaemonSet>(&key.namespace, &key.name)? else {
            return Ok(Plan::none());
        };
        let Some(spec) = set.spec.clone() else {
            return Ok(Plan::none());
        };
        let mut plan = Plan::none();
        if selector::is_empty(&spec.selector) {
            let message =
                "This daemon set is selecting all pods. A non-empty selector is required.";
            plan.warn(&set, "SelectingAll", message);
            return Ok(plan);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(plan);
        }
        let stored = history::revisions(view, &set, &spec.selector, &mut plan)?;
        let mut status = set.status.clone().unwrap_or_default();
        let now = revisions::choose(view, &set, &stored, &mut status.collision_count, &mut plan)?;
        let claimed = claim::<_, Pod>(view, &set, &spec.selector, &mut plan)?;
        let nodes = view.list::<Node>(None)?;
        let wanted = template::scheduling_pod(&spec.template);
        let nodes = nodes.into_iter().map(|node| {
            let fit = node_pods::fit(&wanted, &node);
            (node, fit)
        });
        let mut work = Work {
            view,
            generation: template::generation(&set),
            set,
            spec,
            status,
            hash: now.hash,
            nodes: nodes.collect(),
            pods: NodePods::new(&claimed),
            plan,
            room: BURST,
        };
        if !work.manage() && work.rolls() {
            work.roll();
        }
        work.truncate_history(&now.old, &claimed);
        work.write_status();
        Ok(work.plan)
    }
}

/// A node may be any set's.
fn all_sets(view: &View<'_>, _: &Object) -> Vec<WorkKey> {
    let sets = view.snapshot.list(RESOURCE, None, None);
    sets.map(|set| WorkKey::of(&set)).collect()
}
