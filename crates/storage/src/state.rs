//! The state's database: objects by key and where they stand, one batch an apply, without a log of its own.
//!
//! After a crash it is some older, whole state; the log replays the rest. So the log must not be purged beyond what
//! `flush` made durable. A received snapshot becomes the next *generation*: a directory beside the present one, taken
//! into use by replacing one pointer file, so a crash leaves the old or the new.

pub(crate) mod record;
pub(crate) mod seal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kontiki_state::{Applied, Object, Origin};
use parking_lot::Mutex;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::error::fatal;
use crate::{DataDir, Error, LogId, Sealer, SnapshotDir, files, options, range};

const META: &[u8] = b"m";
const POINTER: &str = "current";

/// Where a stored state stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// Revision, compaction, index and term of the last command.
    pub origin: Origin,
    /// Last entry applied, of any kind.
    pub applied: Option<LogId>,
    /// Membership in force, encoded by consensus.
    pub membership: Bytes,
}

/// `Meta` on disk; append fields only.
#[derive(Serialize, Deserialize)]
struct StoredMeta {
    revision: u64,
    compacted: u64,
    index: u64,
    term: u64,
    applied: Option<LogId>,
    membership: Vec<u8>,
}

/// The state on disk. Cheap to clone.
#[derive(Clone)]
pub struct StateStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    sealer: Sealer,
    open: Mutex<Generation>,
    durable: AtomicU64,
    /// Held by what goes through many records beside applies; taken before `open`.
    working: Mutex<()>,
}

struct Generation {
    name: String,
    /// `None` once closed.
    db: Option<Arc<DB>>,
    meta: Meta,
}

impl StateStore {
    /// Opens the generation in use, or makes the first one.
    pub fn open(dir: &DataDir) -> Result<Self, Error> {
        let root = dir.state();
        files::make_dir(&root)?;
        let name = match files::read(&root.join(POINTER))? {
            Some(name) => String::from_utf8_lossy(&name).trim().to_owned(),
            None => {
                let name = "g1".to_owned();
                files::remove_dir(&root.join(&name))?;
                open_db(&root.join(&name))?
                    .flush()
                    .map_err(Error::database(&root))?;
                files::replace(&root.join(POINTER), name.as_bytes())?;
                name
            }
        };
        for other in files::names(&root)? {
            if other != POINTER && other != name {
                files::remove_dir(&root.join(other))?;
            }
        }
        let path = root.join(&name);
        if !path.is_dir() {
            return Err(Error::damaged(&path, "the generation in use is missing"));
        }
        let generation = Generation::open(&root, name)?;
        let durable = AtomicU64::new(next_index(generation.meta.applied));
        Ok(Self(Arc::new(Inner {
            root,
            sealer: dir.sealer().clone(),
            open: Mutex::new(generation),
            durable,
            working: Mutex::new(()),
        })))
    }

    /// Where the state stands.
    pub fn meta(&self) -> Meta {
        self.0.open.lock().meta.clone()
    }

    /// All objects.
    pub fn objects(&self) -> Result<Vec<Object>, Error> {
        let open = self.0.open.lock();
        let path = self.0.root.join(&open.name);
        read_objects(self.0.db(&open)?, &path, &self.0.sealer)
    }

    /// Stores what entries did, and where the state stands after them, in one batch.
    pub fn apply(&self, applied: &[Applied], meta: Meta) {
        let mut batch = WriteBatch::default();
        for one in applied {
            for object in &one.puts {
                let key = record::key(&object.key);
                let value = record::encode(&self.0.sealer, &key, object);
                batch.put(key, value);
            }
            for key in &one.deletes {
                batch.delete(record::key(key));
            }
        }
        let mut open = self.0.open.lock();
        let Some(db) = &open.db else { return };
        batch.put(META, encode_meta(&meta));
        write_without_log(db, batch, &self.0.root);
        open.meta = meta;
    }

    /// Makes everything applied durable.
    pub fn flush(&self) {
        let open = self.0.open.lock();
        let Some(db) = &open.db else { return };
        if let Err(error) = db.flush() {
            fatal("flushing the state", &self.0.root, &error);
        }
        self.0
            .durable
            .fetch_max(next_index(open.meta.applied), Ordering::SeqCst);
    }

    /// Flushes and closes. Applies that come later are dropped, as after a crash: the log has them.
    pub fn close(&self) {
        self.flush();
        let Some(db) = self.0.open.lock().db.take() else {
            return;
        };
        // Ends a compaction that runs, rather than wait for it.
        db.cancel_all_background_work(true);
        let _working = self.0.working.lock();
    }

    /// The log is needed from this index on.
    pub fn needed_from(&self) -> u64 {
        self.0.durable.load(Ordering::SeqCst)
    }

    /// Writes a consistent copy into a directory that must not exist, made of links where possible.
    pub fn checkpoint(&self, to: &Path) -> Result<Meta, Error> {
        let open = self.0.open.lock();
        let db = self.0.db(&open)?;
        db.flush().map_err(Error::database(&self.0.root))?;
        let checkpoint = Checkpoint::new(db).map_err(Error::database(&self.0.root))?;
        checkpoint
            .create_checkpoint(to)
            .map_err(Error::database(to))?;
        self.0
            .durable
            .fetch_max(next_index(open.meta.applied), Ordering::SeqCst);
        Ok(open.meta.clone())
    }

