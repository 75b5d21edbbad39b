//! Validation of security contexts, of pods and of containers.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::names;
use super::path::{Errors, Given, Path, to_value};

/// Checks the context of a pod.
pub fn pod(errors: &mut Errors, at: &Path<'_>, context: &PodSecurityContext, spec: &PodSpec) {
    for (name, id) in [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ] {
        unix_id(errors, at.child(name), id);
    }
    let groups_at = at.child("supplementalGroups");
    for (i, id) in context.supplemental_groups.given().iter().enumerate() {
        unix_id(errors, groups_at.index(i), Some(*id));
    }
    if spec.share_process_namespace.unwrap_or_default() && spec.host_pid.unwrap_or_default() {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(at.child("shareProcessNamespace"), true, detail);
    }
    sysctls(errors, &at.child("sysctls"), context, spec);
    for (name, value, supported) in [
        (
            "fsGroupChangePolicy",
            &context.fs_group_change_policy,
            &["Always", "OnRootMismatch"][..],
        ),
        (
            "supplementalGroupsPolicy",
            &context.supplemental_groups_policy,
            &["Merge", "Strict"],
        ),
        (
            "seLinuxChangePolicy",
            &context.se_linux_change_policy,
            &["MountOption", "Recursive"],
        ),
    ] {
        errors.one_of_if(at.child(name), value.as_deref(), supported);
    }
    profiles(
        errors,
        at,
        context.seccomp_profile.as_ref(),
        context.app_armor_profile.as_ref(),
    );
}

/// Checks the context of a container.
pub fn container(errors: &mut Errors, at: &Path<'_>, context: &SecurityContext, host_users: bool) {
    unix_id(errors, at.child("runAsUser"), context.run_as_user);
    unix_id(errors, at.child("runAsGroup"), context.run_as_group);
    if let Some(mount) = context.proc_mount.as_deref() {
        let at = at.child("procMount");
        errors.one_of_if(at, Some(mount), &["Default", "Unmasked"]);
        if host_users && mount == "Unmasked" {
            errors.invalid(at, mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    if context.allow_privilege_escalation == Some(false) {
        let refuse = |errors: &mut Errors, what: &str| {
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.invalid(*at, to_value(context), detail);
        };
        if context.privileged == Some(true) {
            refuse(errors, "`privileged` to true");
        }
        let added = context
            .capabilities
            .as_ref()
            .map_or(&[][..], |caps| caps.add.given());
        if added.iter().any(|name| name == "CAP_SYS_ADMIN") {
            refuse(errors, "`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    profiles(
        errors,
        at,
        context.seccomp_profile.as_ref(),
        context.app_armor_profile.as_ref(),
    );
}

fn unix_id(errors: &mut Errors, at: Path<'_>, id: Option<i64>) {
    let Some(id) = id else { return };
    for message in names::unix_id(id) {
        errors.invalid(at, id, message);
    }
}

fn sysctls(errors: &mut Errors, at: &Path<'_>, context: &PodSecurityContext, spec: &PodSpec) {
    let mut seen = std::collections::BTreeSet::new();
    for (i, sysctl) in context.sysctls.given().iter().enumerate() {
        let at = at.index(i);
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.required(at.child("name"), "");
        } else if !names::is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(at.child("name"), name, detail);
        } else if !seen.insert(name) {
            errors.duplicate(at.child("name"), name);
        }
        let dotted = name.replace('/', ".");
        if spec.host_network.unwrap_or_default() && dotted.starts_with("net.") {
            let detail = "may not be specified when 'hostNetwork' is true";
            errors.invalid(at.child("name"), name, detail);
        }
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        if spec.host_ipc.unwrap_or_default() && ipc.iter().any(|p| dotted.starts_with(p)) {
            let detail = "may not be specified when 'hostIPC' is true";
            errors.invalid(at.child("name"), name, detail);
        }
    }
}

fn profiles(
    errors: &mut Errors,
    at: &Path<'_>,
    seccomp: Option<&SeccompProfile>,
    app_armor: Option<&AppArmorProfile>,
) {
    const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
    if let Some(profile) = seccomp {
        let at = at.child("seccompProfile");
        let local = at.child("localhostProfile");
        match (profile.type_.as_str(), &profile.localhost_profile) {
            ("", _) => {
                errors.required(
                    at.child("type"),
                    "type is required when seccompProfile is set",
                );
            }
            ("Localhost", None) => {
                errors.required(local, "must be set when seccomp type is Localhost");
            }
            ("Localhost", Some(path)) => names::local_descending_path(errors, local, path),
            (kind, path) => {
                errors.one_of_if(at.child("type"), Some(kind), TYPES);
                if path.is_some() {
                    let detail = "can only be set when seccomp type is Localhost";
                    errors.invalid(local, to_value(profile), detail);
                }
            }
        }
    }
    if let Some(profile) = app_armor {
        let at = at.child("appArmorProfile");
        let local = at.child("localhostProfile");
        let path = profile.localhost_profile.as_deref();
        match profile.type_.as_str() {
            "" => {
                errors.required(
                    at.child("type"),
                    "type is required when appArmorProfile is set",
                );
            }
            "Localhost" => match path {
                None | Some("") => {
                    errors.required(local, "must be set when AppArmor type is Localhost");
                }
                Some(path) if path.trim() != path => {
                    errors.invalid(local, path, "must not be padded with whitespace");
                }
                Some(path) if path.len() > 4095 => errors.too_long(local, 4095),
                Some(_) => {}
            },
            "RuntimeDefault" | "Unconfined" => {
                if let Some(path) = path {
                    let detail = "can only be set when AppArmor type is Localhost";
                    errors.invalid(local, path, detail);
                }
            }
            kind => errors.not_supported(at.child("type"), kind, TYPES),
        }
    }
}
