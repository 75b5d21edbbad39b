//! Volumes that a pod claims: host paths, disks of the machine that an operator mounted, and the directories that the
//! agent itself keeps for the built-in provisioner.
//!
//! A directory is made at its first mount and removed when its volume is known to be gone: told so, or missing from
//! the assignment twice in a row, for an assignment may come in parts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kontiki_api::volumes::{LOCAL_PATH, NODE_ATTRIBUTE, is_for, volume_of};

use super::PodExt as _;
use super::volumes::{host_path, make_dir};
use crate::mirror::resource as ids;
use crate::node::Node;

/// The claim behind a volume of a pod.
pub fn name(pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(claim.claim_name.clone());
    }
    let ephemeral = volume.ephemeral.as_ref()?.volume_claim_template.as_ref();
    ephemeral.map(|_| format!("{}-{}", pod.name(), volume.name))
}

/// The volume that a claim of the pod is bound to, both sides agreeing.
fn volume(node: &Node, pod: &Pod, claim: &str) -> Result<PersistentVolume, String> {
    let found: Option<PersistentVolumeClaim> = node.mirror.get(ids::CLAIMS, pod.namespace(), claim);
    let found = found.ok_or_else(|| format!("persistentvolumeclaim \"{claim}\" not found"))?;
    let name = volume_of(&found);
    if name.is_empty() {
        return Err(format!("persistentvolumeclaim \"{claim}\" is not bound"));
    }
    let volume: Option<PersistentVolume> = node.mirror.get(ids::VOLUMES, "", name);
    let volume = volume.ok_or_else(|| format!("persistentvolume \"{name}\" not found"))?;
    if !is_for(&volume, &found) {
        return Err(format!(
            "persistentvolume \"{name}\" is not bound to persistentvolumeclaim \"{claim}\""
        ));
    }
    Ok(volume)
}

/// The handle of a directory that this agent keeps. It becomes a path: nothing that leads elsewhere is one.
fn handle<'a>(node: &Node, volume: &'a PersistentVolume) -> Option<&'a str> {
    let source = volume.spec.as_ref()?.csi.as_ref()?;
    let attributes = source.volume_attributes.as_ref();
    let at = attributes.and_then(|attributes| attributes.get(NODE_ATTRIBUTE));
    let handle = source.volume_handle.as_str();
    let plain = !handle.is_empty() && !handle.starts_with('.') && !handle.contains('/');
    let ours = source.driver == LOCAL_PATH && at == Some(&node.name);
    (ours && plain).then_some(handle)
}

fn folder(node: &Node) -> PathBuf {
    node.data_dir.join("local-volumes")
}

/// Where the volume of a claim is on the machine.
pub fn place(node: &Node, pod: &Pod, claim: &str) -> Result<PathBuf, String> {
    let volume = volume(node, pod, claim)?;
    if let Some(handle) = handle(node, &volume) {
        return Ok(folder(node).join(handle));
    }
    let spec = volume.spec.unwrap_or_default();
    let path = match (spec.host_path, spec.local) {
        (Some(host), _) => host.path,
        (_, Some(local)) => local.path,
        _ => return Err("this kind of persistent volume is not supported on this node".into()),
    };
    Ok(PathBuf::from(path))
}

/// Makes the volume of a claim ready to be mounted.
pub fn ensure(node: &Node, pod: &Pod, claim: &str, group: Option<i64>) -> Result<(), String> {
    let (volume, place) = (volume(node, pod, claim)?, place(node, pod, claim)?);
    let said = |error: std::io::Error| format!("{}: {error}", place.display());
    if handle(node, &volume).is_some() {
        if !place.exists() {
            fs::create_dir_all(folder(node)).map_err(said)?;
            make_dir(&place, 0o777).map_err(said)?;
        }
        return match group {
            Some(group) => share(&place, group).map_err(said),
            None => Ok(()),
        };
    }
    let spec = volume.spec.unwrap_or_default();
    if let Some(host) = spec.host_path {
        return host_path(&host.path, host.type_.as_deref().unwrap_or(""));
    }
    if place.exists() {
        Ok(())
    } else {
        Err(format!("path \"{}\" does not exist", place.display()))
    }
}

/// `fsGroup` may write, and what is made within belongs to it.
fn share(place: &Path, group: i64) -> std::io::Result<()> {
    chown(place, None, u32::try_from(group).ok())?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o2777))
}

/// Removes the directory of a volume that is gone.
pub fn remove(node: &Node, volume: &PersistentVolume) {
    if let Some(handle) = handle(node, volume).filter(|_| node.writes_files) {
        remove_folder(&folder(node).join(handle));
    }
}

fn remove_folder(place: &Path) {
    match super::folder::remove(place) {
        Ok(()) => tracing::info!(place = %place.display(), "removed a volume's directory"),
        Err(error) => {
            tracing::warn!(place = %place.display(), %error, "a volume's directory stays");
        }
    }
}

/// Removes directories that no volume is for, now and at the last look; returns what no volume is for now.
pub fn sweep(node: &Node, before: &BTreeSet<String>) -> BTreeSet<String> {
    let mut strays = BTreeSet::new();
    if !node.writes_files {
        return strays;
    }
    let volumes = node.mirror.list::<PersistentVolume>(ids::VOLUMES);
    let known: BTreeSet<&str> = volumes.iter().filter_map(|it| handle(node, it)).collect();
    for entry in fs::read_dir(folder(node)).into_iter().flatten().flatten() {
        let handle = entry.file_name().to_string_lossy().into_owned();
        if known.contains(handle.as_str()) {
            continue;
        }
        if before.contains(&handle) {
            remove_folder(&entry.path());
        } else {
            strays.insert(handle);
        }
    }
    strays
}
