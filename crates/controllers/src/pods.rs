//! What controllers ask of a pod: is it active, ready, available, and which is to be deleted first.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::view::{Found, ms_of};

/// `status.phase`.
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether it has ended, one way or the other.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither ended nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// A condition of a type.
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the Ready condition is True.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// When it became ready.
pub fn ready_since_ms(pod: &Pod) -> Option<u64> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(0, ms_of))
}

/// How long until a ready pod counts as available; `Some(0)` if it does.
pub fn available_in_ms(pod: &Pod, min_ready_seconds: i32, now_ms: u64) -> Option<u64> {
    let since = ready_since_ms(pod)?;
    let at = since + u64::try_from(min_ready_seconds).unwrap_or(0) * 1000;
    Some(at.saturating_sub(now_ms))
}

/// Restarts of the most restarted container.
fn restarts(pod: &Pod) -> i32 {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses
        .into_iter()
        .flatten()
        .map(|status| status.restart_count)
        .max()
        .unwrap_or(0)
}

/// `controller.kubernetes.io/pod-deletion-cost`.
fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations
        .and_then(|annotations| annotations.get("controller.kubernetes.io/pod-deletion-cost"));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// Upstream's `ActivePodsWithRanks`: the smallest is deleted first. `rank` is the number of related pods on the node.
pub fn deletion_rank(pod: &Pod, rank: usize, now_ms: u64) -> impl Ord + use<> {
    let assigned = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let assigned = assigned.is_some_and(|node| !node.is_empty());
    let phase = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let newest_first = |since: Option<u64>| {
        // Ages are compared on a logarithmic scale, as upstream does since LogarithmicScaleDown.
        since.map_or(0, |since| {
            let seconds = now_ms.saturating_sub(since) / 1000;
            if seconds == 0 {
                0
            } else {
                64 - seconds.leading_zeros()
            }
        })
    };
    let created = pod.metadata.creation_timestamp.as_ref().map(ms_of);
    (
        assigned,
        phase,
        is_ready(pod),
        deletion_cost(pod),
        std::cmp::Reverse(rank),
        newest_first(ready_since_ms(pod)),
        std::cmp::Reverse(restarts(pod)),
        newest_first(created),
        pod.metadata.uid.clone(),
    )
}

/// A pod from a template, to be named by the manager after `generate_name`.
pub fn from_template(
    template: &PodTemplateSpec,
    namespace: &str,
    generate_name: &str,
    owner: OwnerReference,
) -> Pod {
    let from = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.into()),
            generate_name: Some(generate_name.into()),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The reference that makes `owner` the controller of what carries it.
pub fn controller_ref<T: k8s_openapi::Resource>(owner: &Found<T>) -> OwnerReference {
    OwnerReference {
        api_version: T::API_VERSION.into(),
        kind: T::KIND.into(),
        name: owner.name().into(),
        uid: owner.uid().into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The prefix of generated names, cut so that the whole stays a valid name.
pub fn name_prefix(owner: &str) -> String {
    let cut: String = owner.chars().take(57).collect();
    format!("{cut}-")
}
