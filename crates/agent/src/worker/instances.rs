//! A pod's containers as the engine has them, by container name and attempt.

use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use kontiki_runtime::{Container, Run, labels};

use crate::pod::{PodExt as _, is_sidecar};

/// What our labels say about a container.
pub trait Instance {
    /// Name within the pod; `POD` for the pause container.
    fn container(&self) -> &str;
    /// 0 for the first start.
    fn attempt(&self) -> u32;
    /// Whether it is the pause container.
    fn is_pause(&self) -> bool;
    /// Exit code, once it ended.
    fn exit_code(&self) -> Option<i32>;
}

impl Instance for Container {
    fn container(&self) -> &str {
        self.labels
            .get(labels::CONTAINER)
            .map_or("", String::as_str)
    }

    fn attempt(&self) -> u32 {
        self.labels
            .get(labels::ATTEMPT)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    fn is_pause(&self) -> bool {
        self.container() == labels::PAUSE
    }

    fn exit_code(&self) -> Option<i32> {
        if let Run::Exited { code, .. } = self.run {
            Some(code)
        } else {
            None
        }
    }
}

/// All containers of a pod.
#[derive(Debug, Clone, Default)]
pub struct Instances(pub Vec<Container>);

impl Instances {
    /// The newest of a name.
    pub fn newest(&self, name: &str) -> Option<&Container> {
        self.of(name).max_by_key(|found| found.attempt())
    }

    /// The newest of a name that ended, other than `but`.
    pub fn last_ended(&self, name: &str, but: Option<&str>) -> Option<&Container> {
        self.of(name)
            .filter(|found| found.exit_code().is_some() && Some(found.id.as_str()) != but)
            .max_by_key(|found| found.attempt())
    }

    fn of<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Container> + use<'a, 'n> {
        self.0.iter().filter(move |found| found.container() == name)
    }

    /// The newest pause container.
    pub fn sandbox(&self) -> Option<&Container> {
        self.newest(labels::PAUSE)
    }

    /// The newest pause container, when it runs.
    pub fn running_sandbox(&self) -> Option<&Container> {
        self.sandbox().filter(|sandbox| sandbox.run.is_running())
    }

    /// The newest of a name that lives in the present sandbox.
    pub fn current(&self, name: &str) -> Option<&Container> {
        let since = self.running_sandbox()?.created_ms;
        self.newest(name).filter(|found| found.created_ms >= since)
    }

    /// Running containers, the pause container aside.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.0
            .iter()
            .filter(|found| found.run.is_running() && !found.is_pause())
    }

    /// Number for the next start of a name.
    pub fn next_attempt(&self, name: &str) -> u32 {
        self.newest(name).map_or(0, |newest| newest.attempt() + 1)
    }

    /// Ended containers that nobody needs: all but the last two of a name, all but the newest pause.
    pub fn superfluous(&self) -> Vec<String> {
        let newer = |than: &Container| {
            self.of(than.container())
                .filter(|other| other.attempt() > than.attempt())
                .count()
        };
        let unneeded = self.0.iter().filter(|found| {
            found.exit_code().is_some() && newer(found) >= if found.is_pause() { 1 } else { 2 }
        });
        unneeded.map(|found| found.id.clone()).collect()
    }
}

/// Whether every init container that has to end did so well, and every sidecar runs.
pub fn initialized(pod: &Pod, instances: &Instances) -> bool {
    let started = |spec: &Spec| instances.current(&spec.name).is_some();
    if pod.spec().containers.iter().any(started) {
        return true;
    }
    pod.inits().iter().all(|init| {
        let found = instances.newest(&init.name);
        if is_sidecar(init) {
            found.is_some_and(|found| found.run.is_running())
        } else {
            found.and_then(Instance::exit_code) == Some(0)
        }
    })
}
