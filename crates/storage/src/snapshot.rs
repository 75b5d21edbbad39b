//! Snapshots as directories: a checkpoint of the state and a manifest with the size and checksum of each file.
//!
//! One that arrives is written to `incoming-*`, every chunk and then every file is checked against the manifest,
//! synced, and renamed as the last step: what bears a snapshot's name is whole.

mod receiver;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_base::limits::SNAPSHOT_CHUNK_BYTES;
use serde::{Deserialize, Serialize};

use crate::{DataDir, Error, LogId, Meta, StateStore, files};

pub use receiver::Receiver;

const MANIFEST: &str = "KONTIKI-SNAPSHOT";
const INCOMING: &str = "incoming-";

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Name without a path.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its CRC-32.
    pub sum: u32,
}

/// What a snapshot consists of. Persisted and sent: append fields only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Last entry in it.
    pub applied: Option<LogId>,
    /// Membership as of then, encoded by consensus.
    pub membership: Vec<u8>,
    /// Revision of its state.
    pub revision: u64,
    /// Its files, sorted by name.
    pub files: Vec<FileSum>,
}

impl Manifest {
    /// Bytes with a checksum.
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("writing to memory cannot fail");
        [&[1][..], &crc32fast::hash(&body).to_be_bytes(), &body].concat()
    }

    /// Reads and checks bytes; `path` is for the error.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(path, format!("manifest: {reason}"));
        if bytes.first() != Some(&1) || bytes.len() < 5 {
            return Err(damaged("too short, or written by a newer build"));
        }
        if crc32fast::hash(&bytes[5..]).to_be_bytes() != bytes[1..5] {
            return Err(damaged("checksum differs"));
        }
        let manifest: Self =
            postcard::from_bytes(&bytes[5..]).map_err(|error| damaged(&error.to_string()))?;
        let plain = |name: &str| {
            !name.is_empty()
                && name != MANIFEST
                && !name.contains(['/', '\0'])
                && !name.starts_with('.')
        };
        match manifest.files.iter().find(|file| !plain(&file.name)) {
            Some(file) => Err(damaged(&format!("file name {:?}", file.name))),
            None => Ok(manifest),
        }
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}

/// A whole snapshot on disk. Clones share it; the directory goes when a newer one took its place and nobody holds it.
#[derive(Debug, Clone)]
pub struct SnapshotDir(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    manifest: Manifest,
    obsolete: std::sync::atomic::AtomicBool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() {
            let _ = files::remove_dir(&self.path);
        }
    }
}

impl SnapshotDir {
    /// Makes a snapshot of the state under `snapshots/`;
    /// `tag` tells apart what is built at the same time.
    pub fn build(dir: &DataDir, state: &StateStore, tag: &str) -> Result<Self, Error> {
        let incoming = dir.snapshots().join(format!("{INCOMING}{tag}"));
        files::remove_dir(&incoming)?;
        let meta = state.checkpoint(&incoming)?;
        files::tighten(&incoming)?;
        let manifest = describe(&incoming, &meta)?;
        finish(dir, &incoming, manifest)
    }

    /// The newest snapshot, `None` when there is none. Removes all else.
    pub fn newest(dir: &DataDir) -> Result<Option<Self>, Error> {
        let mut newest: Option<Self> = None;
        for name in files::names(&dir.snapshots())? {
            let path = dir.snapshots().join(&name);
            if name.starts_with(INCOMING) {
                files::remove_dir(&path)?;
                continue;
            }
            let found = Self::open(&path)?;
            match newest.take() {
                Some(other) if other.manifest().applied >= found.manifest().applied => {
                    found.retire();
                    newest = Some(other);
                }
                Some(other) => {
                    other.retire();
                    newest = Some(found);
                }
                None => newest = Some(found),
            }
        }
        Ok(newest)
    }

    /// Whether there is no other snapshot than one: none that arrives, is built, or is still read in an older's place.
    pub fn is_alone(dir: &DataDir) -> Result<bool, Error> {
        let names = files::names(&dir.snapshots())?;
        Ok(names.len() == 1 && !names[0].starts_with(INCOMING))
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let manifest = files::read(&path.join(MANIFEST))?;
        let manifest = manifest.ok_or_else(|| Error::damaged(path, "no manifest"))?;
        let manifest = Manifest::decode(path, &manifest)?;
        Ok(Self::held(path.to_owned(), manifest))
    }

