//! The folders of pods that have ended go away, and with them whatever is mounted in them.
//!
//! Nothing is removed while something is mounted below: what is mounted is not the folder's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Removes a folder that may not be there.
pub fn remove(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    // The deepest first. Detached: a process that still looks in keeps its view and holds nobody up.
    for point in mounts_below(folder)?.iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).map_err(io::Error::from)?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether something is mounted at this very folder, by whatever links it is reached.
pub fn is_mounted(folder: &Path) -> io::Result<bool> {
    let Ok(folder) = folder.canonicalize() else {
        return Ok(false);
    };
    Ok(mounts_below(&folder)?.contains(&folder))
}

/// What is mounted at or below a folder, parents first.
fn mounts_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let Ok(folder) = folder.canonicalize() else {
        return Ok(Vec::new());
    };
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mut points: Vec<PathBuf> = points(&table)
        .filter(|at| at.starts_with(&folder))
        .collect();
    points.sort();
    Ok(points)
}

/// Mount points of a `mountinfo` table (`proc(5)`): the fifth field, spaces and the like in octal.
fn points(table: &str) -> impl Iterator<Item = PathBuf> {
    let fields = table.lines().filter_map(|line| line.split(' ').nth(4));
    fields.map(|field| PathBuf::from(unescaped(field)))
}

fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let table = "22 1 0:20 / /proc rw - proc proc rw\n\
                     40 22 0:30 / /tmp/a\\040b\\134c rw,nosuid shared:1 - tmpfs tmpfs rw\n";
        let found: Vec<PathBuf> = points(table).collect();
        assert_eq!(found, [Path::new("/proc"), Path::new("/tmp/a b\\c")]);
    }

    #[test]
    fn a_mount_is_found_by_a_link_too() {
        let link = std::env::temp_dir().join(format!("kontiki-mount-{}", std::process::id()));
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        let found = is_mounted(&link);
        fs::remove_file(&link).unwrap();
        assert!(found.unwrap() && is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        remove(Path::new("/nonexistent/folder")).unwrap();
    }
}
