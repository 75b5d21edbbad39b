//! A pod's table cells: upstream's `printPod`.

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod, PodStatus};
use serde_json::Value;

use crate::podspec::json::{text, typed};
use crate::podspec::path::Given;
use crate::{table, time};

/// What the statuses of a pod's containers come to.
#[derive(Default)]
struct Summary {
    reason: String,
    n_ready: usize,
    n_restarts: i32,
    last_restart_unix_ms: Option<u64>,
}

/// One cell for each column.
pub fn cells(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let pod: Pod = typed(Some(object));
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let init = spec.init_containers.given();
    let n_containers = spec.containers.len() + init.iter().filter(|c| is_sidecar(c)).count();
    let mut summary = summarize(&status, init);
    if pod.metadata.deletion_timestamp.is_some() {
        if status.reason.given() == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(status.phase.given(), "Failed" | "Succeeded") {
            summary.reason = "Terminating".to_owned();
        }
    }
    let restarts = match summary.last_restart_unix_ms {
        Some(then) if summary.n_restarts != 0 => {
            format!(
                "{} ({} ago)",
                summary.n_restarts,
                time::human_since(then, now_unix_ms)
            )
        }
        _ => summary.n_restarts.to_string(),
    };
    let or_none = |word: &str| Value::from(if word.is_empty() { "<none>" } else { word });
    vec![
        table::name(object),
        format!("{}/{n_containers}", summary.n_ready).into(),
        summary.reason.into(),
        restarts.into(),
        table::age(object, now_unix_ms),
        or_none(text(object, "/status/podIPs/0/ip")),
        or_none(spec.node_name.given()),
        or_none(status.nominated_node_name.given()),
        readiness_gates(&status, spec.readiness_gates.given()),
    ]
}

fn readiness_gates(
    status: &PodStatus,
    gates: &[k8s_openapi::api::core::v1::PodReadinessGate],
) -> Value {
    if gates.is_empty() {
        return "<none>".into();
    }
    let n_open = gates
        .iter()
        .filter(|gate| is_true(status, &gate.condition_type))
        .count();
    format!("{n_open}/{}", gates.len()).into()
}

fn is_true(status: &PodStatus, condition: &str) -> bool {
    let mut conditions = status.conditions.given().iter();
    conditions
        .find(|known| known.type_ == condition)
        .is_some_and(|known| known.status == "True")
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.given() == "Always"
}

fn summarize(status: &PodStatus, init: &[Container]) -> Summary {
    let reason = match status.reason.given() {
        "" => status.phase.given(),
        reason => reason,
    };
    let mut summary = Summary {
        reason: reason.to_owned(),
        ..Summary::default()
    };
    let gated = |condition: &&k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "PodScheduled" && condition.reason.given() == "SchedulingGated"
    };
    if status
        .conditions
        .given()
        .iter()
        .any(|condition| gated(&condition))
    {
        summary.reason = "SchedulingGated".to_owned();
    }
    let mut sidecars = Summary::default();
    let initializing = initialization(status, init, &mut summary, &mut sidecars);
    if !initializing || is_true(status, "Initialized") {
        summary.n_restarts = sidecars.n_restarts;
        summary.last_restart_unix_ms = sidecars.last_restart_unix_ms;
        running(status, &mut summary);
    }
    summary
}

/// Goes through the init containers up to the first that is not done; true when there is one.
fn initialization(
    status: &PodStatus,
    init: &[Container],
    summary: &mut Summary,
    sidecars: &mut Summary,
) -> bool {
    for (i, container) in status.init_container_statuses.given().iter().enumerate() {
        let sidecar = init
            .iter()
            .any(|known| known.name == container.name && is_sidecar(known));
        count_restarts(summary, container);
        if sidecar {
            count_restarts(sidecars, container);
        }
        let none = ContainerState::default();
        let state = container.state.as_ref().unwrap_or(&none);
        if let Some(end) = &state.terminated
            && end.exit_code == 0
        {
            continue;
        }
        if sidecar && container.started == Some(true) {
            summary.n_ready += usize::from(container.ready);
            continue;
        }
        let waiting = state
            .waiting
            .as_ref()
            .map_or("", |waiting| waiting.reason.given());
        summary.reason = if state.terminated.is_some() {
            format!("Init:{}", end_reason(state))
        } else if !matches!(waiting, "" | "PodInitializing") {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", init.len())
        };
        return true;
    }
    false
}

fn running(status: &PodStatus, summary: &mut Summary) {
    let mut has_running = false;
    for container in status.container_statuses.given().iter().rev() {
        count_restarts(summary, container);
        let none = ContainerState::default();
        let state = container.state.as_ref().unwrap_or(&none);
        let waiting = state
            .waiting
            .as_ref()
            .map_or("", |waiting| waiting.reason.given());
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if state.terminated.is_some() {
            summary.reason = end_reason(state);
        } else if container.ready && state.running.is_some() {
            has_running = true;
            summary.n_ready += 1;
        }
    }
    if summary.reason == "Completed" && has_running {
        let ready = is_true(status, "Ready");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn end_reason(state: &ContainerState) -> String {
    let Some(end) = &state.terminated else {
        return String::new();
    };
    match (end.reason.given(), end.signal.unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", end.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn count_restarts(summary: &mut Summary, container: &ContainerStatus) {
    summary.n_restarts += container.restart_count;
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let then = last
        .and_then(|end| end.finished_at.as_ref())
        .map(time::unix_ms);
    summary.last_restart_unix_ms = summary.last_restart_unix_ms.max(then);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn narrow(pod: Value) -> String {
        let mut pod = pod;
        pod["metadata"]["name"] = json!("p");
        let now = time::parse("2026-01-01T00:10:00Z").unwrap();
        let cells = cells(&pod, now);
        cells[1..4]
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn status_is_told_as_kubectl_tells_it() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let with_init = json!({
            "containers": [{"name": "a"}],
            "initContainers": [{"name": "i"}, {"name": "j"}, {"name": "s", "restartPolicy": "Always"}],
        });
        let up = json!({"name": "a", "ready": true, "state": {"running": {}}});
        let done =
            json!({"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        for (pod, expected) in [
            (
                json!({"spec": spec, "status": {"phase": "Pending"}}),
                "0/2|Pending|0",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [up, {
                    "name": "b", "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:08:55Z"}},
                }]}}),
                "1/2|CrashLoopBackOff|3 (65s ago)",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [done, up],
                    "conditions": [{"type": "Ready", "status": "True"}]}}),
                "1/2|Running|0",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [done, up]}}),
                "1/2|NotReady|0",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Failed", "reason": "Evicted"}}),
                "0/2|Evicted|0",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Failed", "containerStatuses": [
                    {"name": "a", "state": {"terminated": {"exitCode": 3}}}]}}),
                "0/2|ExitCode:3|0",
            ),
            (
                json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec,
                    "status": {"phase": "Running", "containerStatuses": [up]}}),
                "1/2|Terminating|0",
            ),
            (
                json!({"spec": with_init, "status": {"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "state": {"running": {}}}]}}),
                "0/2|Init:1/3|0",
            ),
            (
                json!({"spec": with_init, "status": {"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "restartCount": 2,
                     "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
                "0/2|Init:CrashLoopBackOff|2",
            ),
            (
                json!({"spec": with_init, "status": {"phase": "Running", "initContainerStatuses": [
                    {"name": "s", "ready": true, "started": true, "state": {"running": {}}}],
                    "containerStatuses": [up]}}),
                "2/2|Running|0",
            ),
        ] {
            assert_eq!(narrow(pod.clone()), expected, "{pod}");
        }
    }
}
