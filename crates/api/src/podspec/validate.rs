//! Validation of a pod spec as a whole, and of a pod template (upstream `ValidatePodSpec`, `ValidatePodTemplateSpec`).

use k8s_openapi::api::core::v1::{
    HostAlias, PodDNSConfig, PodResourceClaim, PodSpec, PodTemplateSpec,
};

use super::containers::{self, Surroundings};
use super::path::{Errors, Given, Path, to_value};
use super::{names, placement, security, volumes};

/// Checks the spec at `at`. `pod` is the pod's name when the spec is a pod's own, none within a template.
pub fn pod_spec(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec, pod: Option<&str>) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.required(at.child("terminationGracePeriodSeconds"), "");
    }
    let given = spec.volumes.given();
    let known = volumes::validate(errors, &at.child("volumes"), given, pod.unwrap_or_default());
    claims(
        errors,
        &at.child("resourceClaims"),
        spec.resource_claims.given(),
    );
    containers::validate(
        errors,
        at,
        &Surroundings {
            spec,
            volumes: known,
        },
    );
    host_network_ports(errors, at, spec, pod.is_some());
    words(errors, at, spec);
    names::labels(
        errors,
        &at.child("nodeSelector"),
        spec.node_selector.as_ref(),
    );
    if let Some(context) = &spec.security_context {
        security::pod(errors, &at.child("securityContext"), context, spec);
    }
    if let Some(affinity) = &spec.affinity {
        placement::affinity(errors, &at.child("affinity"), affinity);
    }
    dns(
        errors,
        &at.child("dnsConfig"),
        spec.dns_config.as_ref(),
        spec.dns_policy.given(),
    );
    gates(errors, at, spec);
    let constraints = spec.topology_spread_constraints.given();
    placement::spread(errors, &at.child("topologySpreadConstraints"), constraints);
    host_users(errors, at, spec);
    references(errors, at, spec);
    placement::tolerations(errors, &at.child("tolerations"), spec.tolerations.given());
    host_aliases(errors, &at.child("hostAliases"), spec.host_aliases.given());
    if let Some(os) = &spec.os {
        if os.name.is_empty() {
            errors.required(at.child("os.name"), "cannot be empty");
        } else {
            errors.one_of_if(at.child("os"), Some(&os.name), &["linux", "windows"]);
        }
    }
}

/// Checks the template at `at`.
pub fn template(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec) {
    let none = Default::default();
    let metadata = template.metadata.as_ref().unwrap_or(&none);
    // Upstream names these without `metadata`.
    names::labels(errors, &at.child("labels"), metadata.labels.as_ref());
    names::annotations(
        errors,
        &at.child("annotations"),
        metadata.annotations.as_ref(),
    );
    let none = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&none);
    pod_spec(errors, &at.child("spec"), spec, None);
    if !spec.ephemeral_containers.given().is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(at.child("spec.ephemeralContainers"), detail);
    }
}

fn claims(errors: &mut Errors, at: &Path<'_>, claims: &[PodResourceClaim]) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let at = at.index(i);
        if claim.name.is_empty() {
            errors.required(at.child("name"), "");
        } else if !seen.insert(claim.name.as_str()) {
            errors.duplicate(at.child("name"), claim.name.as_str());
        } else {
            errors.invalid_each(
                at.child("name"),
                &claim.name,
                names::dns1123_label(&claim.name),
            );
        }
        let detail = match (
            &claim.resource_claim_name,
            &claim.resource_claim_template_name,
        ) {
            (Some(_), Some(_)) => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => continue,
        };
        errors.invalid(at, to_value(claim), detail);
    }
}

/// With the host's network a container's port is the host's; a template may leave that to the pod's defaults.
fn host_network_ports(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec, is_pod: bool) {
    if !spec.host_network.unwrap_or_default() {
        return;
    }
    let list = at.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let at = list.index(i);
        let ports_at = at.child("ports");
        for (j, port) in container.ports.given().iter().enumerate() {
            let host_port = port.host_port.unwrap_or_default();
            if (is_pod || host_port != 0) && host_port != port.container_port {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(ports_at.index(j).child("hostPort"), host_port, detail);
            }
        }
    }
}

fn words(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    errors.one_of(
        at.child("restartPolicy"),
        spec.restart_policy.given(),
        &["Always", "OnFailure", "Never"],
    );
    errors.one_of(
        at.child("dnsPolicy"),
        spec.dns_policy.given(),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    if let Some(policy) = spec.preemption_policy.as_deref() {
        let supported = &["PreemptLowerPriority", "Never"];
        errors.one_of(at.child("preemptionPolicy"), policy, supported);
    }
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.invalid(at.child("activeDeadlineSeconds"), seconds, detail);
    }
}

