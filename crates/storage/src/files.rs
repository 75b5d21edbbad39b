//! Files and directories: modes, atomic replacement, syncs of directories.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::Error;

/// Makes a directory and its parents with mode 0700, and sets that mode where the directory exists.
pub fn make_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::io(path))
}

/// A new file with mode 0600.
pub(crate) fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io(path))
}

/// Makes renames and new names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io(path))
}

/// Replaces a file as a whole: a crash leaves the old or the new content.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let mut file = create(&temporary)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(Error::io(&temporary))?;
    fs::rename(&temporary, path).map_err(Error::io(path))?;
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

/// A file's content, `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// Names in a directory, sorted.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let name = entry.map_err(Error::io(path))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Removes a directory with its content, if it is there.
pub(crate) fn remove_dir(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Size and CRC-32 of a file.
pub(crate) fn checksum(path: &Path) -> Result<(u64, u32), Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut crc, mut size) = (crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok((size, crc.finalize())),
            n => {
                crc.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

/// Sets files to 0600 and directories to 0700, one level deep: RocksDB makes files by the umask.
pub(crate) fn tighten(dir: &Path) -> Result<(), Error> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(Error::io(dir))?;
    for name in names(dir)? {
        let path = dir.join(name);
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        match fs::set_permissions(&path, fs::Permissions::from_mode(mode)) {
            // RocksDB may remove an obsolete file meanwhile.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(&path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Bytes that this process may still write to the file system of `path`.
pub fn free_bytes(path: &Path) -> Result<u64, Error> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|errno| Error::Io {
        path: path.to_owned(),
        error: errno.into(),
    })?;
    Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
}
