//! From our container description to Docker's create body.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount as DockerMount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType,
};
use kontiki_base::limits::CONTAINER_LOG_BYTES;

use crate::types::{ContainerSpec, Mount, Namespace};

const CPU_PERIOD_US: i64 = 100_000;

/// The create body.
pub fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        env: Some(spec.env.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        labels: Some(to_map(&spec.labels)),
        // Probes are the agent's: an image's own health check would run beside them.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".into()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let mut security = Vec::new();
    if spec.no_new_privileges {
        security.push("no-new-privileges".to_owned());
    }
    if spec.seccomp_unconfined {
        security.push("seccomp=unconfined".to_owned());
    }
    HostConfig {
        network_mode: Some(match &spec.network {
            Namespace::Private => "none".into(),
            other => mode(other),
        }),
        ipc_mode: Some(match &spec.ipc {
            Namespace::Private => "shareable".into(),
            other => mode(other),
        }),
        pid_mode: Some(match &spec.pid {
            Namespace::Private => String::new(),
            other => mode(other),
        }),
        cpu_shares: spec.cpu_shares,
        cpu_period: spec.cpu_quota_us.map(|_| CPU_PERIOD_US),
        cpu_quota: spec.cpu_quota_us,
        memory: spec.memory_bytes,
        memory_swap: spec.memory_bytes,
        oom_score_adj: Some(spec.oom_score_adj),
        privileged: Some(spec.privileged),
        cap_add: Some(spec.cap_add.clone()),
        cap_drop: Some(spec.cap_drop.clone()),
        group_add: Some(spec.groups.clone()),
        readonly_rootfs: Some(spec.read_only_root),
        security_opt: Some(security),
        sysctls: (!spec.sysctls.is_empty()).then(|| to_map(&spec.sysctls)),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(HashMap::from([
                ("max-size".into(), CONTAINER_LOG_BYTES.to_string()),
                ("max-file".into(), "2".into()),
            ])),
        }),
        ..HostConfig::default()
    }
}

fn mode(namespace: &Namespace) -> String {
    match namespace {
        Namespace::Private => "private".into(),
        Namespace::Host => "host".into(),
        Namespace::Of(id) => format!("container:{id}"),
    }
}

fn mount(mount: &Mount) -> DockerMount {
    let propagation = match mount.propagation {
        "rslave" => Some(MountBindOptionsPropagationEnum::RSLAVE),
        "rshared" => Some(MountBindOptionsPropagationEnum::RSHARED),
        _ => None,
    };
    DockerMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        bind_options: propagation.map(|propagation| MountBindOptions {
            propagation: Some(propagation),
            ..MountBindOptions::default()
        }),
        ..DockerMount::default()
    }
}

fn to_map(map: &std::collections::BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