    fn held(path: PathBuf, manifest: Manifest) -> Self {
        Self(Arc::new(Held {
            path,
            manifest,
            obsolete: false.into(),
        }))
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Lets the directory go once nobody reads it any more.
    pub fn retire(&self) {
        self.0
            .obsolete
            .store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Reads all files in order, in chunks of a limited size: (file, offset, bytes).
    pub fn chunks(
        &self,
    ) -> impl Iterator<Item = Result<(String, u64, Vec<u8>), Error>> + Send + 'static {
        let held = Arc::clone(&self.0);
        let files: Vec<FileSum> = held.manifest.files.clone();
        files.into_iter().flat_map(move |sum| {
            let path = held.path.join(&sum.name);
            let mut file = None;
            let mut offset = 0;
            let held = Arc::clone(&held);
            std::iter::from_fn(move || {
                let _keep = &held;
                if offset >= sum.size_bytes {
                    return None;
                }
                let chunk = read_chunk(&path, &mut file, sum.size_bytes - offset);
                let start = offset;
                offset = match &chunk {
                    Ok(bytes) => offset + bytes.len() as u64,
                    Err(_) => u64::MAX,
                };
                Some(chunk.map(|bytes| (sum.name.clone(), start, bytes)))
            })
        })
    }

    /// Copies the files for a database that will go on from them: tables are linked, they never change.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), Error> {
        files::make_dir(to)?;
        for file in &self.manifest().files {
            let (source, target) = (self.path().join(&file.name), to.join(&file.name));
            if files::checksum(&source)? != (file.size_bytes, file.sum) {
                return Err(Error::damaged(&source, "differs from the manifest"));
            }
            if file.name.ends_with(".sst") {
                fs::hard_link(&source, &target).map_err(Error::io(&target))?;
            } else {
                fs::copy(&source, &target).map_err(Error::io(&target))?;
                File::open(&target)
                    .and_then(|f| f.sync_all())
                    .map_err(Error::io(&target))?;
            }
        }
        files::sync_dir(to)
    }
}

/// Describes the files of a checkpoint.
pub(crate) fn describe(path: &Path, meta: &Meta) -> Result<Manifest, Error> {
    let mut sums = Vec::new();
    for name in files::names(path)? {
        let (size_bytes, sum) = files::checksum(&path.join(&name))?;
        sums.push(FileSum {
            name,
            size_bytes,
            sum,
        });
    }
    let membership = meta.membership.to_vec();
    Ok(Manifest {
        applied: meta.applied,
        membership,
        revision: meta.origin.revision,
        files: sums,
    })
}

/// Writes the manifest, syncs, renames.
fn finish(dir: &DataDir, incoming: &Path, manifest: Manifest) -> Result<SnapshotDir, Error> {
    let id = manifest.applied.unwrap_or_default();
    // Another snapshot of the same entry may still be read under its own name.
    let path = (0u32..)
        .map(|n| {
            dir.snapshots()
                .join(format!("{:016x}-{:016x}-{n}", id.term, id.index))
        })
        .find(|path| !path.exists())
        .ok_or_else(|| Error::damaged(incoming, "no free name"))?;
    for file in &manifest.files {
        let file = incoming.join(&file.name);
        File::open(&file)
            .and_then(|f| f.sync_all())
            .map_err(Error::io(&file))?;
    }
    files::replace(&incoming.join(MANIFEST), &manifest.encode())?;
    fs::rename(incoming, &path).map_err(Error::io(&path))?;
    files::sync_dir(&dir.snapshots())?;
    Ok(SnapshotDir::held(path, manifest))
}

fn read_chunk(path: &Path, open: &mut Option<File>, left: u64) -> Result<Vec<u8>, Error> {
    if open.is_none() {
        *open = Some(File::open(path).map_err(Error::io(path))?);
    }
    let Some(file) = open else {
        return Ok(Vec::new());
    };
    let mut bytes = vec![0; left.min(SNAPSHOT_CHUNK_BYTES as u64) as usize];
    file.read_exact(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
