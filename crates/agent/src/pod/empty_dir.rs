//! `emptyDir`: a folder of the pod's own, on the disk or in memory.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use kontiki_api::quantity::memory_bytes;
use nix::mount::{MsFlags, mount};

use super::PodExt as _;
use super::folder::is_mounted;
use super::volumes::make_dir;
use crate::node::Node;

/// Makes the folder, once; what containers wrote into it stays for the pod's life.
pub fn ensure(
    node: &Node,
    pod: &Pod,
    source: &EmptyDirVolumeSource,
    root: &Path,
    group: Option<i64>,
) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    let in_memory = match source.medium.as_deref().unwrap_or("") {
        "" => false,
        "Memory" => true,
        other => return Err(format!("medium {other:?} is not supported")),
    };
    let is_there = root.exists();
    if in_memory && !is_mounted(root).map_err(said)? {
        let size = size_bytes(node, pod, source)?;
        make_dir(root, 0o777).map_err(said)?;
        mount_memory(root, size).map_err(said)?;
    } else if is_there {
        return Ok(());
    }
    make_dir(root, 0o777).map_err(said)?;
    if let Some(group) = group {
        chown(root, None, Some(group as u32)).map_err(said)?;
        let mode = fs::Permissions::from_mode(0o2777);
        fs::set_permissions(root, mode).map_err(said)?;
    }
    Ok(())
}

/// As much as the volume says, and never more than the pod's or the node's memory (upstream's `SizeMemoryBackedVolumes`).
fn size_bytes(node: &Node, pod: &Pod, source: &EmptyDirVolumeSource) -> Result<i128, String> {
    let bytes = |text: &str| memory_bytes(text).map_err(|error| error.to_string());
    let mut size = i128::from(node.capacity.memory_bytes);
    let limits = pod.spec().containers.iter().filter_map(|container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        limits.get("memory")
    });
    let limits = limits
        .map(|limit| bytes(&limit.0))
        .collect::<Result<Vec<_>, _>>()?;
    let of_pod: i128 = limits.iter().sum();
    let of_volume = match &source.size_limit {
        Some(limit) => bytes(&limit.0)?,
        None => 0,
    };
    for limit in [of_pod, of_volume] {
        if limit > 0 {
            size = size.min(limit);
        }
    }
    Ok(size)
}

fn mount_memory(root: &Path, size_bytes: i128) -> io::Result<()> {
    let options = format!("size={size_bytes},mode=0777");
    let (kind, flags) = (Some("tmpfs"), MsFlags::empty());
    mount(kind, root, kind, flags, Some(options.as_str())).map_err(io::Error::from)
}
