//! Deletes pods from nodes with NoExecute taints, when their tolerations end.

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kontiki_api::scheduling::tolerates;
use kontiki_state::Object;

use crate::plan::Plan;
use crate::pods::{condition, is_finished};
use crate::view::{Found, View, ms_of};
use crate::{Controller, Error, Watch, WorkKey};

/// Toleration of a silent node for pods that say nothing (admission's `DefaultTolerationSeconds`).
const DEFAULT_SECONDS: i64 = 300;

/// The controller.
pub struct TaintEviction;

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn watches(&self) -> &'static [Watch] {
        &[
            Watch {
                resource: "nodes",
                map: pods_of,
            },
            Watch {
                resource: "pods",
                map: if_tainted,
            },
        ]
    }

    fn reconcile(&self, view: &View<'_>, key: &WorkKey) -> Result<Plan, Error> {
        let mut plan = Plan::none();
        let Some(pod) = view.get::<Pod>(&key.namespace, &key.name)? else {
            return Ok(plan);
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let Some(node) = node
            .map(|name| view.get::<Node>("", name))
            .transpose()?
            .flatten()
        else {
            return Ok(plan);
        };
        let taints = no_execute(&node);
        if taints.is_empty() || pod.metadata.deletion_timestamp.is_some() || is_finished(&pod) {
            return Ok(plan);
        }
        match deadline_ms(&pod, &taints) {
            None => {}
            Some(due) if due > view.now_ms => plan.requeue_after_ms(due - view.now_ms),
            Some(_) => evict(view, &pod, &mut plan),
        }
        Ok(plan)
    }
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints
        .into_iter()
        .flatten()
        .filter(|taint| taint.effect == "NoExecute")
        .cloned()
        .collect()
}

fn pods_of(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let tainted = object
        .typed::<Node>()
        .is_ok_and(|node| !no_execute(&node).is_empty());
    if !tainted {
        return Vec::new();
    }
    let pods = view
        .snapshot
        .by_field("pods", "spec.nodeName", &object.key.name);
    pods.iter().map(|pod| WorkKey::of(pod)).collect()
}

fn if_tainted(view: &View<'_>, object: &Object) -> Vec<WorkKey> {
    let Some(name) = object
        .header
        .field("spec.nodeName")
        .filter(|name| !name.is_empty())
    else {
        return Vec::new();
    };
    let node = view.get::<Node>("", name).ok().flatten();
    let tainted = node.is_some_and(|node| !no_execute(&node).is_empty());
    tainted.then(|| WorkKey::of(object)).into_iter().collect()
}

/// When the pod must go; `None` for never.
fn deadline_ms(pod: &Pod, taints: &[Taint]) -> Option<u64> {
    let spec = pod.spec.as_ref();
    let tolerations = spec
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let deadlines = taints.iter().filter_map(|taint| {
        let since = taint.time_added.as_ref().map_or(0, ms_of);
        match seconds(tolerations, taint) {
            Tolerated::Forever => None,
            Tolerated::Seconds(seconds) => Some(since + u64::try_from(seconds).unwrap_or(0) * 1000),
            Tolerated::No => Some(0),
        }
    });
    deadlines.min()
}

enum Tolerated {
    Forever,
    Seconds(i64),
    No,
}

fn seconds(tolerations: &[Toleration], taint: &Taint) -> Tolerated {
    let silent = [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ];
    match tolerations
        .iter()
        .find(|toleration| tolerates(toleration, taint))
    {
        Some(toleration) => match toleration.toleration_seconds {
            Some(seconds) => Tolerated::Seconds(seconds),
            None => Tolerated::Forever,
        },
        None if silent.contains(&taint.key.as_str()) => Tolerated::Seconds(DEFAULT_SECONDS),
        None => Tolerated::No,
    }
}

/// First the reason is noted on the pod, then it is deleted.
fn evict(view: &View<'_>, pod: &Found<Pod>, plan: &mut Plan) {
    if condition(pod, "DisruptionTarget").is_some_and(|target| target.status == "True") {
        plan.delete(&pod.object);
        let message = format!(
            "Marking for deletion Pod {}/{}",
            pod.namespace(),
            pod.name()
        );
        plan.event(pod, "TaintManagerEviction", message);
        return;
    }
    let message = "Taint manager: deleting due to NoExecute taint";
    crate::pod_gc::mark_disrupted(view, pod, "DeletionByTaintManager", message, plan);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerations_decide_when_a_pod_must_go() {
        let taints: Vec<Taint> = serde_json::from_value(json!([{
            "key": "node.kubernetes.io/unreachable", "effect": "NoExecute",
            "timeAdded": "1970-01-01T00:01:40Z",
        }]))
        .unwrap();
        let pod = |tolerations: serde_json::Value| -> Pod {
            let spec = json!({"containers": [], "tolerations": tolerations});
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        let key = "node.kubernetes.io/unreachable";
        assert_eq!(
            deadline_ms(&pod(json!([])), &taints),
            Some(400_000),
            "five minutes by default"
        );
        let forever = json!([{"key": key, "operator": "Exists"}]);
        assert_eq!(deadline_ms(&pod(forever), &taints), None);
        let short = json!([{"key": key, "operator": "Exists", "tolerationSeconds": 10}]);
        assert_eq!(deadline_ms(&pod(short), &taints), Some(110_000));
        let other: Vec<Taint> =
            serde_json::from_value(json!([{"key": "maintenance", "effect": "NoExecute"}])).unwrap();
        assert_eq!(
            deadline_ms(&pod(json!([])), &other),
            Some(0),
            "not tolerated: at once"
        );
    }
}
