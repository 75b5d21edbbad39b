//! Volumes of a pod: folders in the agent's data directory, and files in them.
//!
//! Projected files (ConfigMaps, secrets, tokens, the downward API) are written into a fresh folder that one rename makes
//! current, as upstream does: a reader sees the old set or the new one. Sub-paths are resolved and must stay within
//! their volume.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection,
    Volume, VolumeMount, VolumeProjection,
};

use super::fields::{Place, field, resource};
use super::{PodExt as _, claims, empty_dir, total};
use crate::mirror::resource as ids;
use crate::node::Node;

type Files = BTreeMap<String, File>;

/// A file as it is to be.
struct File {
    bytes: Vec<u8>,
    mode: u32,
    /// Its user, when that is not the agent's.
    owner: Option<u32>,
}

impl File {
    fn new(bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self {
            bytes: bytes.into(),
            mode,
            owner: None,
        }
    }
}

/// Permissions of files when the volume names none.
const DEFAULT_MODE: i32 = 0o644;
/// Permissions of tokens that one user or group shall read.
const PRIVATE_MODE: u32 = 0o600;

/// Makes or refreshes all volumes of a pod; an error in words.
pub fn ensure(node: &Node, pod: &Pod, place: &Place) -> Result<(), String> {
    for volume in pod.spec().volumes.iter().flatten() {
        let said = |error: String| format!("volume \"{}\": {error}", volume.name);
        ensure_one(node, pod, place, volume).map_err(said)?;
    }
    Ok(())
}

fn ensure_one(node: &Node, pod: &Pod, place: &Place, volume: &Volume) -> Result<(), String> {
    let root = folder(node, pod, &volume.name);
    let group = fs_group(pod);
    if let Some(source) = &volume.empty_dir {
        return empty_dir::ensure(node, pod, source, &root, group);
    }
    if let Some(host) = &volume.host_path {
        return host_path(&host.path, host.type_.as_deref().unwrap_or(""));
    }
    if let Some(claim) = claims::name(pod, volume) {
        return claims::ensure(node, pod, &claim, group);
    }
    let files = match files_of(node, pod, place, volume)? {
        Some(files) => files,
        None => return Err("this kind of volume is not supported".into()),
    };
    write_set(&root, &files, group).map_err(|error| error.to_string())
}

/// Where a volume is on the machine.
pub fn source(node: &Node, pod: &Pod, volume: &Volume) -> PathBuf {
    if let Some(host) = &volume.host_path {
        return PathBuf::from(&host.path);
    }
    // `ensure` has found it; a claim that lost its volume since gets nothing else in its place.
    let claimed = claims::name(pod, volume).and_then(|claim| claims::place(node, pod, &claim).ok());
    claimed.unwrap_or_else(|| folder(node, pod, &volume.name))
}

/// Whether containers only read a volume: what the agent writes there itself, and claims that say so.
pub fn is_read_only(volume: &Volume) -> bool {
    match &volume.persistent_volume_claim {
        Some(claim) => claim.read_only == Some(true),
        None => {
            volume.empty_dir.is_none() && volume.host_path.is_none() && volume.ephemeral.is_none()
        }
    }
}

fn folder(node: &Node, pod: &Pod, name: &str) -> PathBuf {
    node.pod_dir(pod.uid()).join("volumes").join(name)
}

/// What a mount shows: the volume, or a path within it that must not lead out.
pub fn mount_source(root: &Path, mount: &VolumeMount, sub_path: &str) -> Result<PathBuf, String> {
    if sub_path.is_empty() {
        return Ok(root.to_owned());
    }
    let within = Path::new(sub_path);
    if !within
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(format!(
            "subPath {sub_path:?} of {} must stay within it",
            mount.name
        ));
    }
    let wanted = root.join(within);
    if !wanted.exists() {
        make_dir(&wanted, 0o755).map_err(|error| error.to_string())?;
    }
    let real = wanted.canonicalize().map_err(|error| error.to_string())?;
    let real_root = root.canonicalize().map_err(|error| error.to_string())?;
    if real.starts_with(&real_root) {
        Ok(real)
    } else {
        Err(format!(
            "subPath {sub_path:?} leads out of the volume {}",
            mount.name
        ))
    }
}

/// A folder with these permissions, whatever the umask.
pub(super) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

pub(super) fn host_path(path: &str, kind: &str) -> Result<(), String> {
    let path = Path::new(path);
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    match kind {
        "DirectoryOrCreate" => make_dir(path, 0o755).map_err(failed),
        "FileOrCreate" if !path.exists() => fs::write(path, b"").map_err(failed),
        // Docker's bind mounts want the source to be there; upstream makes a folder then.
        "" if !path.exists() => make_dir(path, 0o755).map_err(failed),
        "Directory" if !path.is_dir() => Err(format!(
            "hostPath type check failed: {} is not a directory",
            path.display()
        )),
        "File" if !path.is_file() => Err(format!(
            "hostPath type check failed: {} is not a file",
            path.display()
        )),
        _ => Ok(()),
    }
}

