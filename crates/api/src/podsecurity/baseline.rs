//! The checks of level `baseline`, in the order of their ids.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{HTTPGetAction, PodSpec, SELinuxOptions, TCPSocketAction};

use super::visit::{
    Visited, containers, names_of, plural, quoted, quoted_set, setters, these, violation,
};
use super::{Check, Checked, Violation};

pub(super) const CHECKS: &[Check] = &[
    check("appArmorProfile", &[(0, app_armor)]),
    check("capabilities_baseline", &[(0, capabilities)]),
    check("hostNamespaces", &[(0, host_namespaces)]),
    check("hostPathVolumes", &[(0, host_paths)]),
    check("hostPorts", &[(0, host_ports)]),
    check("hostProbesAndHostLifecycle", &[(34, hosts)]),
    check("privileged", &[(0, privileged)]),
    check(
        "procMount",
        &[(0, proc_mount), (35, proc_mount_unless_remapped)],
    ),
    check("seLinuxOptions", &[(0, selinux_0), (31, selinux_31)]),
    check(
        "seccompProfile_baseline",
        &[(0, seccomp_annotations), (19, seccomp)],
    ),
    check(
        "sysctls",
        &[
            (0, sysctls_0),
            (27, sysctls_27),
            (29, sysctls_29),
            (32, sysctls_32),
        ],
    ),
    check("windowsHostProcess", &[(0, host_process)]),
];

const fn check(id: &'static str, versions: &'static [(u32, super::CheckPod)]) -> Check {
    Check {
        id,
        versions,
        overrides: &[],
    }
}

type Found = Option<Violation>;

const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

