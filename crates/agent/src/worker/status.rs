//! A pod's status: a pure function of what is there, what the worker remembers, and the last status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use kontiki_api::time::time;
use kontiki_runtime::{Container, Run};

use super::instances::{Instance as _, Instances, initialized};
use super::plan::{Memory, Waiting, is_over, is_started};
use crate::pod::fields::Place;
use crate::pod::{PodExt as _, is_sidecar, qos_class};

/// All that a status is made of.
pub struct View<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its containers.
    pub instances: &'a Instances,
    /// What the worker remembers.
    pub memory: &'a Memory,
    /// Why containers wait.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// Last words by container id.
    pub last_words: &'a BTreeMap<String, String>,
    /// The last status.
    pub last: &'a PodStatus,
    /// Addresses.
    pub place: &'a Place,
    /// Whether the sandbox is connected.
    pub connected: bool,
    /// Whether the pod is ending.
    pub ending: bool,
    /// Now.
    pub now_ms: u64,
}

/// The status.
pub fn status(view: &View<'_>) -> PodStatus {
    let pod = view.pod;
    let spec = pod.spec();
    let done = initialized(pod, view.instances);
    let inits: Vec<_> = pod
        .inits()
        .iter()
        .map(|init| one(view, init, true))
        .collect();
    let containers: Vec<_> = spec
        .containers
        .iter()
        .map(|container| one(view, container, false))
        .collect();
    let ephemerals: Vec<_> = pod
        .ephemerals()
        .iter()
        .map(|container| ContainerStatus {
            // Nobody waits for them.
            ready: false,
            started: None,
            ..one(view, container, false)
        })
        .collect();
    let phase = phase(view, &inits, &containers);
    let mut status = view.last.clone();
    status.start_time.get_or_insert_with(|| time(view.now_ms));
    status
        .qos_class
        .get_or_insert_with(|| qos_class(pod).to_owned());
    status.host_ip = Some(view.place.host_ip.clone());
    status.host_ips = Some(vec![HostIP {
        ip: view.place.host_ip.clone(),
    }]);
    if !view.place.pod_ip.is_empty() {
        status.pod_ip = Some(view.place.pod_ip.clone());
        status.pod_ips = Some(vec![PodIP {
            ip: view.place.pod_ip.clone(),
        }]);
    }
    if let Some((reason, message)) = &view.memory.failed {
        status.reason = Some((*reason).to_owned());
        status.message = Some(message.clone());
    }
    status.conditions = Some(conditions(view, &phase, done, &inits, &containers));
    status.phase = Some(phase);
    status.observed_generation = pod.metadata.generation;
    status.init_container_statuses = (!inits.is_empty()).then_some(inits);
    status.container_statuses = Some(containers);
    status.ephemeral_container_statuses = (!ephemerals.is_empty()).then_some(ephemerals);
    status
}

fn one(view: &View<'_>, spec: &Spec, init: bool) -> ContainerStatus {
    let newest = view.instances.newest(&spec.name);
    let waiting = view.waiting.get(&spec.name);
    let running = newest.filter(|found| found.run.is_running());
    let ready = match running {
        Some(found) => {
            let probed = spec.readiness_probe.is_none() || view.memory.ready.contains(&found.id);
            is_started(spec, found, view.memory) && probed
        }
        None => init && newest.and_then(|found| found.exit_code()) == Some(0),
    };
    let state = match (newest, waiting) {
        (_, Some(waiting)) => wait(waiting.reason, Some(&waiting.message)),
        (Some(found), None) if found.run != Run::Created => state_of(view, found),
        // Whichever container of such a pod waits, as upstream says it.
        _ if !view.pod.inits().is_empty() => wait("PodInitializing", None),
        _ => wait("ContainerCreating", None),
    };
    // What is not shown as the present state is the last one.
    let shown = if waiting.is_some() {
        None
    } else {
        newest.map(|found| found.id.as_str())
    };
    let last = view.instances.last_ended(&spec.name, shown);
    let statuses = if init {
        &view.last.init_container_statuses
    } else {
        &view.last.container_statuses
    };
    let before = statuses
        .iter()
        .flatten()
        .find(|status| status.name == spec.name);
    let last_state = match last {
        Some(found) => Some(state_of(view, found)),
        None => before.and_then(|before| before.last_state.clone()),
    };
    let attempts = newest.map_or(0, |found| found.attempt() as i32);
    ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        image_id: newest
            .map(|found| found.image_id.clone())
            .unwrap_or_default(),
        container_id: newest.map(|found| format!("docker://{}", found.id)),
        ready,
        started: Some(running.is_some_and(|found| is_started(spec, found, view.memory))),
        restart_count: attempts.max(before.map_or(0, |before| before.restart_count)),
        state: Some(state),
        last_state: Some(last_state.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

fn wait(reason: &str, message: Option<&str>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: message.map(str::to_owned),
        }),
        ..ContainerState::default()
    }
}

fn state_of(view: &View<'_>, found: &Container) -> ContainerState {
    match &found.run {
        Run::Created => wait("ContainerCreating", None),
        Run::Running { started_ms } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(time(*started_ms)),
            }),
            ..ContainerState::default()
        },
        Run::Exited {
            code,
            oom,
            started_ms,
            finished_ms,
            error,
        } => {
            let reason = match (oom, code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                _ if *started_ms == 0 && !error.is_empty() => "ContainerCannotRun",
                _ => "Error",
            };
            let words = view
                .last_words
                .get(&found.id)
                .filter(|words| !words.is_empty());
            let message = words
                .or(Some(error))
                .filter(|text| !text.is_empty())
                .cloned();
            // A container that never started ended when it should have.
            let started_ms = if *started_ms == 0 {
                found.created_ms
            } else {
                *started_ms
            };
            let finished_ms = if *finished_ms == 0 {
                started_ms
            } else {
                *finished_ms
            };
            ContainerState {
                terminated: Some(ContainerStateTerminated {
                    container_id: Some(format!("docker://{}", found.id)),
                    exit_code: *code,
                    reason: Some(reason.to_owned()),
                    message,
                    started_at: Some(time(started_ms)),
                    finished_at: Some(time(finished_ms)),
                    signal: None,
                }),
                ..ContainerState::default()
            }
        }
    }
}

