//! ReplicaSets: keeps as many pods as asked for, adopting and releasing by selector.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::owned::{claim, pod_to_replica_sets};
use crate::plan::Plan;
use crate::pods::{
    available_in_ms, controller_ref, deletion_rank, from_template, is_active, is_ready, name_prefix,
};
use crate::selector::{self, selects};
use crate::view::{Found, View, controller_of};
use crate::{Controller, Error, Watch, WorkKey, itself};

/// Pods created or deleted in one step (upstream's `BurstReplicas`).
const BURST: usize = 500;

/// The controller.
pub struct ReplicaSetController;

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "replicasets.apps",
                map: itself,
            },
            Watch {
                resource: "pods",
                map: pod_to_replica_sets,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let Some(set) = view.get::<ReplicaSet>(&key.namespace, &key.name)? else {
            return Ok(Plan::none());
        };
        let Some(spec) = &set.spec else {
            return Ok(Plan::none());
        };
        if selector::is_empty(&spec.selector) {
            return Ok(Plan::none());
        }
        let mut plan = Plan::none();
        let claimed = claim::<ReplicaSet, Pod>(view, &set, &spec.selector, &mut plan)?;
        let terminating = claimed
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_some())
            .filter(|pod| !crate::pods::is_finished(pod))
            .count();
        let mut active: Vec<Found<Pod>> =
            claimed.into_iter().filter(|pod| is_active(pod)).collect();
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        if set.metadata.deletion_timestamp.is_none() {
            if active.len() < wanted {
                create_pods(&set, (wanted - active.len()).min(BURST), &mut plan);
            } else if active.len() > wanted {
                let excess = (active.len() - wanted).min(BURST);
                active = delete_pods(view, &set, &active, excess, &mut plan)?;
            }
        }
        let status = status(view, &set, &active, terminating, &mut plan);
        plan.set_status(&set.object, &status);
        Ok(plan)
    }
}

fn create_pods(set: &Found<ReplicaSet>, count: usize, plan: &mut Plan) {
    let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
        return;
    };
    let prefix = name_prefix(set.name());
    let pod = from_template(template, set.namespace(), &prefix, controller_ref(set));
    for _ in 0..count {
        plan.create_announced(&pod, set, "SuccessfulCreate", "Created pod: ");
    }
}

/// Deletes the least wanted; who stays is returned, so that the status never counts who goes.
fn delete_pods(
    view: &View<'_>,
    set: &Found<ReplicaSet>,
    active: &[Found<Pod>],
    count: usize,
    plan: &mut Plan,
) -> Result<Vec<Found<Pod>>, Error> {
    let related = related_per_node(view, set, active)?;
    let mut ranked: Vec<&Found<Pod>> = active.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        let rank = node_of(pod)
            .and_then(|node| related.get(node))
            .copied()
            .unwrap_or(0);
        deletion_rank(pod, rank, view.now_ms)
    });
    let stay = ranked.split_off(count);
    for pod in ranked {
        plan.delete(&pod.object);
        let message = format!("Deleted pod: {}", pod.name());
        plan.event(set, "SuccessfulDelete", message);
    }
    Ok(stay.into_iter().cloned().collect())
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Active pods of all sets of the same controller, by node: the fuller node gives first.
fn related_per_node(
    view: &View<'_>,
    set: &Found<ReplicaSet>,
    active: &[Found<Pod>],
) -> Result<BTreeMap<String, usize>, Error> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |pods: &[Found<Pod>]| {
        for node in pods
            .iter()
            .filter(|pod| is_active(pod))
            .filter_map(|pod| node_of(pod))
        {
            *counts.entry(node.to_owned()).or_default() += 1;
        }
    };
    count(active);
    if let Some(owner) = controller_of(&set.metadata) {
        for sibling in view.controlled::<ReplicaSet>(&owner.uid)? {
            if sibling.uid() != set.uid() {
                count(&view.controlled::<Pod>(sibling.uid())?);
            }
        }
    }
    Ok(counts)
}

fn status(
    view: &View<'_>,
    set: &Found<ReplicaSet>,
    active: &[Found<Pod>],
    terminating: usize,
    plan: &mut Plan,
) -> ReplicaSetStatus {
    let spec = set.spec.as_ref();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template_labels = spec
        .and_then(|spec| spec.template.as_ref())
        .and_then(|template| template.metadata.as_ref())
        .and_then(|metadata| metadata.labels.clone());
    let template = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
        match_labels: template_labels,
        match_expressions: None,
    };
    let mut available = 0;
    for pod in active {
        match available_in_ms(pod, min_ready, view.now_ms) {
            Some(0) => available += 1,
            Some(wait) => plan.requeue_after_ms(wait),
            None => {}
        }
    }
    let some = |count: usize| (count > 0).then_some(count as i32);
    let labeled = active
        .iter()
        .filter(|pod| selects(&template, pod.metadata.labels.as_ref()));
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: some(labeled.count()),
        ready_replicas: some(active.iter().filter(|pod| is_ready(pod)).count()),
        available_replicas: some(available),
        terminating_replicas: some(terminating),
        observed_generation: set.metadata.generation,
        conditions: set
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone()),
    }
}