fn app_armor(pod: &Checked<'_>) -> Found {
    let is_bad = |kind: &str| !matches!(kind, "RuntimeDefault" | "Localhost");
    let mut bad = BTreeSet::new();
    let security = pod.spec.security_context.as_ref();
    let of_pod = security.and_then(|security| security.app_armor_profile.as_ref());
    let of_pod = of_pod.filter(|profile| is_bad(&profile.type_));
    bad.extend(of_pod.map(|profile| profile.type_.clone()));
    let profile = |container: &Visited<'_>| {
        let profile = container.security?.app_armor_profile.as_ref()?;
        is_bad(&profile.type_).then(|| profile.type_.clone())
    };
    bad.extend(containers(pod.spec).filter_map(|container| profile(&container)));
    let names = names_of(pod.spec, |container| profile(container).is_some());
    let is_allowed = |value: &str| {
        value.is_empty() || value == "runtime/default" || value.starts_with("localhost/")
    };
    let annotations = pod.annotations.iter();
    let annotations: Vec<String> = annotations
        .filter(|(key, value)| key.starts_with(APP_ARMOR_ANNOTATION) && !is_allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let mut who: Vec<String> = setters(of_pod.is_some(), &names).into_iter().collect();
    if !annotations.is_empty() {
        who.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<&str> = bad.iter().chain(&annotations).map(String::as_str).collect();
    let reason = plural(
        values.len(),
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
    );
    let (who, values) = (who.join(" and "), quoted(values));
    violation(
        reason,
        format!("{who} must not set AppArmor profile type to {values}"),
    )
}

const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: &Checked<'_>) -> Found {
    let added = |container: &Visited<'_>| -> Vec<String> {
        let capabilities = container.security.and_then(|it| it.capabilities.as_ref());
        let added = capabilities.and_then(|it| it.add.as_ref());
        let added = added.into_iter().flatten();
        added
            .filter(|name| !DEFAULT_CAPABILITIES.contains(&name.as_str()))
            .cloned()
            .collect()
    };
    let bad: BTreeSet<String> = containers(pod.spec).flat_map(|it| added(&it)).collect();
    let names = names_of(pod.spec, |container| !added(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let (who, bad) = (these(&names), quoted_set(&bad));
    violation(
        "non-default capabilities",
        format!("{who} must not include {bad} in securityContext.capabilities.add"),
    )
}

fn host_namespaces(pod: &Checked<'_>) -> Found {
    let shared: Vec<&str> = [
        (pod.spec.host_network, "hostNetwork=true"),
        (pod.spec.host_pid, "hostPID=true"),
        (pod.spec.host_ipc, "hostIPC=true"),
    ]
    .into_iter()
    .filter(|(shared, _)| *shared == Some(true))
    .map(|(_, told)| told)
    .collect();
    if shared.is_empty() {
        return None;
    }
    violation("host namespaces", shared.join(", "))
}

fn host_paths(pod: &Checked<'_>) -> Found {
    let volumes = pod.spec.volumes.iter().flatten();
    let names: Vec<&str> = volumes
        .filter(|volume| volume.host_path.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let noun = plural(names.len(), "volume", "volumes");
    violation("hostPath volumes", format!("{noun} {}", quoted(names)))
}

fn host_ports(pod: &Checked<'_>) -> Found {
    let ports = |container: &Visited<'_>| -> Vec<String> {
        let ports = container.ports.iter().filter_map(|port| port.host_port);
        ports
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect()
    };
    let bad: BTreeSet<String> = containers(pod.spec).flat_map(|it| ports(&it)).collect();
    let names = names_of(pod.spec, |container| !ports(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let uses = plural(names.len(), "uses", "use");
    let noun = plural(bad.len(), "hostPort", "hostPorts");
    let ports: Vec<String> = bad.into_iter().collect();
    let who = these(&names);
    violation(
        "hostPort",
        format!("{who} {uses} {noun} {}", ports.join(", ")),
    )
}

fn hosts(pod: &Checked<'_>) -> Found {
    let named = |http: Option<&HTTPGetAction>, tcp: Option<&TCPSocketAction>| {
        let http = http.and_then(|action| action.host.clone());
        let tcp = tcp.and_then(|action| action.host.clone());
        [http, tcp]
    };
    let hosts = |container: &Visited<'_>| -> Vec<String> {
        let probes = container.probes.iter().flatten();
        let probes = probes.flat_map(|it| named(it.http_get.as_ref(), it.tcp_socket.as_ref()));
        let handlers = container.lifecycle.into_iter();
        let handlers = handlers.flat_map(|it| [it.post_start.as_ref(), it.pre_stop.as_ref()]);
        let handlers = handlers.flatten();
        let handlers = handlers.flat_map(|it| named(it.http_get.as_ref(), it.tcp_socket.as_ref()));
        let all = probes.chain(handlers).flatten();
        all.filter(|host| !host.is_empty()).collect()
    };
    let bad: BTreeSet<String> = containers(pod.spec).flat_map(|it| hosts(&it)).collect();
    let names = names_of(pod.spec, |container| !hosts(container).is_empty());
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let uses = plural(names.len(), "uses", "use");
    let noun = plural(
        bad.len(),
        "probe or lifecycle host",
        "probe or lifecycle hosts",
    );
    let (who, bad) = (these(&names), quoted_set(&bad));
    violation(
        "probe or lifecycle host",
        format!("{who} {uses} {noun} {bad}"),
    )
}

fn privileged(pod: &Checked<'_>) -> Found {
    let names = names_of(pod.spec, |container| {
        container.security.and_then(|it| it.privileged) == Some(true)
    });
    if names.is_empty() {
        return None;
    }
    let who = these(&names);
    violation(
        "privileged",
        format!("{who} must not set securityContext.privileged=true"),
    )
}

pub(super) fn proc_mount(pod: &Checked<'_>) -> Found {
    let mount = |container: &Visited<'_>| {
        let mount = container.security?.proc_mount.clone()?;
        (mount != "Default").then_some(mount)
    };
    let bad: BTreeSet<String> = containers(pod.spec).filter_map(|it| mount(&it)).collect();
    let names = names_of(pod.spec, |container| mount(container).is_some());
    if names.is_empty() {
        return None;
    }
    let (who, bad) = (these(&names), quoted_set(&bad));
    violation(
        "procMount",
        format!("{who} must not set securityContext.procMount to {bad}"),
    )
}

fn proc_mount_unless_remapped(pod: &Checked<'_>) -> Found {
    if is_remapped(pod.spec) {
        return None;
    }
    proc_mount(pod)
}

/// Whether the pod's users are none of the node's.
pub(super) fn is_remapped(spec: &PodSpec) -> bool {
    spec.host_users == Some(false)
}

const SELINUX_TYPES: [&str; 5] = [
    "",
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];

fn selinux_0(pod: &Checked<'_>) -> Found {
    selinux(pod, &SELINUX_TYPES[..4])
}

fn selinux_31(pod: &Checked<'_>) -> Found {
    selinux(pod, &SELINUX_TYPES)
}

fn selinux(pod: &Checked<'_>, allowed: &[&str]) -> Found {
    let bad_type = |options: &SELinuxOptions| {
        let kind = options.type_.clone().unwrap_or_default();
        (!allowed.contains(&kind.as_str())).then_some(kind)
    };
    let is_set = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let is_bad = |options: &SELinuxOptions| {
        bad_type(options).is_some() || is_set(&options.user) || is_set(&options.role)
    };
    let security = pod.spec.security_context.as_ref();
    let of_pod = security.and_then(|security| security.se_linux_options.as_ref());
    let of_container = |container: &Visited<'_>| container.security?.se_linux_options.clone();
    let names = names_of(pod.spec, |container| {
        of_container(container).is_some_and(|options| is_bad(&options))
    });
    let who = setters(of_pod.is_some_and(is_bad), &names)?;
    let all: Vec<SELinuxOptions> = containers(pod.spec)
        .filter_map(|container| of_container(&container))
        .chain(of_pod.cloned())
        .collect();
    let types: BTreeSet<String> = all.iter().filter_map(bad_type).collect();
    let mut told = Vec::new();
    if !types.is_empty() {
        let noun = plural(types.len(), "type", "types");
        told.push(format!("{noun} {}", quoted_set(&types)));
    }
    if all.iter().any(|options| is_set(&options.user)) {
        told.push("user may not be set".to_owned());
    }
    if all.iter().any(|options| is_set(&options.role)) {
        told.push("role may not be set".to_owned());
    }
    let told = told.join("; ");
    violation(
        "seLinuxOptions",
        format!("{who} set forbidden securityContext.seLinuxOptions: {told}"),
    )
}

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn seccomp_annotations(pod: &Checked<'_>) -> Found {
    let is_allowed = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let keys = containers(pod.spec).map(|it| format!("{SECCOMP_CONTAINER}{}", it.name));
    let keys = std::iter::once(SECCOMP_POD.to_owned()).chain(keys);
    let bad: BTreeSet<String> = keys
        .filter_map(|key| {
            let value = pod.annotations.get(&key)?;
            (!is_allowed(value)).then(|| format!("{key}={value:?}"))
        })
        .collect();
    if bad.is_empty() {
        return None;
    }
    let noun = plural(bad.len(), "annotation", "annotations");
    let bad: Vec<String> = bad.into_iter().collect();
    violation(
        "seccompProfile",
        format!("forbidden {noun} {}", bad.join(", ")),
    )
}

/// Whether a type of seccomp profile may be chosen.
pub(super) fn is_seccomp(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

pub(super) fn seccomp(pod: &Checked<'_>) -> Found {
    let security = pod.spec.security_context.as_ref();
    let of_pod = security.and_then(|security| security.seccomp_profile.as_ref());
    let of_pod = of_pod.filter(|profile| !is_seccomp(&profile.type_));
    let of_container = |container: &Visited<'_>| {
        let profile = container.security?.seccomp_profile.as_ref()?;
        (!is_seccomp(&profile.type_)).then(|| profile.type_.clone())
    };
    let names = names_of(pod.spec, |container| of_container(container).is_some());
    let who = setters(of_pod.is_some(), &names)?;
    let mut bad: BTreeSet<String> = containers(pod.spec)
        .filter_map(|container| of_container(&container))
        .collect();
    bad.extend(of_pod.map(|profile| profile.type_.clone()));
    let bad = quoted_set(&bad);
    violation(
        "seccompProfile",
        format!("{who} must not set securityContext.seccompProfile.type to {bad}"),
    )
}

/// Sysctls that are safe, in the order in which they came to be.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn sysctls_0(pod: &Checked<'_>) -> Found {
    sysctls(pod, &SYSCTLS[..5])
}