/// Upstream's `getPhase`, with the rule that a final phase stays.
fn phase(view: &View<'_>, inits: &[ContainerStatus], containers: &[ContainerStatus]) -> String {
    let last = view.last.phase.as_deref().unwrap_or("Pending");
    if matches!(last, "Succeeded" | "Failed") {
        return last.to_owned();
    }
    let running = view.instances.running().count();
    let code = |status: &ContainerStatus| {
        let now = status
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        let then = status
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        now.or(then).map(|ended| ended.exit_code)
    };
    let all_well = containers.iter().all(|status| code(status) == Some(0));
    if view.memory.failed.is_some() {
        return if running > 0 { last } else { "Failed" }.to_owned();
    }
    let mains_running = containers.iter().any(is_running);
    if (is_over(view.pod, view.instances, view.memory) || view.ending) && !mains_running {
        // A pod that is ended before anything ran has failed as well.
        let sidecar_only = running == 0 || !view.ending;
        if sidecar_only {
            return if all_well { "Succeeded" } else { "Failed" }.to_owned();
        }
    }
    let never_started = |status: &&ContainerStatus| !is_running(status) && code(status).is_none();
    let pending_init = !inits.is_empty() && !initialized(view.pod, view.instances);
    if pending_init || containers.iter().any(|status| never_started(&status)) {
        "Pending".to_owned()
    } else {
        "Running".to_owned()
    }
}

fn is_running(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

fn conditions(
    view: &View<'_>,
    phase: &str,
    initialized: bool,
    inits: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> Vec<PodCondition> {
    let mut list = Conditions::new(view);
    list.set("PodReadyToStartContainers", view.connected, None);

    let waiting_inits = unready(inits, view.pod);
    let over = phase == "Succeeded";
    let why = (!initialized && !over).then(|| {
        let message = format!("containers with incomplete status: [{waiting_inits}]");
        ("ContainersNotInitialized", Some(message))
    });
    list.set("Initialized", why.is_none(), why);

    let unready: Vec<&str> = containers
        .iter()
        .filter(|one| !one.ready)
        .map(|one| one.name.as_str())
        .collect();
    let why = match phase {
        "Succeeded" => Some(("PodCompleted", None)),
        "Failed" => Some(("PodFailed", None)),
        _ if !unready.is_empty() => {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            Some(("ContainersNotReady", Some(message)))
        }
        _ => None,
    };
    list.set("ContainersReady", why.is_none(), why.clone());
    let why = why.or_else(|| missing_gates(view));
    list.set("Ready", why.is_none(), why);
    list.set("PodScheduled", true, None);
    list.finish()
}

fn unready(inits: &[ContainerStatus], pod: &Pod) -> String {
    let sidecar = |name: &str| pod.container(name).is_some_and(is_sidecar);
    let names = inits.iter().filter(|one| !one.ready && !sidecar(&one.name));
    names
        .map(|one| one.name.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn missing_gates(view: &View<'_>) -> Option<(&'static str, Option<String>)> {
    let given = view
        .pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let holds = |kind: &str| {
        given
            .into_iter()
            .flatten()
            .any(|have| have.type_ == kind && have.status == "True")
    };
    let gates = view.pod.spec().readiness_gates.iter().flatten();
    let missing: Vec<String> = gates
        .filter(|gate| !holds(&gate.condition_type))
        .map(|gate| {
            format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist.",
                gate.condition_type
            )
        })
        .collect();
    (!missing.is_empty()).then(|| ("ReadinessGatesNotReady", Some(missing.join(", "))))
}

/// Conditions whose transition time moves only when their status does; others' conditions are kept.
struct Conditions<'a> {
    view: &'a View<'a>,
    ours: Vec<PodCondition>,
}

impl<'a> Conditions<'a> {
    fn new(view: &'a View<'a>) -> Self {
        Self {
            view,
            ours: Vec::new(),
        }
    }

    fn set(&mut self, kind: &str, holds: bool, why: Option<(&'static str, Option<String>)>) {
        let status = if holds { "True" } else { "False" };
        let known = |from: &PodStatus| {
            let mut all = from.conditions.clone().unwrap_or_default().into_iter();
            all.find(|before| before.type_ == kind)
        };
        let before = known(self.view.last)
            .or_else(|| self.view.pod.status.as_ref().and_then(known))
            .filter(|before| before.status == status);
        let (reason, message) = match why {
            Some((reason, message)) => (Some(reason.to_owned()), message),
            None => (None, None),
        };
        self.ours.push(PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            last_transition_time: before
                .and_then(|before| before.last_transition_time)
                .or_else(|| Some(time(self.view.now_ms))),
            observed_generation: self.view.pod.metadata.generation,
            reason,
            message,
            last_probe_time: None,
        });
    }

    fn finish(mut self) -> Vec<PodCondition> {
        let given = self
            .view
            .pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone());
        for condition in given.into_iter().flatten() {
            if self.ours.iter().all(|own| own.type_ != condition.type_) {
                self.ours.push(condition);
            }
        }
        self.ours
    }
}