/// The files of a volume that has some; `None` for other kinds.
fn files_of(
    node: &Node,
    pod: &Pod,
    place: &Place,
    volume: &Volume,
) -> Result<Option<Files>, String> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        add_config_map(
            &mut files,
            node,
            pod,
            &source.name,
            source.items.as_deref(),
            optional,
            mode,
        )?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional == Some(true);
        add_secret(
            &mut files,
            node,
            pod,
            &name,
            source.items.as_deref(),
            optional,
            mode,
        )?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_downward(&mut files, node, pod, place, source.items.as_deref(), mode)?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for part in source.sources.iter().flatten() {
            add_projection(&mut files, node, pod, place, part, mode)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

fn add_projection(
    files: &mut Files,
    node: &Node,
    pod: &Pod,
    place: &Place,
    part: &VolumeProjection,
    mode: i32,
) -> Result<(), String> {
    if let Some(map) = &part.config_map {
        let optional = map.optional == Some(true);
        add_config_map(
            files,
            node,
            pod,
            &map.name,
            map.items.as_deref(),
            optional,
            mode,
        )?;
    }
    if let Some(secret) = &part.secret {
        let optional = secret.optional == Some(true);
        add_secret(
            files,
            node,
            pod,
            &secret.name,
            secret.items.as_deref(),
            optional,
            mode,
        )?;
    }
    if let Some(fields) = &part.downward_api {
        add_downward(files, node, pod, place, fields.items.as_deref(), mode)?;
    }
    if let Some(token) = &part.service_account_token {
        add_token(files, node, pod, token, mode)?;
    }
    Ok(())
}

/// The token that was fetched before (`tokens`). It is the pod's user's and group's only, where the pod has these.
fn add_token(
    files: &mut Files,
    node: &Node,
    pod: &Pod,
    projection: &ServiceAccountTokenProjection,
    mode: i32,
) -> Result<(), String> {
    let token = node.tokens.get(pod, projection);
    let token = token.ok_or("failed to fetch token")?;
    let owner = fs_user(pod);
    let is_private = owner.is_some() || fs_group(pod).is_some();
    let mode = if is_private {
        PRIVATE_MODE
    } else {
        mode as u32
    };
    let file = File {
        owner,
        ..File::new(token, mode)
    };
    files.insert(projection.path.clone(), file);
    Ok(())
}

fn fs_group(pod: &Pod) -> Option<i64> {
    pod.spec().security_context.as_ref()?.fs_group
}

/// The user that all containers of the pod run as; none when that is not known or not one.
fn fs_user(pod: &Pod) -> Option<u32> {
    let of_pod = pod.spec().security_context.as_ref();
    let of_pod = of_pod.and_then(|context| context.run_as_user);
    let all = pod.inits().iter().chain(&pod.spec().containers);
    let mut users = all.map(|container| {
        let own = container.security_context.as_ref();
        own.and_then(|context| context.run_as_user).or(of_pod)
    });
    let first = users.next()??;
    let is_one = users.all(|user| user == Some(first));
    u32::try_from(first).ok().filter(|_| is_one)
}

fn add_config_map(
    files: &mut Files,
    node: &Node,
    pod: &Pod,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
) -> Result<(), String> {
    let Some(map) = node
        .mirror
        .get::<ConfigMap>(ids::CONFIG_MAPS, pod.namespace(), name)
    else {
        return if optional {
            Ok(())
        } else {
            Err(format!("configmap \"{name}\" not found"))
        };
    };
    let mut data: BTreeMap<&str, &[u8]> = BTreeMap::new();
    data.extend(total(map.data.as_ref()).map(|(key, text)| (key.as_str(), text.as_bytes())));
    data.extend(total(map.binary_data.as_ref()).map(|(key, bytes)| (key.as_str(), &*bytes.0)));
    select(
        files,
        &data,
        items,
        optional,
        mode,
        &format!("configmap \"{name}\""),
    )
}

fn add_secret(
    files: &mut Files,
    node: &Node,
    pod: &Pod,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
) -> Result<(), String> {
    let Some(secret) = node
        .mirror
        .get::<Secret>(ids::SECRETS, pod.namespace(), name)
    else {
        return if optional {
            Ok(())
        } else {
            Err(format!("secret \"{name}\" not found"))
        };
    };
    let data = total(secret.data.as_ref())
        .map(|(key, bytes)| (key.as_str(), &*bytes.0))
        .collect();
    select(
        files,
        &data,
        items,
        optional,
        mode,
        &format!("secret \"{name}\""),
    )
}

/// All keys as files, or the listed ones at their paths.
fn select(
    files: &mut Files,
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
    whose: &str,
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, bytes) in data {
            files.insert((*key).to_owned(), File::new(*bytes, mode as u32));
        }
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(bytes) => {
                let mode = item.mode.unwrap_or(mode) as u32;
                files.insert(item.path.clone(), File::new(*bytes, mode));
            }
            None if optional => {}
            None => return Err(format!("{whose} references non-existent key: {}", item.key)),
        }
    }
    Ok(())
}

