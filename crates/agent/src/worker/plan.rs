//! What is to be done next for a pod: a pure function of its spec, its containers and what the worker remembers.
//!
//! Level-triggered: nothing here depends on how the present state came about.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use kontiki_runtime::{Container, Run, labels};

use super::instances::{Instance as _, Instances};
use crate::pod::{PodExt as _, is_sidecar};

/// First wait before a restart after the immediate one (kubelet's `backOffPeriod`).
const FIRST_MS: u64 = 10_000;
/// Longest wait before a restart (kubelet's `MaxContainerBackOff`).
const CAP_MS: u64 = 300_000;
/// A container that ran so long starts over with waits.
const RESET_MS: u64 = 2 * CAP_MS;

/// Restart waits of one container name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    delay_ms: u64,
    updated_ms: u64,
}

/// Why a container does not run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Reason of the waiting state.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// What a worker remembers beside what the engine shows.
#[derive(Debug, Default)]
pub struct Memory {
    /// Restart waits by container name.
    pub restarts: BTreeMap<String, Restarts>,
    /// Starts that failed by container name: why, and when to try again.
    pub failed_starts: BTreeMap<String, (Waiting, u64)>,
    /// Containers (ids) whose startup probe succeeded.
    pub started: BTreeSet<String>,
    /// Containers (ids) whose readiness probe succeeds.
    pub ready: BTreeSet<String>,
    /// Containers (ids) that a probe condemned, with the event's text.
    pub condemned: BTreeMap<String, String>,
    /// The pod is over whatever its containers do, with reason and message.
    pub failed: Option<(&'static str, String)>,
    /// The pod's phase was final before.
    pub was_final: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create and start a pause container and connect it.
    NewSandbox {
        /// Its number.
        attempt: u32,
    },
    /// Create and start a container.
    Start {
        /// Its name.
        name: String,
        /// Its number.
        attempt: u32,
    },
    /// End a container, with grace.
    End {
        /// Its id.
        id: String,
        /// The event's text.
        message: String,
    },
    /// End the pause container: nothing needs the namespaces any more.
    EndSandbox {
        /// Its id.
        id: String,
    },
}

/// What to do, what to show meanwhile, and when to look again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// By container name.
    pub waiting: BTreeMap<String, Waiting>,
    /// Unix milliseconds.
    pub wake_ms: Option<u64>,
}

/// The next steps of a pod that is to run.
pub fn plan(pod: &Pod, instances: &Instances, memory: &Memory, now_ms: u64) -> Plan {
    let mut planner = Planner {
        pod,
        instances,
        memory,
        now_ms,
        plan: Plan::default(),
    };
    planner.run();
    planner.plan
}

/// Whether the pod will never run anything again.
pub fn is_over(pod: &Pod, instances: &Instances, memory: &Memory) -> bool {
    if memory.was_final || memory.failed.is_some() {
        return true;
    }
    let policy = pod.restart_policy();
    let failed = |spec: &Spec| {
        let code = instances
            .newest(&spec.name)
            .and_then(|found| found.exit_code());
        code.is_some_and(|code| code != 0)
    };
    if policy == "Never"
        && pod
            .inits()
            .iter()
            .any(|init| !is_sidecar(init) && failed(init))
    {
        return true;
    }
    pod.spec().containers.iter().all(|spec| {
        let code = instances
            .newest(&spec.name)
            .and_then(|found| found.exit_code());
        code.is_some_and(|code| !restarts(policy, code))
    })
}

fn restarts(policy: &str, code: i32) -> bool {
    match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

struct Planner<'a> {
    pod: &'a Pod,
    instances: &'a Instances,
    memory: &'a Memory,
    now_ms: u64,
    plan: Plan,
}

