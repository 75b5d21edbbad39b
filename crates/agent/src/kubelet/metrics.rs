//! `/metrics/resource` and `/metrics/cadvisor`, in Prometheus' text form and under upstream's names.

use std::fmt::Write as _;

use super::usage::{ContainerUsed, Usage};

/// What metrics-server reads.
pub fn resource(usage: &Usage) -> String {
    let mut text = String::new();
    head(
        &mut text,
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
    );
    let node = usage.node;
    line(
        &mut text,
        "node_cpu_usage_seconds_total",
        "",
        seconds(node.cpu_ns),
        node.at_ms,
    );
    head(
        &mut text,
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
    );
    let bytes = node.working_set_bytes.to_string();
    line(
        &mut text,
        "node_memory_working_set_bytes",
        "",
        bytes,
        node.at_ms,
    );
    containers(
        &mut text,
        usage,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        |it| seconds(it.used.cpu_ns),
    );
    containers(
        &mut text,
        usage,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        |it| it.used.working_set_bytes.to_string(),
    );
    text
}

/// What dashboards read.
pub fn cadvisor(usage: &Usage) -> String {
    let mut text = String::new();
    containers(
        &mut text,
        usage,
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        |it| seconds(it.used.cpu_ns),
    );
    containers(
        &mut text,
        usage,
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |it| it.used.memory_bytes.to_string(),
    );
    containers(
        &mut text,
        usage,
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set in bytes.",
        |it| it.used.working_set_bytes.to_string(),
    );
    text
}

fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a String does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: String, at_ms: u64) {
    let _ = writeln!(text, "{name}{labels} {value} {at_ms}");
}

fn containers(
    text: &mut String,
    usage: &Usage,
    name: &str,
    kind: &str,
    help: &str,
    value: fn(&ContainerUsed) -> String,
) {
    head(text, name, kind, help);
    for it in &usage.containers {
        // Names of objects need no escaping.
        let labels = format!(
            "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}",
            it.container, it.namespace, it.pod
        );
        line(text, name, &labels, value(it), it.used.at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_prometheus_text() {
        let mut usage = Usage::default();
        usage.node.cpu_ns = 1_500_000_000;
        usage.containers.push(ContainerUsed {
            pod: "web".into(),
            namespace: "a".into(),
            container: "main".into(),
            ..ContainerUsed::default()
        });
        let text = resource(&usage);
        assert!(
            text.contains("\nnode_cpu_usage_seconds_total 1.500000000 0\n"),
            "{text}"
        );
        let labels = "{container=\"main\",namespace=\"a\",pod=\"web\"}";
        assert!(text.contains(&format!(
            "\ncontainer_memory_working_set_bytes{labels} 0 0\n"
        )));
    }
}
