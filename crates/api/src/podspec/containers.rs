//! Validation of the lists of containers: regular, init and ephemeral ones.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerResizePolicy, EphemeralContainer, PodSpec,
};
use serde_json::Value;

use super::path::{Errors, Given, Path};
use super::{env, handlers, mounts, names, resources, security};
use crate::podspec::volumes::Volumes;

const MORE_FIELDS_FORBIDDEN: &str = "cannot be set for an Ephemeral Container";

/// What the rules of one container need to know of its pod.
pub struct Surroundings<'a> {
    /// The pod's spec.
    pub spec: &'a PodSpec,
    /// Its volumes by name.
    pub volumes: Volumes<'a>,
}

impl Surroundings<'_> {
    fn host_users(&self) -> bool {
        self.spec.host_users.unwrap_or(true)
    }
}

/// Checks all containers of a pod spec at `at`.
pub fn validate(errors: &mut Errors, at: &Path<'_>, around: &Surroundings<'_>) {
    regular(errors, &at.child("containers"), around);
    init(errors, &at.child("initContainers"), around);
    ephemeral(errors, &at.child("ephemeralContainers"), around);
}

fn regular(errors: &mut Errors, at: &Path<'_>, around: &Surroundings<'_>) {
    let containers = &around.spec.containers;
    if containers.is_empty() {
        return errors.required(*at, "");
    }
    let mut seen = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let at = at.index(i);
        common(errors, &at, container, around);
        if !seen.insert(container.name.as_str()) {
            errors.duplicate(at.child("name"), container.name.as_str());
        }
        let grace_seconds = around.spec.termination_grace_period_seconds;
        handlers::container_handlers(errors, &at, container, grace_seconds);
        restart_policy(errors, &at, container);
    }
    host_port_conflicts(errors, at, containers.iter().enumerate());
}

/// Policies of regular containers came with 1.34: any policy, and rules by exit code.
fn restart_policy(errors: &mut Errors, at: &Path<'_>, container: &Container) {
    let policy = container.restart_policy.as_deref();
    errors.one_of_if(
        at.child("restartPolicy"),
        policy,
        &["Always", "Never", "OnFailure"],
    );
    let rules = container.restart_policy_rules.given();
    let rules_at = at.child("restartPolicyRules");
    if !rules.is_empty() && policy.is_none() {
        errors.required(
            at.child("restartPolicy"),
            "must specify restartPolicy when restart rules are used",
        );
    }
    if rules.len() > 20 {
        errors.too_many(rules_at, rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = rules_at.index(i);
        errors.one_of(at.child("action"), &rule.action, &["Restart"]);
        let Some(codes) = &rule.exit_codes else {
            errors.required(at.child("exitCodes"), "must be specified");
            continue;
        };
        errors.one_of(
            at.child("exitCodes.operator"),
            &codes.operator,
            &["In", "NotIn"],
        );
        if codes.values.given().len() > 255 {
            errors.too_many(
                at.child("exitCodes.values"),
                codes.values.given().len(),
                255,
            );
        }
    }
}

fn init(errors: &mut Errors, at: &Path<'_>, around: &Surroundings<'_>) {
    let mut seen: BTreeSet<&str> = around
        .spec
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    for (i, container) in around.spec.init_containers.given().iter().enumerate() {
        let at_item = at.index(i);
        common(errors, &at_item, container, around);
        restart_policy(errors, &at_item, container);
        if !container.name.is_empty() && !seen.insert(&container.name) {
            errors.duplicate(at_item.child("name"), container.name.as_str());
        }
        // They run one by one, so that each is looked at alone.
        host_port_conflicts(errors, at, std::iter::once((0, container)));
        if container.restart_policy.given() == "Always" {
            let grace_seconds = around.spec.termination_grace_period_seconds;
            handlers::container_handlers(errors, &at_item, container, grace_seconds);
            continue;
        }
        for (name, is_set) in [
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ] {
            if is_set {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(at_item.child(name), detail);
            }
        }
    }
}

fn ephemeral(errors: &mut Errors, at: &Path<'_>, around: &Surroundings<'_>) {
    let spec = around.spec;
    let others: BTreeSet<&str> = (spec.containers.iter())
        .chain(spec.init_containers.given())
        .map(|container| container.name.as_str())
        .collect();
    let mut all = others.clone();
    for (i, container) in spec.ephemeral_containers.given().iter().enumerate() {
        let at = at.index(i);
        let plain = as_container(container);
        common(errors, &at, &plain, around);
        image_padding(errors, &at, container.image.given());
        if !all.insert(&container.name) {
            errors.duplicate(at.child("name"), container.name.as_str());
        }
        let target = container.target_container_name.given();
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(at.child("targetContainerName"), target);
        }
        for (name, is_set) in [
            ("ports", !container.ports.given().is_empty()),
            (
                "resources",
                plain.resources.is_some_and(|r| r != Default::default()),
            ),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
            ("lifecycle", container.lifecycle.is_some()),
            ("resizePolicy", !container.resize_policy.given().is_empty()),
            ("restartPolicy", container.restart_policy.is_some()),
        ] {
            if is_set {
                errors.forbidden(at.child(name), MORE_FIELDS_FORBIDDEN);
            }
        }
        for (i, mount) in container.volume_mounts.given().iter().enumerate() {
            let at = at.child("volumeMounts");
            if !mount.sub_path.given().is_empty() {
                errors.forbidden(at.index(i).child("subPath"), MORE_FIELDS_FORBIDDEN);
            }
            if !mount.sub_path_expr.given().is_empty() {
                errors.forbidden(at.index(i).child("subPathExpr"), MORE_FIELDS_FORBIDDEN);
            }
        }
    }
}