impl Planner<'_> {
    fn run(&mut self) {
        if is_over(self.pod, self.instances, self.memory) {
            self.wind_up();
            return;
        }
        let Some(sandbox) = self.instances.running_sandbox() else {
            // What still runs hangs on namespaces that are gone.
            self.end_all("the pod's sandbox changed");
            if self.plan.steps.is_empty() {
                let attempt = self.instances.next_attempt(labels::PAUSE);
                self.plan.steps.push(Step::NewSandbox { attempt });
            }
            return;
        };
        let since = sandbox.created_ms;
        for running in self.instances.running() {
            let name = running.container();
            if running.created_ms < since {
                self.end(
                    running,
                    format!("Stopping container {name}: its sandbox is gone"),
                );
            } else if let Some(message) = self.memory.condemned.get(&running.id) {
                self.end(running, message.clone());
            } else if self.image_changed(running) {
                let message = format!("Container {name} definition changed, will be restarted");
                self.end(running, message);
            }
        }
        for spec in self.pod.ephemerals() {
            // Once, whatever becomes of it.
            if self
                .instances
                .newest(&spec.name)
                .is_none_or(|found| found.run == Run::Created)
            {
                self.start(&spec);
            }
        }
        if self.inits_done() {
            let containers: &[Spec] = &self.pod.spec().containers;
            containers.iter().for_each(|spec| self.keep_running(spec));
        }
    }

    /// A pod that is over gives its processes and namespaces back.
    fn wind_up(&mut self) {
        self.end_all("Stopping container");
        if self.plan.steps.is_empty()
            && let Some(sandbox) = self.instances.running_sandbox()
        {
            self.plan.steps.push(Step::EndSandbox {
                id: sandbox.id.clone(),
            });
        }
    }

    fn end_all(&mut self, why: &str) {
        for running in self.instances.running() {
            self.end(running, format!("{why} {}", running.container()));
        }
    }

    fn end(&mut self, container: &Container, message: String) {
        self.plan.steps.push(Step::End {
            id: container.id.clone(),
            message,
        });
    }

    fn image_changed(&self, running: &Container) -> bool {
        let spec = self.pod.container(running.container());
        let wanted = spec.and_then(|spec| spec.image.as_ref());
        wanted.is_some() && running.labels.get(labels::IMAGE) != wanted
    }

    /// Goes through init containers in order; false while one is not where it should be.
    fn inits_done(&mut self) -> bool {
        let pod = self.pod;
        let any_started = pod
            .spec()
            .containers
            .iter()
            .any(|spec| self.instances.current(&spec.name).is_some());
        for init in pod.inits() {
            if is_sidecar(init) {
                self.keep_running(init);
                let running = self
                    .instances
                    .current(&init.name)
                    .filter(|it| it.run.is_running());
                let started = running.is_some_and(|it| is_started(init, it, self.memory));
                if !started && !any_started {
                    return false;
                }
            } else if !any_started {
                match self.instances.current(&init.name).map(|found| &found.run) {
                    Some(Run::Exited { code: 0, .. }) => {}
                    Some(Run::Running { .. }) => return false,
                    Some(Run::Exited { finished_ms, .. }) => {
                        self.restart(init, *finished_ms);
                        return false;
                    }
                    Some(Run::Created) | None => {
                        self.start(init);
                        return false;
                    }
                }
            }
        }
        true
    }

    fn keep_running(&mut self, spec: &Spec) {
        let policy = if is_sidecar(spec) {
            "Always"
        } else {
            self.pod.restart_policy()
        };
        match self.instances.newest(&spec.name).map(|found| &found.run) {
            Some(Run::Running { .. }) => {}
            Some(Run::Exited {
                code, finished_ms, ..
            }) => {
                if restarts(policy, *code) {
                    self.restart(spec, *finished_ms);
                }
            }
            Some(Run::Created) | None => self.start(spec),
        }
    }

    fn restart(&mut self, spec: &Spec, finished_ms: u64) {
        let restarts = self.memory.restarts.get(&spec.name);
        let Some(at_ms) = restarts.and_then(|waits| waits.not_before(finished_ms, self.now_ms))
        else {
            self.start(spec);
            return;
        };
        let delay_s = restarts.map_or(0, |waits| waits.delay_ms / 1000);
        let delay = if delay_s < 60 {
            format!("{delay_s}s")
        } else {
            format!("{}m{}s", delay_s / 60, delay_s % 60)
        };
        let message = format!(
            "back-off {delay} restarting failed container={} pod={}_{}({})",
            spec.name,
            self.pod.name(),
            self.pod.namespace(),
            self.pod.uid()
        );
        self.wait(
            spec,
            Waiting {
                reason: "CrashLoopBackOff",
                message,
            },
            at_ms,
        );
    }

    fn start(&mut self, spec: &Spec) {
        if let Some((waiting, at_ms)) = self.memory.failed_starts.get(&spec.name)
            && self.now_ms < *at_ms
        {
            self.wait(spec, waiting.clone(), *at_ms);
            return;
        }
        // A container that was created and not started (the agent died in between) is started now.
        let attempt = match self.instances.current(&spec.name) {
            Some(found) if found.run == Run::Created => found.attempt(),
            _ => self.instances.next_attempt(&spec.name),
        };
        self.plan.steps.push(Step::Start {
            name: spec.name.clone(),
            attempt,
        });
    }

    fn wait(&mut self, spec: &Spec, waiting: Waiting, until_ms: u64) {
        self.plan.waiting.insert(spec.name.clone(), waiting);
        let wake = self
            .plan
            .wake_ms
            .map_or(until_ms, |wake| wake.min(until_ms));
        self.plan.wake_ms = Some(wake);
    }
}

