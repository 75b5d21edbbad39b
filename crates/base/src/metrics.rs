//! The metric catalog: each metric is one line here, and nowhere else spells its name.
//!
//! Plain atomics and Prometheus' text format: no registry, no labels taken from a URL (CVE-2020-8552's lesson). Families
//! with labels take them from the names of objects, keep Kubernetes' own names, and are bounded.

mod family;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

pub use family::{Family, Histogram};

/// A number that only grows, or a gauge that is set.
#[derive(Debug, Default)]
pub struct Metric(AtomicU64);

impl Metric {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away, for gauges.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets, for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! families {
    ($($field:ident $cell:ident $kind:literal $name:literal [$($label:literal),*] $help:literal,)*) => {
        /// All families of a process.
        #[derive(Debug)]
        pub struct Families { $(#[doc = $help] pub $field: Family<$cell>,)* }

        /// The process's families.
        pub static FAMILIES: Families = Families {
            $($field: Family::new($name, $kind, $help, &[$($label),*]),)*
        };

        impl Families {
            fn render(&self, text: &mut String) {
                $(self.$field.render(text);)*
            }
        }
    };
}

families! {
    flow_dispatched Metric "counter" "apiserver_flowcontrol_dispatched_requests_total" ["priority_level", "flow_schema"]
        "Requests that flow control let through.",
    flow_rejected Metric "counter" "apiserver_flowcontrol_rejected_requests_total" ["priority_level", "flow_schema", "reason"]
        "Requests that flow control refused.",
    flow_executing Metric "gauge" "apiserver_flowcontrol_current_executing_requests" ["priority_level", "flow_schema"]
        "Requests that are served now, long ones until their start.",
    flow_seats Metric "gauge" "apiserver_flowcontrol_current_executing_seats" ["priority_level"]
        "Seats taken now.",
    flow_inqueue Metric "gauge" "apiserver_flowcontrol_current_inqueue_requests" ["priority_level", "flow_schema"]
        "Requests that wait now.",
    flow_wait Histogram "histogram" "apiserver_flowcontrol_request_wait_duration_seconds" ["priority_level", "flow_schema", "execute"]
        "How long requests waited for a seat, and whether they got one.",
    flow_nominal Metric "gauge" "apiserver_flowcontrol_nominal_limit_seats" ["priority_level"]
        "Seats that are a level's by its shares.",
    flow_lower Metric "gauge" "apiserver_flowcontrol_lower_limit_seats" ["priority_level"]
        "Seats that a level never lends.",
    flow_upper Metric "gauge" "apiserver_flowcontrol_upper_limit_seats" ["priority_level"]
        "Seats that a level may have with what others lend.",
}

macro_rules! catalog {
    ($($field:ident $kind:literal $help:literal,)*) => {
        /// All metrics of a process.
        #[derive(Debug)]
        pub struct Metrics { $(#[doc = $help] pub $field: Metric,)* }

        /// The process's metrics.
        pub static METRICS: Metrics = Metrics { $($field: Metric(AtomicU64::new(0)),)* };

        /// Names (without prefix), types and help of all metrics.
        pub const CATALOG: &[(&str, &str, &str)] = &[$((stringify!($field), $kind, $help),)*];

        impl Metrics {
            /// Prometheus' text exposition of all metrics.
            pub fn render(&self) -> String {
                let mut text = String::new();
                $(
                    let name = concat!("kontiki_", stringify!($field));
                    let _ = writeln!(text, "# HELP {name} {}", $help);
                    let _ = writeln!(text, "# TYPE {name} {}", $kind);
                    let _ = writeln!(text, "{name} {}", self.$field.get());
                )*
                FAMILIES.render(&mut text);
                text
            }
        }
    };
}

catalog! {
    api_requests_total "counter" "REST and gRPC requests answered.",
    api_errors_total "counter" "Requests answered with a server error.",
    api_throttled_total "counter" "Requests refused with 429.",
    audit_events_total "counter" "Records made for the audit log.",
    audit_dropped_total "counter" "Records dropped because the audit log did not keep up.",
    audit_errors_total "counter" "Failures to write the audit log.",
    watches "gauge" "Watches open on this replica.",
    gateway_forwarded_total "counter" "Requests that this gateway passed on to a replica.",
    gateway_unreachable_total "counter" "Times that this gateway left a replica because it could not be reached.",
    gateway_rings "gauge" "Kinds that this gateway follows for its watchers.",
    watch_events_total "counter" "Watch events sent.",
    proposals_total "counter" "Proposals committed for this replica's clients.",
    proposals_refused_total "counter" "Proposals refused because a lane was full.",
    entries_total "counter" "Log entries applied.",
    operations_total "counter" "Operations applied.",
    log_syncs_total "counter" "Syncs of the log.",
    log_bytes_total "counter" "Bytes appended to the log.",
    snapshots_total "counter" "Snapshots built.",
    snapshots_installed_total "counter" "Snapshots installed.",
    leader "gauge" "1 on the leader.",
    term "gauge" "Raft term.",
    applied_index "gauge" "Last log index applied.",
    revision "gauge" "Store revision.",
    sessions "gauge" "Agents' sessions on this replica.",
    heartbeats_total "counter" "Heartbeats received.",
    statuses_total "counter" "Pod statuses received.",
    assignments_total "counter" "Assignment changes sent.",
    tunnels "gauge" "Tunnels open on this replica.",
    bindings_total "counter" "Pods bound.",
    pods_unschedulable "gauge" "Pods that fit no node now.",
    reconciles_total "counter" "Controller reconciles.",
    reconcile_errors_total "counter" "Controller reconciles that failed and were queued again.",
    fenced_total "counter" "Proposals refused by the term fence.",
    agent_pods "gauge" "Pods on this node.",
    agent_containers_started_total "counter" "Containers started.",
    agent_container_restarts_total "counter" "Containers restarted.",
    agent_probe_failures_total "counter" "Failed probes.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_catalog_is_rendered_once() {
        METRICS.leader.set(1);
        let text = METRICS.render();
        assert!(text.contains("kontiki_leader 1\n"));
        for (name, kind, _) in CATALOG {
            assert_eq!(
                text.matches(&format!("# TYPE kontiki_{name} {kind}\n"))
                    .count(),
                1
            );
        }
    }
}