fn sysctls_27(pod: &Checked<'_>) -> Found {
    sysctls(pod, &SYSCTLS[..6])
}

fn sysctls_29(pod: &Checked<'_>) -> Found {
    sysctls(pod, &SYSCTLS[..10])
}

fn sysctls_32(pod: &Checked<'_>) -> Found {
    sysctls(pod, &SYSCTLS)
}

fn sysctls(pod: &Checked<'_>, allowed: &[&str]) -> Found {
    let security = pod.spec.security_context.as_ref();
    let set = security.and_then(|security| security.sysctls.as_ref());
    let set = set.into_iter().flatten().map(|sysctl| sysctl.name.as_str());
    let bad: Vec<&str> = set.filter(|name| !allowed.contains(name)).collect();
    if bad.is_empty() {
        return None;
    }
    violation("forbidden sysctls", bad.join(", "))
}

fn host_process(pod: &Checked<'_>) -> Found {
    let security = pod.spec.security_context.as_ref();
    let of_pod = security.and_then(|security| security.windows_options.as_ref());
    let of_pod = of_pod.is_some_and(|windows| windows.host_process == Some(true));
    let names = names_of(pod.spec, |container| {
        let windows = container
            .security
            .and_then(|it| it.windows_options.as_ref());
        windows.is_some_and(|windows| windows.host_process == Some(true))
    });
    let who = setters(of_pod, &names)?;
    violation(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}
