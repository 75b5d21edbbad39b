//! The checks of level `restricted` beyond those of `baseline`, in the order of their ids.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::baseline::{self, is_remapped, is_seccomp};
use super::visit::{
    Visited, containers, names_of, plural, quoted, quoted_set, setters, these, violation,
};
use super::{Check, CheckPod, Checked, Violation};

pub(super) const CHECKS: &[Check] = &[
    check(
        "allowPrivilegeEscalation",
        &[(8, escalation), (25, escalation_25)],
        &[],
    ),
    check(
        "capabilities_restricted",
        &[(22, capabilities), (25, capabilities_25)],
        &["capabilities_baseline"],
    ),
    check(
        "procMount_restricted",
        &[(35, baseline::proc_mount)],
        &["procMount"],
    ),
    check("restrictedVolumes", &[(0, volumes)], &["hostPathVolumes"]),
    check("runAsNonRoot", &[(0, non_root), (35, non_root_35)], &[]),
    check("runAsUser", &[(23, user), (35, user_35)], &[]),
    check(
        "seccompProfile_restricted",
        &[(19, seccomp), (25, seccomp_25)],
        &["seccompProfile_baseline"],
    ),
];

const fn check(
    id: &'static str,
    versions: &'static [(u32, CheckPod)],
    overrides: &'static [&'static str],
) -> Check {
    Check {
        id,
        versions,
        overrides,
    }
}

type Found = Option<Violation>;

/// Validation keeps Windows pods from setting what they would have to set.
fn is_windows(pod: &Checked<'_>) -> bool {
    pod.spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

fn escalation(pod: &Checked<'_>) -> Found {
    let names = names_of(pod.spec, |container| {
        let allowed = container
            .security
            .and_then(|it| it.allow_privilege_escalation);
        allowed != Some(false)
    });
    if names.is_empty() {
        return None;
    }
    let who = these(&names);
    violation(
        "allowPrivilegeEscalation != false",
        format!("{who} must set securityContext.allowPrivilegeEscalation=false"),
    )
}

fn escalation_25(pod: &Checked<'_>) -> Found {
    if is_windows(pod) {
        None
    } else {
        escalation(pod)
    }
}

fn capabilities(pod: &Checked<'_>) -> Found {
    let of = |container: &Visited<'_>| container.security.and_then(|it| it.capabilities.clone());
    let drops_all = |container: &Visited<'_>| {
        let dropped = of(container).and_then(|it| it.drop).unwrap_or_default();
        dropped.iter().any(|name| name == "ALL")
    };
    let added = |container: &Visited<'_>| -> Vec<String> {
        let added = of(container).and_then(|it| it.add).unwrap_or_default();
        let added = added.into_iter();
        added.filter(|name| name != "NET_BIND_SERVICE").collect()
    };
    let mut told = Vec::new();
    let keeping = names_of(pod.spec, |container| !drops_all(container));
    if !keeping.is_empty() {
        let who = these(&keeping);
        told.push(format!(
            "{who} must set securityContext.capabilities.drop=[\"ALL\"]"
        ));
    }
    let adding = names_of(pod.spec, |container| !added(container).is_empty());
    if !adding.is_empty() {
        let bad: BTreeSet<String> = containers(pod.spec).flat_map(|it| added(&it)).collect();
        let (who, bad) = (these(&adding), quoted_set(&bad));
        told.push(format!(
            "{who} must not include {bad} in securityContext.capabilities.add"
        ));
    }
    if told.is_empty() {
        return None;
    }
    violation("unrestricted capabilities", told.join("; "))
}

fn capabilities_25(pod: &Checked<'_>) -> Found {
    if is_windows(pod) {
        None
    } else {
        capabilities(pod)
    }
}

fn volumes(pod: &Checked<'_>) -> Found {
    let volumes = pod.spec.volumes.iter().flatten();
    let bad: Vec<(&str, &str)> = volumes
        .filter_map(|volume| Some((volume.name.as_str(), restricted_type(volume)?)))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let types: BTreeSet<&str> = bad.iter().map(|(_, kind)| *kind).collect();
    let noun = plural(bad.len(), "volume", "volumes");
    let uses = plural(bad.len(), "uses", "use");
    let what = plural(
        types.len(),
        "restricted volume type",
        "restricted volume types",
    );
    let names = quoted(bad.iter().map(|(name, _)| *name));
    violation(
        "restricted volume types",
        format!("{noun} {names} {uses} {what} {}", quoted(types)),
    )
}

/// The type of a volume that is not among those that may be used.
fn restricted_type(volume: &Volume) -> Option<&'static str> {
    let is_fine = volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some();
    if is_fine {
        return None;
    }
    let known = [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (
            volume.aws_elastic_block_store.is_some(),
            "awsElasticBlockStore",
        ),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (
            volume.photon_persistent_disk.is_some(),
            "photonPersistentDisk",
        ),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ];
    let mut present = known.into_iter().filter(|(is_set, _)| *is_set);
    Some(present.next().map_or("unknown", |(_, kind)| kind))
}

fn non_root(pod: &Checked<'_>) -> Found {
    let of_pod = pod.spec.security_context.as_ref();
    let of_pod = of_pod.and_then(|security| security.run_as_non_root);
    let of = |container: &Visited<'_>| container.security.and_then(|it| it.run_as_non_root);
    let reason = "runAsNonRoot != true";
    let explicit = names_of(pod.spec, |container| of(container) == Some(false));
    if let Some(who) = setters(of_pod == Some(false), &explicit) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return violation(reason, detail);
    }
    let implicit = names_of(pod.spec, |container| {
        of(container).is_none() && of_pod != Some(true)
    });
    if implicit.is_empty() {
        return None;
    }
    let who = these(&implicit);
    violation(
        reason,
        format!("pod or {who} must set securityContext.runAsNonRoot=true"),
    )
}

fn non_root_35(pod: &Checked<'_>) -> Found {
    if is_remapped(pod.spec) {
        None
    } else {
        non_root(pod)
    }
}

fn user(pod: &Checked<'_>) -> Found {
    let of_pod = pod.spec.security_context.as_ref();
    let of_pod = of_pod.and_then(|security| security.run_as_user);
    let names = names_of(pod.spec, |container| {
        container.security.and_then(|it| it.run_as_user) == Some(0)
    });
    let who = setters(of_pod == Some(0), &names)?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

fn user_35(pod: &Checked<'_>) -> Found {
    if is_remapped(pod.spec) {
        None
    } else {
        user(pod)
    }
}

fn seccomp(pod: &Checked<'_>) -> Found {
    if let Some(explicit) = baseline::seccomp(pod) {
        return Some(explicit);
    }
    let of_pod = pod.spec.security_context.as_ref();
    let of_pod = of_pod.and_then(|security| security.seccomp_profile.as_ref());
    if of_pod.is_some_and(|profile| is_seccomp(&profile.type_)) {
        return None;
    }
    let implicit = names_of(pod.spec, |container| {
        let profile = container
            .security
            .and_then(|it| it.seccomp_profile.as_ref());
        profile.is_none()
    });
    if implicit.is_empty() {
        return None;
    }
    let who = these(&implicit);
    violation(
        "seccompProfile",
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        ),
    )
}

fn seccomp_25(pod: &Checked<'_>) -> Found {
    if is_windows(pod) { None } else { seccomp(pod) }
}
