//! From a container of a pod to what the runtime creates.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod, SecurityContext};
use kontiki_api::quantity::{cpu_milli, memory_bytes};
use kontiki_runtime::images::PAUSE_IMAGE;
use kontiki_runtime::{ContainerSpec, Image, Mount, Namespace, labels};

use super::env::{build, expand};
use super::fields::Place;
use super::{PodExt as _, files, qos_class, volumes};
use crate::node::Node;

/// Where containers write their last words by default.
pub const MESSAGE_PATH: &str = "/dev/termination-log";

/// A container's unique name: creating it twice is a conflict, not a second container.
pub fn name(pod: &Pod, container: &str, attempt: u32) -> String {
    format!(
        "kontiki_{container}_{}_{}_{}_{attempt}",
        pod.name(),
        pod.namespace(),
        pod.uid()
    )
}

fn base_labels(node: &Node, pod: &Pod, container: &str, attempt: u32) -> BTreeMap<String, String> {
    let mut map: BTreeMap<String, String> = node
        .own_labels()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for (name, value) in [
        (labels::POD_UID, pod.uid().to_owned()),
        (labels::POD_NAME, pod.name().to_owned()),
        (labels::POD_NAMESPACE, pod.namespace().to_owned()),
        (labels::CONTAINER, container.to_owned()),
        (labels::ATTEMPT, attempt.to_string()),
        (labels::GRACE, pod.grace_seconds().to_string()),
    ] {
        map.insert(name.to_owned(), value);
    }
    map
}

/// The pause container that holds a pod's namespaces.
pub fn pause(node: &Node, pod: &Pod, attempt: u32, place: &Place) -> ContainerSpec {
    let spec = pod.spec();
    let host_network = pod.on_host_network();
    let mut labels = base_labels(node, pod, labels::PAUSE, attempt);
    if !host_network {
        labels.insert(labels::POD_IP.to_owned(), place.pod_ip.clone());
    }
    let host_or_private = |host: Option<bool>| match host {
        Some(true) => Namespace::Host,
        _ => Namespace::Private,
    };
    let context = spec.security_context.as_ref();
    let sysctls = context.and_then(|context| context.sysctls.as_ref());
    ContainerSpec {
        name: name(pod, labels::PAUSE, attempt),
        image: PAUSE_IMAGE.to_owned(),
        labels,
        network: host_or_private(spec.host_network),
        ipc: host_or_private(spec.host_ipc),
        pid: host_or_private(spec.host_pid),
        hostname: (!host_network).then(|| files::hostname(pod)),
        cpu_shares: Some(2),
        sysctls: sysctls
            .into_iter()
            .flatten()
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
        ..ContainerSpec::default()
    }
}

/// A container of the pod, joined to the pause container `sandbox`.
pub fn container(
    node: &Node,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    sandbox: &str,
    place: &Place,
    image: &Image,
) -> Result<ContainerSpec, String> {
    let env = build(node, pod, container, place)?;
    let known = |name: &str| env.get(name).cloned();
    let expanded = |words: &Option<Vec<String>>| {
        let words = words.as_ref().filter(|words| !words.is_empty())?;
        Some(
            words
                .iter()
                .map(|word| expand(word, known))
                .collect::<Vec<_>>(),
        )
    };
    let reference = container.image.clone().unwrap_or_default();
    let mut labels = base_labels(node, pod, &container.name, attempt);
    labels.insert(labels::IMAGE.into(), reference);
    let message_path = message_path(container);
    labels.insert(labels::MESSAGE_PATH.into(), message_path.to_owned());
    let security = container.security_context.clone().unwrap_or_default();
    let user = user(pod, &security, image, &container.name)?;
    let pod_security = pod.spec().security_context.clone().unwrap_or_default();
    let mut groups = pod_security.supplemental_groups.unwrap_or_default();
    groups.extend(pod_security.fs_group);
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let of_sandbox = || Namespace::Of(sandbox.to_owned());
    let host_pid = pod.spec().host_pid == Some(true);
    let mut spec = ContainerSpec {
        name: name(pod, &container.name, attempt),
        image: image.id.clone(),
        labels,
        entrypoint: expanded(&container.command),
        cmd: expanded(&container.args),
        env: env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        working_dir: container.working_dir.clone(),
        user,
        groups: groups.iter().map(ToString::to_string).collect(),
        stdin: container.stdin == Some(true),
        tty: container.tty == Some(true),
        mounts: Vec::new(),
        network: if pod.on_host_network() {
            Namespace::Host
        } else {
            of_sandbox()
        },
        ipc: if pod.spec().host_ipc == Some(true) {
            Namespace::Host
        } else {
            of_sandbox()
        },
        pid: match (host_pid, pod.spec().share_process_namespace == Some(true)) {
            (true, _) => Namespace::Host,
            (false, true) => of_sandbox(),
            (false, false) => Namespace::Private,
        },
        privileged: security.privileged == Some(true),
        cap_add: capabilities.add.unwrap_or_default(),
        cap_drop: capabilities.drop.unwrap_or_default(),
        read_only_root: security.read_only_root_filesystem == Some(true),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
        seccomp_unconfined: unconfined(pod, &security),
        ..ContainerSpec::default()
    };
    resources(&mut spec, node, pod, container)?;
    if node.writes_files {
        spec.mounts = mounts(node, pod, container, attempt, known)?;
    }
    Ok(spec)
}