    /// Takes a verified snapshot into use instead of the present state.
    pub fn install(&self, snapshot: &SnapshotDir) -> Result<(Meta, Vec<Object>), Error> {
        let _working = self.0.working.lock();
        let mut open = self.0.open.lock();
        let number = open
            .name
            .trim_start_matches('g')
            .parse::<u64>()
            .unwrap_or(0)
            + 1;
        let name = format!("g{number}");
        let path = self.0.root.join(&name);
        files::remove_dir(&path)?;
        snapshot.copy_to(&path)?;
        let next = Generation::open(&self.0.root, name)?;
        let objects = read_objects(self.0.db(&next)?, &path, &self.0.sealer)?;
        files::replace(&self.0.root.join(POINTER), next.name.as_bytes())?;
        let meta = next.meta.clone();
        let old = std::mem::replace(&mut *open, next);
        self.0
            .durable
            .store(next_index(meta.applied), Ordering::SeqCst);
        let old_path = self.0.root.join(&old.name);
        drop(old);
        files::remove_dir(&old_path)?;
        Ok((meta, objects))
    }

    /// Writes a state from nothing, durably: what a restore does.
    pub fn create(dir: &DataDir, meta: &Meta, objects: Vec<Object>) -> Result<(), Error> {
        let store = Self::open(dir)?;
        let mut all = Applied::default();
        all.puts.extend(objects.into_iter().map(Arc::new));
        store.apply(&[all], meta.clone());
        store.flush();
        Ok(())
    }
}

impl Inner {
    fn db<'a>(&self, open: &'a Generation) -> Result<&'a Arc<DB>, Error> {
        open.db
            .as_ref()
            .ok_or_else(|| Error::Closed(self.root.clone()))
    }
}

impl Generation {
    fn open(root: &Path, name: String) -> Result<Self, Error> {
        let path = root.join(&name);
        let db = open_db(&path)?;
        let meta = match db.get(META).map_err(Error::database(&path))? {
            Some(bytes) => decode_meta(&path, &bytes)?,
            None => Meta::default(),
        };
        Ok(Self {
            name,
            db: Some(Arc::new(db)),
            meta,
        })
    }
}

/// Reads a checkpoint in place, for archives.
pub(crate) fn read_checkpoint(
    path: &Path,
    sealer: &Sealer,
) -> Result<(Meta, Vec<Object>, BTreeSet<String>), Error> {
    let db =
        DB::open_for_read_only(&options::state(), path, false).map_err(Error::database(path))?;
    let meta = db.get(META).map_err(Error::database(path))?;
    let meta = meta.ok_or_else(|| Error::damaged(path, "no state in it"))?;
    let mut sealed = BTreeSet::new();
    for item in range::read(&db, record::START, record::END) {
        let (key, value) = item.map_err(Error::database(path))?;
        if record::sealed_with(&value).is_some() {
            sealed.insert(record::resource(&key).into_owned());
        }
    }
    let objects = read_objects(&db, path, sealer)?;
    Ok((decode_meta(path, &meta)?, objects, sealed))
}

fn write_without_log(db: &DB, batch: WriteBatch, root: &Path) {
    let mut write = WriteOptions::default();
    write.disable_wal(true);
    if let Err(error) = db.write_opt(batch, &write) {
        fatal("writing the state", root, &error);
    }
}

fn open_db(path: &Path) -> Result<DB, Error> {
    files::make_dir(path)?;
    let db = DB::open(&options::state(), path).map_err(Error::database(path))?;
    files::tighten(path)?;
    Ok(db)
}

fn read_objects(db: &DB, path: &Path, sealer: &Sealer) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    let mut as_wanted = true;
    for item in range::read(db, record::START, record::END) {
        let (key, value) = item.map_err(Error::database(path))?;
        objects.push(record::decode(sealer, path, &key, &value)?);
        as_wanted = as_wanted && record::is_as_wanted(sealer, &key, &value);
    }
    if !as_wanted {
        sealer.unsettle();
    }
    Ok(objects)
}

fn next_index(applied: Option<LogId>) -> u64 {
    applied.map_or(0, |id| id.index + 1)
}

fn encode_meta(meta: &Meta) -> Vec<u8> {
    let Origin {
        revision,
        compacted,
        index,
        term,
    } = meta.origin;
    let membership = meta.membership.to_vec();
    let stored = StoredMeta {
        revision,
        compacted,
        index,
        term,
        applied: meta.applied,
        membership,
    };
    let mut bytes = vec![1];
    bytes.extend(postcard::to_stdvec(&stored).expect("writing to memory cannot fail"));
    bytes
}

fn decode_meta(path: &Path, bytes: &[u8]) -> Result<Meta, Error> {
    let Some((1, body)) = bytes.split_first() else {
        return Err(Error::damaged(path, "written by a newer build"));
    };
    let stored: StoredMeta =
        postcard::from_bytes(body).map_err(|error| Error::damaged(path, error.to_string()))?;
    let StoredMeta {
        revision,
        compacted,
        index,
        term,
        applied,
        membership,
    } = stored;
    let origin = Origin {
        revision,
        compacted,
        index,
        term,
    };
    Ok(Meta {
        origin,
        applied,
        membership: membership.into(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
