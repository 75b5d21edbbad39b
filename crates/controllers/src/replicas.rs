//! Interchangeable pods: keeps as many as asked for, adopting and releasing by selector. ReplicaSets and
//! ReplicationControllers differ in how they say it only.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::{Metadata, Resource};
use serde::de::DeserializeOwned;

use crate::commit::REPLICA_FAILURE;
use crate::owned::claim;
use crate::plan::Plan;
use crate::pods::{
    available_in_ms, controller_ref, deletion_rank, from_template, is_active, is_finished,
    is_ready, name_prefix,
};
use crate::selector::{self, selects};
use crate::view::{Found, View, controller_of};
use crate::{Error, WorkKey};

/// Pods created or deleted in one step (upstream's `BurstReplicas`).
const BURST: usize = 500;

/// What is asked for.
pub struct Wanted {
    /// How many.
    pub replicas: i32,
    /// Seconds of readiness before a pod is available.
    pub min_ready_seconds: i32,
    /// Which pods count.
    pub selector: LabelSelector,
    /// What new ones look like.
    pub template: Option<PodTemplateSpec>,
    /// Pods on their way out are told of.
    pub tells_terminating: bool,
}

/// A kind whose objects ask for interchangeable pods.
pub trait Replicated:
    Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static
{
    /// What an object asks for; nothing without a specification.
    fn wanted(&self) -> Option<Wanted>;
}

/// What is to be done about one object.
pub fn reconcile<T: Replicated>(view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
    let mut plan = Plan::none();
    let Some(set) = view.get::<T>(&key.namespace, &key.name)? else {
        return Ok(plan);
    };
    let Some(wanted) = set.wanted() else {
        return Ok(plan);
    };
    if selector::is_empty(&wanted.selector) {
        return Ok(plan);
    }
    let claimed = claim::<T, Pod>(view, &set, &wanted.selector, &mut plan)?;
    let leaving = claimed
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some() && !is_finished(pod));
    let terminating = leaving.count();
    let mut active: Vec<Found<Pod>> = claimed.into_iter().filter(|pod| is_active(pod)).collect();
    let count = usize::try_from(wanted.replicas).unwrap_or(0);
    if set.metadata().deletion_timestamp.is_none() {
        if active.len() < count {
            create_pods(&set, &wanted, (count - active.len()).min(BURST), &mut plan);
        } else if active.len() > count {
            let excess = (active.len() - count).min(BURST);
            active = delete_pods(view, &set, &active, excess, &mut plan)?;
        }
    }
    let status = status(view, &set, &wanted, &active, terminating, &mut plan);
    plan.set_status(&set.object, &status);
    Ok(plan)
}

fn create_pods<T: Replicated>(set: &Found<T>, wanted: &Wanted, count: usize, plan: &mut Plan) {
    let Some(template) = &wanted.template else {
        return;
    };
    let prefix = name_prefix(set.name());
    let pod = from_template(template, set.namespace(), &prefix, controller_ref(set));
    for _ in 0..count {
        plan.create_replica(&pod, set);
    }
}

/// Deletes the least wanted; who stays is returned, so that the status never counts who goes.
fn delete_pods<T: Replicated>(
    view: &View<'_>,
    set: &Found<T>,
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
fn related_per_node<T: Replicated>(
    view: &View<'_>,
    set: &Found<T>,
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
    if let Some(owner) = controller_of(set.metadata()) {
        for sibling in view.controlled::<T>(&owner.uid)? {
            if sibling.uid() != set.uid() {
                count(&view.controlled::<Pod>(sibling.uid())?);
            }
        }
    }
    Ok(counts)
}

/// The status, which both kinds spell alike. That creations are refused is told by who hears it: `commit`.
fn status<T: Replicated>(
    view: &View<'_>,
    set: &Found<T>,
    wanted: &Wanted,
    active: &[Found<Pod>],
    terminating: usize,
    plan: &mut Plan,
) -> ReplicaSetStatus {
    let template = wanted.template.as_ref();
    let template = LabelSelector {
        match_labels: template
            .and_then(|template| template.metadata.as_ref())
            .and_then(|metadata| metadata.labels.clone()),
        match_expressions: None,
    };
    let mut available = 0;
    for pod in active {
        match available_in_ms(pod, wanted.min_ready_seconds, view.now_ms) {
            Some(0) => available += 1,
            Some(wait) => plan.requeue_after_ms(wait),
            None => {}
        }
    }
    let some = |count: usize| (count > 0).then_some(count as i32);
    let labeled = active
        .iter()
        .filter(|pod| selects(&template, pod.metadata.labels.as_ref()));
    let mut stored: ReplicaSetStatus =
        serde_json::from_value(set.object.value()["status"].take()).unwrap_or_default();
    if let Some(conditions) = &mut stored.conditions {
        conditions.retain(|condition| condition.type_ != REPLICA_FAILURE);
    }
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: some(labeled.count()),
        ready_replicas: some(active.iter().filter(|pod| is_ready(pod)).count()),
        available_replicas: some(available),
        terminating_replicas: some(terminating).filter(|_| wanted.tells_terminating),
        observed_generation: set.metadata().generation,
        conditions: stored
            .conditions
            .filter(|conditions| !conditions.is_empty()),
    }
}