fn add_downward(
    files: &mut Files,
    node: &Node,
    pod: &Pod,
    place: &Place,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<(), String> {
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(reference), _) => field(pod, place, &reference.field_path)?,
            (None, Some(reference)) => {
                let name = reference.container_name.as_deref().unwrap_or("");
                let container = pod
                    .container(name)
                    .ok_or(format!("no container {name:?}"))?;
                resource(node, container, reference)?
            }
            (None, None) => String::new(),
        };
        let mode = item.mode.unwrap_or(mode) as u32;
        files.insert(item.path.clone(), File::new(text, mode));
    }
    Ok(())
}

/// Writes a set of files and makes it current by one rename; nothing happens when it is so already.
fn write_set(root: &Path, files: &Files, group: Option<i64>) -> io::Result<()> {
    let current = root.join("..data");
    if is_current(&current, files) {
        return Ok(());
    }
    make_dir(root, 0o755)?;
    let old = fs::read_link(&current).ok();
    let serial: u64 = old
        .as_ref()
        .and_then(|old| {
            old.to_string_lossy()
                .trim_start_matches("..set_")
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let name = format!("..set_{}", serial + 1);
    let fresh = root.join(&name);
    let _ = fs::remove_dir_all(&fresh);
    make_dir(&fresh, 0o755)?;
    for (path, file) in files {
        if !Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(io::Error::other(format!(
                "path {path:?} must stay within the volume"
            )));
        }
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        write_private(&target, &file.bytes)?;
        let group = group.map(|group| group as u32);
        if file.owner.is_some() || group.is_some() {
            chown(&target, file.owner, group)?;
        }
        let readable = if group.is_some() { 0o440 } else { 0 };
        let mode = fs::Permissions::from_mode(file.mode | readable);
        fs::set_permissions(&target, mode)?;
    }
    let temporary = root.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &current)?;
    link_names(root, files)?;
    if let Some(old) = old {
        fs::remove_dir_all(root.join(old))?;
    }
    Ok(())
}

/// A new file that nobody else reads before it has its mode.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(PRIVATE_MODE)
        .open(path)?;
    io::Write::write_all(&mut file, bytes)
}

/// The visible names are links into the current set.
fn link_names(root: &Path, files: &Files) -> io::Result<()> {
    let first = |path: &String| path.split('/').next().unwrap_or("").to_owned();
    let names: std::collections::BTreeSet<String> = files.keys().map(first).collect();
    for name in &names {
        let link = root.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), &link)?;
        }
    }
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !names.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_current(current: &Path, files: &Files) -> bool {
    current.exists()
        && count_files(current) == files.len()
        && files
            .iter()
            .all(|(path, file)| fs::read(current.join(path)).is_ok_and(|there| there == file.bytes))
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                count_files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_belong_to_the_one_user_of_all_containers() {
        let user = |spec: serde_json::Value| {
            let pod = serde_json::from_value(json!({"metadata": {}, "spec": spec}));
            fs_user(&pod.unwrap())
        };
        let as_user = |user: i64| json!({"name": "c", "securityContext": {"runAsUser": user}});
        let plain = json!({"name": "c"});
        assert_eq!(user(json!({"containers": [plain]})), None);
        assert_eq!(user(json!({"containers": [as_user(5), plain]})), None);
        assert_eq!(user(json!({"containers": [as_user(5), as_user(6)]})), None);
        let of_pod = json!({"runAsUser": 5});
        let spec = json!({
            "securityContext": of_pod,
            "initContainers": [plain],
            "containers": [as_user(5), plain],
        });
        assert_eq!(user(spec), Some(5));
    }

    #[test]
    fn a_new_set_replaces_the_old_one_whole() {
        let root = std::env::temp_dir().join(format!("kontiki-volume-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let mut files = Files::new();
        files.insert("token".into(), File::new("one", 0o600));
        files.insert("a/b".into(), File::new("deep", 0o644));
        write_set(&root, &files, None).unwrap();
        let first = fs::read_link(root.join("..data")).unwrap();
        write_set(&root, &files, None).unwrap();
        assert_eq!(fs::read_link(root.join("..data")).unwrap(), first);

        files.remove("a/b");
        files.insert("token".into(), File::new("two", 0o600));
        write_set(&root, &files, None).unwrap();
        assert_eq!(fs::read(root.join("token")).unwrap(), b"two");
        let mode = fs::metadata(root.join("token")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert!(!root.join("a").exists() && !root.join(first).exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