/// The two types differ by one field, which is dropped here.
fn as_container(container: &EphemeralContainer) -> Container {
    let value = serde_json::to_value(container).unwrap_or(Value::Null);
    super::json::typed(Some(&value))
}

fn common(errors: &mut Errors, at: &Path<'_>, container: &Container, around: &Surroundings<'_>) {
    if container.name.is_empty() {
        errors.required(at.child("name"), "");
    } else {
        let messages = names::dns1123_label(&container.name);
        errors.invalid_each(at.child("name"), &container.name, messages);
    }
    if container.image.given().is_empty() {
        errors.required(at.child("image"), "");
    }
    errors.one_of(
        at.child("terminationMessagePolicy"),
        container.termination_message_policy.given(),
        &["File", "FallbackToLogsOnError"],
    );
    ports(errors, &at.child("ports"), container.ports.given());
    env::validate(errors, at, container, &around.volumes);
    mounts::validate(errors, at, container, &around.volumes);
    errors.one_of(
        at.child("imagePullPolicy"),
        container.image_pull_policy.given(),
        &["Always", "IfNotPresent", "Never"],
    );
    if let Some(requirements) = &container.resources {
        let claims = around.spec.resource_claims.given();
        resources::validate(errors, &at.child("resources"), requirements, claims);
    }
    let policies = container.resize_policy.given();
    resize_policy(errors, &at.child("resizePolicy"), policies, around.spec);
    if let Some(context) = &container.security_context {
        let at = at.child("securityContext");
        security::container(errors, &at, context, around.host_users());
    }
}

/// Pods refuse blanks around an image; templates have always taken them.
pub fn image_padding(errors: &mut Errors, at: &Path<'_>, image: &str) {
    if image.trim().len() != image.len() {
        errors.invalid(
            at.child("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
}

fn ports(errors: &mut Errors, at: &Path<'_>, ports: &[ContainerPort]) {
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        let name = port.name.given();
        if !name.is_empty() {
            let messages = names::port_name(name);
            if messages.is_empty() && !seen.insert(name) {
                errors.duplicate(at.child("name"), name);
            }
            errors.invalid_each(at.child("name"), name, messages);
        }
        if port.container_port == 0 {
            errors.required(at.child("containerPort"), "");
        } else {
            port_number(errors, at.child("containerPort"), port.container_port);
        }
        if let Some(host_port) = port.host_port.filter(|port| *port != 0) {
            port_number(errors, at.child("hostPort"), host_port);
        }
        let protocol = port.protocol.given();
        errors.one_of(at.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
    }
}

fn port_number(errors: &mut Errors, at: Path<'_>, port: i32) {
    for message in names::port_number(port) {
        errors.invalid(at, port, message);
    }
}

fn host_port_conflicts<'a>(
    errors: &mut Errors,
    at: &Path<'_>,
    containers: impl Iterator<Item = (usize, &'a Container)>,
) {
    let mut seen = BTreeSet::new();
    for (i, container) in containers {
        for (j, port) in container.ports.given().iter().enumerate() {
            let Some(host_port) = port.host_port.filter(|port| *port != 0) else {
                continue;
            };
            let key = format!(
                "{}/{}/{host_port}",
                port.protocol.given(),
                port.host_ip.given()
            );
            if seen.contains(&key) {
                let at = at.index(i);
                let at = at.child("ports");
                errors.duplicate(at.index(j).child("hostPort"), key);
            } else {
                seen.insert(key);
            }
        }
    }
}

fn resize_policy(
    errors: &mut Errors,
    at: &Path<'_>,
    policies: &[ContainerResizePolicy],
    spec: &PodSpec,
) {
    let mut seen = BTreeSet::new();
    for (i, policy) in policies.iter().enumerate() {
        if !seen.insert(policy.resource_name.as_str()) {
            errors.duplicate(at.index(i), policy.resource_name.as_str());
        }
        errors.one_of(*at, &policy.resource_name, &["cpu", "memory"]);
        errors.one_of(
            *at,
            &policy.restart_policy,
            &["NotRequired", "RestartContainer"],
        );
        if spec.restart_policy.given() == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(*at, policy.restart_policy.as_str(), detail);
        }
    }
}