fn references(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    for (field, value) in [
        ("serviceAccountName", spec.service_account_name.given()),
        ("nodeName", spec.node_name.given()),
        ("priorityClassName", spec.priority_class_name.given()),
        ("runtimeClassName", spec.runtime_class_name.given()),
    ] {
        if !value.is_empty() {
            errors.invalid_each(at.child(field), value, names::dns1123_subdomain(value));
        }
    }
    for (field, value) in [
        ("hostname", spec.hostname.given()),
        ("subdomain", spec.subdomain.given()),
    ] {
        if !value.is_empty() {
            errors.invalid_each(at.child(field), value, names::dns1123_label(value));
        }
    }
    if let Some(name) = spec.hostname_override.as_deref() {
        let at = at.child("hostnameOverride");
        errors.invalid_each(at, name, names::dns1123_subdomain(name));
        if name.len() > 64 {
            errors.too_long(at, 64);
        }
        for (set, with) in [
            (spec.host_network.unwrap_or_default(), "hostNetwork is true"),
            (
                spec.set_hostname_as_fqdn.unwrap_or_default(),
                "setHostnameAsFQDN is true",
            ),
        ] {
            if set {
                errors.forbidden(at, format!("may not be specified when {with}"));
            }
        }
    }
}

fn gates(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    let list = at.child("readinessGates");
    for (i, gate) in spec.readiness_gates.given().iter().enumerate() {
        let item = list.index(i);
        let kind = &gate.condition_type;
        errors.invalid_each(
            item.child("conditionType"),
            kind,
            names::qualified_name(kind),
        );
    }
    let list = at.child("schedulingGates");
    let mut seen = std::collections::BTreeSet::new();
    for (i, gate) in spec.scheduling_gates.given().iter().enumerate() {
        errors.invalid_each(list.index(i), &gate.name, names::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.duplicate(list.index(i), gate.name.as_str());
        }
    }
}

fn dns(errors: &mut Errors, at: &Path<'_>, config: Option<&PodDNSConfig>, policy: &str) {
    if policy == "None" {
        let Some(config) = config else {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            return errors.required(*at, detail);
        };
        if config.nameservers.given().is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required(at.child("nameservers"), detail);
        }
    }
    let Some(config) = config else { return };
    let (servers, searches) = (config.nameservers.given(), config.searches.given());
    let (servers_at, searches_at) = (at.child("nameservers"), at.child("searches"));
    if servers.len() > 3 {
        errors.invalid(servers_at, servers, "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        names::ip(errors, servers_at.index(i), server);
    }
    if searches.len() > 32 {
        errors.invalid(
            searches_at,
            searches,
            "must not have more than 32 search paths",
        );
    }
    if searches.join(" ").len() > 2048 {
        let detail =
            "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(searches_at, searches, detail);
    }
    for (i, search) in searches
        .iter()
        .enumerate()
        .filter(|(_, search)| *search != ".")
    {
        let search = search.strip_suffix('.').unwrap_or(search);
        // Underscores are taken since 1.34, as resolvers do.
        let plain = search.replace('_', "x");
        errors.invalid_each(
            searches_at.index(i),
            search,
            names::dns1123_subdomain(&plain),
        );
    }
    let options_at = at.child("options");
    for (i, option) in config.options.given().iter().enumerate() {
        if option.name.given().is_empty() {
            errors.required(options_at.index(i), "must not be empty");
        }
    }
}

fn host_users(errors: &mut Errors, at: &Path<'_>, spec: &PodSpec) {
    if spec.host_users.unwrap_or(true) {
        return;
    }
    // Two of the three names start with a capital upstream.
    for (name, set) in [
        ("hostNetwork", spec.host_network),
        ("HostPID", spec.host_pid),
        ("HostIPC", spec.host_ipc),
    ] {
        if set == Some(true) {
            errors.forbidden(at.child(name), "when `pod.Spec.HostUsers` is false");
        }
    }
}

fn host_aliases(errors: &mut Errors, at: &Path<'_>, aliases: &[HostAlias]) {
    for (i, alias) in aliases.iter().enumerate() {
        let at = at.index(i);
        names::ip(errors, at.child("ip"), &alias.ip);
        let list = at.child("hostnames");
        for (j, name) in alias.hostnames.given().iter().enumerate() {
            errors.invalid_each(list.index(j), name, names::dns1123_subdomain(name));
        }
    }
}
