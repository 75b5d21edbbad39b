//! Probes: one small task per container and probe, which reports when the verdict changes.
//!
//! Thresholds, delays and periods are upstream's. HTTPS and gRPC probes only connect for now: the certificate or the
//! health service behind is not asked.

pub mod check;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use kontiki_base::metrics::METRICS;
use kontiki_base::task::{TaskKind, spawn};
use tokio::task::JoinHandle;

use crate::node::Node;
use crate::worker::mailbox::Mailbox;

/// A container that starts is looked at this often, however long the period of its probe.
const EARLY: Duration = Duration::from_secs(1);

/// A process gets so long to listen before it is asked whether it is ready.
const SETTLE: Duration = Duration::from_millis(100);

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Whether the container has come up; the others wait for it.
    Startup,
    /// Whether it takes traffic.
    Readiness,
    /// Whether it lives.
    Liveness,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Startup, Kind::Readiness, Kind::Liveness];

    /// The word in events.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        }
    }

    /// The probe of a container.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// A verdict that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Container (engine's id).
    pub container_id: String,
    /// Which probe.
    pub kind: Kind,
    /// Good or bad.
    pub good: bool,
}

/// What is probed.
pub struct Subject {
    /// The node.
    pub node: Arc<Node>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container.
    pub container: Container,
    /// Its id.
    pub container_id: String,
    /// When it started.
    pub started_ms: u64,
    /// The pod's address.
    pub pod_ip: String,
    /// Whether it was found ready before (an agent that restarts takes nobody out of service).
    pub was_good: bool,
}

/// A running probe; dropping it ends it.
pub struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a probe that reports to `mailbox`.
pub fn start(subject: Subject, kind: Kind, probe: Probe, mailbox: Arc<Mailbox>) -> Running {
    Running(spawn(TaskKind::Probe, run(subject, kind, probe, mailbox)))
}

async fn run(subject: Subject, kind: Kind, probe: Probe, mailbox: Arc<Mailbox>) {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(
            value
                .filter(|value| *value > 0)
                .map_or(default, |value| value as u64),
        )
    };
    let threshold = |value: Option<i32>, default: u32| {
        value
            .filter(|value| *value > 0)
            .map_or(default, |value| value as u32)
    };
    let period = seconds(probe.period_seconds, 10);
    let timeout = seconds(probe.timeout_seconds, 1);
    let failures = threshold(probe.failure_threshold, 3);
    let successes = threshold(probe.success_threshold, 1);
    let age = || Duration::from_millis(subject.node.now_ms().saturating_sub(subject.started_ms));
    let delay = first_check(kind, seconds(probe.initial_delay_seconds, 0), period);
    tokio::time::sleep(delay.saturating_sub(age())).await;

    let mut good = if subject.was_good { Some(true) } else { None };
    let (mut in_a_row, mut last) = (0, None);
    loop {
        let result = tokio::time::timeout(timeout, check::once(&subject, &probe)).await;
        let outcome = result.unwrap_or_else(|_| {
            Err(format!(
                "command timed out or no answer after {}s",
                timeout.as_secs()
            ))
        });
        let ok = outcome.is_ok();
        in_a_row = if last == Some(ok) { in_a_row + 1 } else { 1 };
        last = Some(ok);
        if let Err(message) = outcome {
            METRICS.agent_probe_failures_total.inc();
            let text = format!("{} probe failed: {message}", kind.word());
            let name = Some(subject.container.name.as_str());
            subject
                .node
                .events
                .warning(&subject.pod, name, "Unhealthy", &text);
        }
        if in_a_row >= if ok { successes } else { failures } && good != Some(ok) {
            good = Some(ok);
            let container_id = subject.container_id.clone();
            mailbox.verdict(Verdict {
                container_id,
                kind,
                good: ok,
            });
            // These have said all that they have to say.
            if kind == Kind::Startup || (kind == Kind::Liveness && !ok) {
                return;
            }
        }
        let starting = kind == Kind::Readiness && good.is_none() && age() < period;
        let pause = if starting { EARLY.min(period) } else { period };
        tokio::time::sleep(pause).await;
    }
}

/// How long after its start a container is checked first.
///
/// Upstream's probes tick from the moment the pod is added, long before its process runs: what may kill is asked at the
/// first tick thereafter, only readiness at once (and again with each look at the pod while it starts).
fn first_check(kind: Kind, delay: Duration, period: Duration) -> Duration {
    match kind {
        Kind::Liveness => delay.max(period),
        Kind::Startup => delay.max(period.min(EARLY)),
        Kind::Readiness => delay.max(SETTLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_probe_that_kills_runs_before_its_first_tick() {
        let s = Duration::from_secs;
        assert_eq!(first_check(Kind::Liveness, s(0), s(10)), s(10));
        assert_eq!(first_check(Kind::Liveness, s(30), s(10)), s(30));
        assert_eq!(first_check(Kind::Startup, s(0), s(10)), s(1));
        assert_eq!(first_check(Kind::Readiness, s(0), s(10)), SETTLE);
        assert_eq!(first_check(Kind::Readiness, s(3), s(10)), s(3));
    }
}