/// Whether a running container passed its startup probe, or has none.
pub fn is_started(spec: &Spec, running: &Container, memory: &Memory) -> bool {
    spec.startup_probe.is_none() || memory.started.contains(&running.id)
}

impl Restarts {
    /// When a container that ended at `finished_ms` may start again; `None` for now.
    fn not_before(self, finished_ms: u64, now_ms: u64) -> Option<u64> {
        if finished_ms.saturating_sub(self.updated_ms) > RESET_MS {
            return None;
        }
        let at_ms = finished_ms + self.delay_ms;
        (now_ms < at_ms).then_some(at_ms)
    }

    /// The waits after one more restart at `now_ms`.
    pub fn after_restart(previous: Option<Self>, now_ms: u64) -> Self {
        let delay_ms = match previous {
            Some(waits) if now_ms.saturating_sub(waits.updated_ms) <= RESET_MS => {
                (waits.delay_ms * 2).min(CAP_MS)
            }
            _ => FIRST_MS,
        };
        Self {
            delay_ms,
            updated_ms: now_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(policy: &str, spec: serde_json::Value) -> Pod {
        let mut pod = serde_json::json!({ "metadata": { "name": "p", "uid": "u" }, "spec": spec });
        pod["spec"]["restartPolicy"] = policy.into();
        serde_json::from_value(pod).unwrap()
    }

    fn instance(name: &str, attempt: u32, created_ms: u64, run: Run) -> Container {
        let labels = [
            (labels::CONTAINER, name),
            (labels::ATTEMPT, &attempt.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Container {
            id: format!("{name}-{attempt}"),
            name: name.into(),
            labels: labels.into(),
            run,
            pid: 1,
            image: String::new(),
            image_id: String::new(),
            stop_signal: "SIGTERM".into(),
            created_ms,
        }
    }

    fn exited(code: i32, finished_ms: u64) -> Run {
        Run::Exited {
            code,
            oom: false,
            started_ms: 1,
            finished_ms,
            error: String::new(),
        }
    }

    const RUNNING: Run = Run::Running { started_ms: 1 };

    fn sandbox(attempt: u32) -> Container {
        instance(
            labels::PAUSE,
            attempt,
            10 + u64::from(attempt) * 100,
            RUNNING,
        )
    }

    fn steps(pod: &Pod, containers: Vec<Container>, memory: &Memory, now_ms: u64) -> Vec<Step> {
        plan(pod, &Instances(containers), memory, now_ms).steps
    }

    fn start(name: &str, attempt: u32) -> Step {
        Step::Start {
            name: name.into(),
            attempt,
        }
    }

    #[test]
    fn sandbox_then_inits_in_order_then_all_containers() {
        let pod = pod(
            "Always",
            serde_json::json!({
                "initContainers": [{ "name": "i1" }, { "name": "i2" }],
                "containers": [{ "name": "a" }, { "name": "b" }],
            }),
        );
        let memory = Memory::default();
        let mut there = Vec::new();
        assert_eq!(
            steps(&pod, there.clone(), &memory, 20),
            [Step::NewSandbox { attempt: 0 }]
        );
        there.push(sandbox(0));
        assert_eq!(steps(&pod, there.clone(), &memory, 20), [start("i1", 0)]);
        there.push(instance("i1", 0, 20, RUNNING));
        assert_eq!(steps(&pod, there.clone(), &memory, 20), []);
        there[1].run = exited(0, 30);
        assert_eq!(steps(&pod, there.clone(), &memory, 30), [start("i2", 0)]);
        there.push(instance("i2", 0, 30, exited(0, 31)));
        assert_eq!(
            steps(&pod, there, &memory, 40),
            [start("a", 0), start("b", 0)]
        );
    }

    #[test]
    fn the_first_restart_is_immediate_then_waits_double() {
        let pod = pod(
            "Always",
            serde_json::json!({ "containers": [{ "name": "a" }] }),
        );
        let mut memory = Memory::default();
        let at = |attempt, finished_ms| {
            vec![
                sandbox(0),
                instance("a", attempt, 20, exited(1, finished_ms)),
            ]
        };
        assert_eq!(steps(&pod, at(0, 1000), &memory, 1000), [start("a", 1)]);
        memory
            .restarts
            .insert("a".into(), Restarts::after_restart(None, 1000));
        let waiting = plan(&pod, &Instances(at(1, 2000)), &memory, 2000);
        assert_eq!((waiting.steps.len(), waiting.wake_ms), (0, Some(12_000)));
        assert!(
            waiting.waiting["a"]
                .message
                .starts_with("back-off 10s restarting failed")
        );
        assert_eq!(steps(&pod, at(1, 2000), &memory, 12_000), [start("a", 2)]);
        let mut waits = memory.restarts["a"];
        for expected_s in [20, 40, 80, 160, 300, 300] {
            waits = Restarts::after_restart(Some(waits), waits.updated_ms + 1000);
            assert_eq!(waits.delay_ms, expected_s * 1000);
        }
        // Ten minutes without a crash forgive everything.
        let later = waits.updated_ms + RESET_MS + 1;
        assert_eq!(waits.not_before(later, later), None);
        assert_eq!(
            Restarts::after_restart(Some(waits), later).delay_ms,
            FIRST_MS
        );
    }

    #[test]
    fn restart_policies_decide_what_is_over() {
        let spec = serde_json::json!({ "containers": [{ "name": "a" }] });
        for (policy, code, over) in [
            ("Always", 0, false),
            ("OnFailure", 0, true),
            ("OnFailure", 1, false),
            ("Never", 0, true),
            ("Never", 1, true),
        ] {
            let pod = pod(policy, spec.clone());
            let there = Instances(vec![sandbox(0), instance("a", 0, 20, exited(code, 30))]);
            assert_eq!(
                is_over(&pod, &there, &Memory::default()),
                over,
                "{policy} {code}"
            );
            if over {
                let steps = plan(&pod, &there, &Memory::default(), 40).steps;
                assert!(
                    matches!(steps[..], [Step::EndSandbox { .. }]),
                    "{policy}: {steps:?}"
                );
            }
        }
    }

    #[test]
    fn a_lost_sandbox_takes_everything_down_and_up_again() {
        let pod = pod(
            "Always",
            serde_json::json!({ "containers": [{ "name": "a" }] }),
        );
        let memory = Memory::default();
        let mut dead = sandbox(0);
        dead.run = exited(137, 50);
        let there = vec![dead.clone(), instance("a", 0, 20, RUNNING)];
        assert!(matches!(
            steps(&pod, there, &memory, 60)[..],
            [Step::End { .. }]
        ));
        let there = vec![dead.clone(), instance("a", 0, 20, exited(137, 60))];
        assert_eq!(
            steps(&pod, there, &memory, 60),
            [Step::NewSandbox { attempt: 1 }]
        );
        let there = vec![dead, sandbox(1), instance("a", 0, 20, exited(137, 60))];
        assert_eq!(steps(&pod, there, &memory, 60), [start("a", 1)]);
    }

    #[test]
    fn sidecars_start_before_and_stay_beside_the_containers() {
        let pod = pod(
            "Never",
            serde_json::json!({
                "initContainers": [{ "name": "s", "restartPolicy": "Always" }, { "name": "i" }],
                "containers": [{ "name": "a" }],
            }),
        );
        let memory = Memory::default();
        let mut there = vec![sandbox(0)];
        assert_eq!(steps(&pod, there.clone(), &memory, 20), [start("s", 0)]);
        there.push(instance("s", 0, 20, RUNNING));
        assert_eq!(steps(&pod, there.clone(), &memory, 20), [start("i", 0)]);
        there.push(instance("i", 0, 20, exited(0, 21)));
        there.push(instance("a", 0, 20, RUNNING));
        there[1].run = exited(1, 30);
        assert_eq!(steps(&pod, there.clone(), &memory, 30), [start("s", 1)]);
        there[1].run = RUNNING;
        there[3].run = exited(0, 40);
        assert!(matches!(
            steps(&pod, there, &memory, 40)[..],
            [Step::End { .. }]
        ));
    }

    #[test]
    fn half_made_containers_are_finished_and_condemned_ones_ended() {
        let pod = pod(
            "Always",
            serde_json::json!({ "containers": [{ "name": "a" }] }),
        );
        let mut memory = Memory::default();
        let there = vec![sandbox(0), instance("a", 3, 20, Run::Created)];
        assert_eq!(steps(&pod, there, &memory, 20), [start("a", 3)]);
        memory.condemned.insert("a-0".into(), "unhealthy".into());
        let there = vec![sandbox(0), instance("a", 0, 20, RUNNING)];
        let end = Step::End {
            id: "a-0".into(),
            message: "unhealthy".into(),
        };
        assert_eq!(steps(&pod, there, &memory, 20), [end]);
    }
}