/// Where a container leaves its last words.
pub fn message_path(container: &Container) -> &str {
    let path = container.termination_message_path.as_deref();
    path.filter(|path| !path.is_empty()).unwrap_or(MESSAGE_PATH)
}

/// The file behind [`message_path`].
pub fn message_file(node: &Node, pod: &Pod, container: &str, attempt: u32) -> std::path::PathBuf {
    node.pod_dir(pod.uid())
        .join("containers")
        .join(container)
        .join(attempt.to_string())
}

fn user(
    pod: &Pod,
    security: &SecurityContext,
    image: &Image,
    name: &str,
) -> Result<Option<String>, String> {
    let pod_security = pod.spec().security_context.clone().unwrap_or_default();
    let uid = security.run_as_user.or(pod_security.run_as_user);
    let gid = security.run_as_group.or(pod_security.run_as_group);
    let non_root = security.run_as_non_root.or(pod_security.run_as_non_root) == Some(true);
    if non_root {
        let image_user = image.user.split(':').next().unwrap_or("");
        let where_ = format!(
            "(pod: \"{}_{}({})\", container: {name})",
            pod.name(),
            pod.namespace(),
            pod.uid()
        );
        match uid {
            Some(0) => {
                return Err(format!(
                    "container's runAsUser breaks non-root policy {where_}"
                ));
            }
            None if image_user.is_empty() || image_user == "0" || image_user == "root" => {
                return Err(format!(
                    "container has runAsNonRoot and image will run as root {where_}"
                ));
            }
            _ => {}
        }
    }
    Ok(match (uid, gid) {
        (Some(uid), Some(gid)) => Some(format!("{uid}:{gid}")),
        (Some(uid), None) => Some(uid.to_string()),
        (None, Some(gid)) if !image.user.is_empty() => Some(format!("{}:{gid}", image.user)),
        (None, Some(gid)) => Some(format!("0:{gid}")),
        (None, None) => None,
    })
}

fn unconfined(pod: &Pod, security: &SecurityContext) -> bool {
    let pod_level = || {
        pod.spec()
            .security_context
            .as_ref()?
            .seccomp_profile
            .clone()
    };
    let profile = security.seccomp_profile.clone().or_else(pod_level);
    // Kubernetes' default is no filter; Docker's own would refuse what images rely on elsewhere.
    profile.is_none_or(|profile| profile.type_ == "Unconfined")
}

