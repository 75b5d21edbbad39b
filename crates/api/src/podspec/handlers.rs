//! Validation of probes and lifecycle handlers.

use k8s_openapi::api::core::v1::{
    ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction,
    TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names;
use super::path::{Errors, Given, Path};

#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

/// Checks the three probes and the lifecycle of a container that may have them.
pub fn container_handlers(
    errors: &mut Errors,
    at: &Path<'_>,
    container: &k8s_openapi::api::core::v1::Container,
    grace_seconds: Option<i64>,
) {
    if let Some(lifecycle) = &container.lifecycle {
        validate_lifecycle(errors, &at.child("lifecycle"), lifecycle, grace_seconds);
    }
    if let Some(probe) = &container.liveness_probe {
        validate_probe(errors, &at.child("livenessProbe"), probe);
        success_must_be_one(errors, &at.child("livenessProbe"), probe);
    }
    if let Some(probe) = &container.readiness_probe {
        let at = at.child("readinessProbe");
        validate_probe(errors, &at, probe);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let at = at.child("terminationGracePeriodSeconds");
            errors.invalid(at, seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        validate_probe(errors, &at.child("startupProbe"), probe);
        success_must_be_one(errors, &at.child("startupProbe"), probe);
    }
}

fn success_must_be_one(errors: &mut Errors, at: &Path<'_>, probe: &Probe) {
    let threshold = probe.success_threshold.unwrap_or_default();
    if threshold != 1 {
        errors.invalid(at.child("successThreshold"), threshold, "must be 1");
    }
}

fn validate_probe(errors: &mut Errors, at: &Path<'_>, probe: &Probe) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    validate_handler(errors, at, &handler, None);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        errors.nonnegative_if(at.child(name), value);
    }
    if let Some(seconds) = probe.termination_grace_period_seconds
        && seconds <= 0
    {
        let at = at.child("terminationGracePeriodSeconds");
        errors.invalid(at, seconds, "must be greater than 0");
    }
}

fn validate_lifecycle(
    errors: &mut Errors,
    at: &Path<'_>,
    lifecycle: &Lifecycle,
    grace_seconds: Option<i64>,
) {
    for (name, handler) in [
        ("postStart", &lifecycle.post_start),
        ("preStop", &lifecycle.pre_stop),
    ] {
        if let Some(handler) = handler {
            let handler = from_lifecycle(handler);
            validate_handler(errors, &at.child(name), &handler, grace_seconds);
        }
    }
}

fn from_lifecycle(handler: &LifecycleHandler) -> Handler<'_> {
    Handler {
        exec: handler.exec.as_ref(),
        http_get: handler.http_get.as_ref(),
        tcp_socket: handler.tcp_socket.as_ref(),
        grpc: None,
        sleep: handler.sleep.as_ref(),
    }
}

fn validate_handler(
    errors: &mut Errors,
    at: &Path<'_>,
    handler: &Handler<'_>,
    grace_seconds: Option<i64>,
) {
    let mut n_handlers = 0;
    // True for the first handler; any further one is refused by name.
    let mut first = |errors: &mut Errors, name: &str| {
        n_handlers += 1;
        if n_handlers > 1 {
            errors.forbidden(at.child(name), "may not specify more than 1 handler type");
        }
        n_handlers == 1
    };
    if let Some(exec) = handler.exec
        && first(errors, "exec")
        && exec.command.given().is_empty()
    {
        errors.required(at.child("exec.command"), "");
    }
    if let Some(action) = handler.http_get
        && first(errors, "httpGet")
    {
        validate_http_get(errors, &at.child("httpGet"), action);
    }
    if let Some(action) = handler.tcp_socket
        && first(errors, "tcpSocket")
    {
        port(errors, at.child("tcpSocket.port"), &action.port);
    }
    if let Some(action) = handler.grpc
        && first(errors, "grpc")
    {
        port(
            errors,
            at.child("grpc.port"),
            &IntOrString::Int(action.port),
        );
    }
    if let Some(sleep) = handler.sleep
        && first(errors, "sleep")
        && let Some(grace) = grace_seconds
        && !(0..=grace).contains(&sleep.seconds)
    {
        let detail =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(at.child("sleep"), sleep.seconds, detail);
    }
    if n_handlers == 0 {
        errors.required(*at, "must specify a handler type");
    }
}

fn validate_http_get(errors: &mut Errors, at: &Path<'_>, action: &HTTPGetAction) {
    if action.path.given().is_empty() {
        errors.required(at.child("path"), "");
    }
    port(errors, at.child("port"), &action.port);
    errors.one_of_if(
        at.child("scheme"),
        Some(action.scheme.given()),
        &["HTTP", "HTTPS"],
    );
    for header in action.http_headers.given() {
        let messages = names::http_header(&header.name);
        errors.invalid_each(at.child("httpHeaders"), &header.name, messages);
    }
}

/// A port's number or name.
pub fn port(errors: &mut Errors, at: Path<'_>, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => {
            for message in names::port_number(*number) {
                errors.invalid(at, *number, message);
            }
        }
        IntOrString::String(name) => errors.invalid_each(at, name, names::port_name(name)),
    }
}