/// Requests become weights, limits become limits (`MilliCPUToShares`, `MilliCPUToQuota`).
fn resources(
    spec: &mut ContainerSpec,
    node: &Node,
    pod: &Pod,
    container: &Container,
) -> Result<(), String> {
    let resources = container.resources.clone().unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let requests = resources.requests.unwrap_or_default();
    let wrong = |error: kontiki_api::quantity::Error| error.to_string();
    let cpu = |text: &str| cpu_milli(text).map_err(wrong);
    let memory = |text: &str| memory_bytes(text).map_err(wrong);

    let cpu_limit = limits.get("cpu").map(|limit| cpu(&limit.0)).transpose()?;
    let cpu_request = requests
        .get("cpu")
        .map(|request| cpu(&request.0))
        .transpose()?;
    let weight = cpu_request.or(cpu_limit).unwrap_or(0);
    spec.cpu_shares = Some(((weight * 1024 / 1000) as i64).clamp(2, 262_144));
    spec.cpu_quota_us = cpu_limit
        .filter(|limit| *limit > 0)
        .map(|limit| ((limit * 100_000 / 1000) as i64).max(1000));
    let memory_limit = limits
        .get("memory")
        .map(|limit| memory(&limit.0))
        .transpose()?;
    spec.memory_bytes = memory_limit
        .map(|bytes| bytes as i64)
        .filter(|bytes| *bytes > 0);

    // Negative scores need a capability that sandboxes lack; 0 is what remains for guaranteed pods.
    spec.oom_score_adj = match qos_class(pod) {
        "Guaranteed" => 0,
        "BestEffort" => 1000,
        _ => {
            let request = requests
                .get("memory")
                .map(|request| memory(&request.0))
                .transpose()?;
            let share = request.unwrap_or(0) * 1000 / i128::from(node.capacity.memory_bytes.max(1));
            (1000 - share).clamp(2, 999) as i64
        }
    };
    Ok(())
}

fn mounts(
    node: &Node,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    known: impl Fn(&str) -> Option<String> + Copy,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volumes = pod.spec().volumes.as_deref().unwrap_or_default();
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| format!("no volume {:?} in the pod", mount.name))?;
        let sub_path = match &mount.sub_path_expr {
            Some(expression) => expand(expression, known),
            None => mount.sub_path.clone().unwrap_or_default(),
        };
        let root = volumes::source(node, pod, volume);
        mounts.push(Mount {
            source: text(&volumes::mount_source(&root, mount, &sub_path)?),
            target: mount.mount_path.clone(),
            read_only: mount.read_only == Some(true) || volumes::is_read_only(volume),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => "rslave",
                Some("Bidirectional") => "rshared",
                _ => "",
            },
        });
    }
    let mut own = |source: &Path, target: &str| {
        if mounts.iter().all(|mount| mount.target != target) {
            let (source, target) = (text(source), target.to_owned());
            mounts.push(Mount {
                source,
                target,
                read_only: false,
                propagation: "",
            });
        }
    };
    let etc = node.pod_dir(pod.uid()).join("etc");
    own(&etc.join("hosts"), "/etc/hosts");
    own(&etc.join("resolv.conf"), "/etc/resolv.conf");
    if !pod.on_host_network() {
        own(&etc.join("hostname"), "/etc/hostname");
    }
    let last_words = message_file(node, pod, &container.name, attempt);
    let prepared = last_words
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&last_words, b""))
        .and_then(|()| {
            use std::os::unix::fs::PermissionsExt as _;
            // Whatever user the container runs as must be able to write.
            std::fs::set_permissions(&last_words, std::fs::Permissions::from_mode(0o666))
        });
    prepared.map_err(|error| format!("{}: {error}", last_words.display()))?;
    own(&last_words, message_path(container));
    Ok(mounts)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Writes the files of `/etc` that all containers of the pod share.
pub fn write_etc(node: &Node, pod: &Pod, place: &Place) -> std::io::Result<()> {
    let settings = node.settings.lock().clone();
    let etc = node.pod_dir(pod.uid()).join("etc");
    std::fs::create_dir_all(&etc)?;
    let machines = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let hosts = files::hosts(pod, place, &settings.domain, &machines("/etc/hosts"));
    std::fs::write(etc.join("hosts"), hosts)?;
    let resolv = files::resolv_conf(pod, &settings, &machines("/etc/resolv.conf"));
    std::fs::write(etc.join("resolv.conf"), resolv)?;
    std::fs::write(etc.join("hostname"), format!("{}\n", files::hostname(pod)))
}
