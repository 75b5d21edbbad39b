//! Encryption at rest: objects of chosen resources are sealed wherever they reach the disk, and plain in memory.
//!
//! Each replica seals with keys of its own, and what replicas tell one another is plain under mutual TLS: so replicas
//! need not agree on a key, nor on bytes, and a rotation is a local matter of each. Only files travel sealed
//! (snapshots, archives), and they bring the keys that open them.
//!
//! `cipher` (one record) ← `keyring` (keys and their file) ← `Sealer` (what is sealed, and how far the disk agrees).
//! Whoever stores records asks the sealer; `state/seal.rs` and `log/seal.rs` rewrite what is not as it should be.

mod cipher;
mod keyring;
mod resources;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_base::clock::SystemClock;
use kontiki_base::random::SystemRandom;
use parking_lot::RwLock;

use crate::{Error, files};
use cipher::SealingKey;
use keyring::Keyring;

pub use cipher::KeyId;
pub use resources::Resources;

/// File of the keyring in an archive, and in a replica's folder of keys unless configured otherwise.
pub const KEYRING: &str = "encryption.keys";
/// A keyring as text is never longer.
const KEYRING_BYTES: usize = 16 << 10;

/// What a replica is told of encryption at rest.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The file of its keys; made when missing.
    pub keyring: PathBuf,
    /// What is sealed.
    pub resources: Resources,
}

/// Seals and opens records. Cheap to clone; shown, it names no key.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    resources: Resources,
    /// Where the keys came from; empty for nowhere.
    file: PathBuf,
    /// Whether changes are written there.
    writes: bool,
    ring: RwLock<Ring>,
}

struct Ring {
    keys: Keyring,
    settled: bool,
    /// Counts what may leave other records on the disk than are wanted: rotations and arriving snapshots.
    epoch: u64,
    /// Snapshots that arrive now, and need the keys that came with them.
    arriving: usize,
}

/// A key of the keyring, without its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub id: KeyId,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

/// Why a record does not open, or keys are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoKey(KeyId),
    Damaged(KeyId),
    TooShort,
    TooManyKeys,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer of {:?}", self.0.resources.to_string())
    }
}

impl Sealer {
    /// Reads the keyring. A missing one is made, in memory: `save` writes it once it is known that nothing on the disk
    /// needs the one that is missing.
    pub fn open(sealing: &Sealing) -> Result<Self, Error> {
        let path = &sealing.keyring;
        let keys = match files::read(path)? {
            Some(content) => {
                let text = String::from_utf8(content)
                    .map_err(|_| Error::damaged(path, "not a keyring's text"))?;
                Keyring::decode(path, &text)?
            }
            None => Keyring::new(fresh_key()),
        };
        Ok(Self::of(keys, path, true, sealing.resources.clone()))
    }

    /// Seals nothing, opens nothing.
    pub fn off() -> Self {
        Self::in_memory(Resources::NONE)
    }

    /// With a key that is never written anywhere.
    pub(crate) fn in_memory(resources: Resources) -> Self {
        let keys = Keyring::new(fresh_key());
        Self::of(keys, Path::new(""), false, resources)
    }

    /// Over another replica's keys, for its archive; sealing these resources.
    pub(crate) fn of_archive(
        archive: &Path,
        text: Option<&String>,
        resources: Resources,
    ) -> Result<Self, Error> {
        let keys = match text {
            Some(text) => Keyring::decode(archive, text)?,
            None => Keyring::new(fresh_key()),
        };
        Ok(Self::of(keys, archive, false, resources))
    }

    fn of(keys: Keyring, file: &Path, writes: bool, resources: Resources) -> Self {
        let settled = keys.settled.as_ref() == Some(&keys.agreement(&resources));
        Self(Arc::new(Inner {
            resources,
            file: file.to_owned(),
            writes,
            ring: RwLock::new(Ring {
                keys,
                settled,
                epoch: 0,
                arriving: 0,
            }),
        }))
    }

    /// Makes the keyring durable. Before the first record is sealed with it.
    pub fn save(&self) -> Result<(), Error> {
        self.store(&self.0.ring.read().keys)
    }

    /// What is sealed.
    pub fn resources(&self) -> &Resources {
        &self.0.resources
    }

    /// Whether every record on the disk is as wanted and needs no other key than the one that seals.
    pub fn is_settled(&self) -> bool {
        self.0.ring.read().settled
    }

    /// The rotation that the sealing key was made for.
    pub fn rotation(&self) -> u64 {
        self.0.ring.read().keys.rotation
    }

    /// All keys, the one that seals first.
    pub fn keys(&self) -> Vec<KeyInfo> {
        let ring = self.0.ring.read();
        let info = |key: &SealingKey| KeyInfo {
            id: key.id,
            created_unix_ms: key.created_unix_ms,
        };
        ring.keys.keys.iter().map(info).collect()
    }

    /// The keyring for whoever gets files with records of it: nothing in it is settled for them.
    pub fn export(&self) -> String {
        let mut keys = self.0.ring.read().keys.clone();
        keys.settled = None;
        keys.encode()
    }

    /// Seals with a new key from now on.
    pub fn rotate(&self, rotation: u64) -> Result<(), Error> {
        self.change(|ring| {
            ring.rotate(fresh_key(), rotation);
            Ok(())
        })
    }

    /// Prepares for files of another replica: takes over the keys that came with them (none: they are plain). Until the
    /// guard is dropped no key is let go.
    pub fn arriving(&self, keyring: &[u8]) -> Result<Arriving, Error> {
        let from = Path::new("keys that came with a snapshot");
        if keyring.len() > KEYRING_BYTES {
            return Err(Error::damaged(from, "too long"));
        }
        let text = std::str::from_utf8(keyring).map_err(|_| Error::damaged(from, "not a text"))?;
        let others = match text {
            "" => Vec::new(),
            text => Keyring::decode(from, text)?.keys,
        };
        self.change(|ring| ring.add(others))?;
        self.0.ring.write().arriving += 1;
        Ok(Arriving(self.clone()))
    }

    /// Counts what may leave other records on the disk than are wanted: taken before they are looked for.
    pub fn epoch(&self) -> u64 {
        self.0.ring.read().epoch
    }

    /// Lets all keys go but the one that seals, once no record needs another. Nothing happens, and the answer is no,
    /// when something came in between since `epoch`.
    pub fn settle(&self, epoch: u64) -> Result<bool, Error> {
        let mut ring = self.0.ring.write();
        if ring.epoch != epoch || ring.arriving > 0 {
            return Ok(false);
        }
        let mut keys = ring.keys.clone();
        keys.settle(&self.0.resources);
        self.store(&keys)?;
        (ring.keys, ring.settled) = (keys, true);
        Ok(true)
    }

    /// A record was found that is not as wanted.
    pub(crate) fn unsettle(&self) {
        self.0.ring.write().settled = false;
    }

    /// Appends a sealed record for a place.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let ring = self.0.ring.read();
        ring.keys.writer().seal(&SystemRandom, place, plain, out);
    }

    /// Opens a sealed record of a place.
    pub(crate) fn unseal(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let id = KeyId::of_sealed(sealed).ok_or(Refusal::TooShort)?;
        let ring = self.0.ring.read();
        let key = ring.keys.find(id).ok_or(Refusal::NoKey(id))?;
        key.open(place, sealed).ok_or(Refusal::Damaged(id))
    }

    /// Whether a sealed record is of the key that seals now.
    pub(crate) fn is_of_writer(&self, sealed: &[u8]) -> bool {
        KeyId::of_sealed(sealed) == Some(self.0.ring.read().keys.writer().id)
    }

    /// The error for a record that does not open.
    pub(crate) fn refused(&self, refusal: Refusal, path: &Path, what: &str) -> Error {
        match refusal {
            Refusal::NoKey(key) => Error::KeyMissing {
                path: path.to_owned(),
                what: what.to_owned(),
                key,
                keyring: self.0.file.clone(),
            },
            Refusal::Damaged(key) => {
                Error::damaged(path, format!("{what} does not open with its key {key}"))
            }
            Refusal::TooShort => Error::damaged(path, format!("{what} is too short")),
            Refusal::TooManyKeys => {
                Error::damaged(path, format!("more than {} keys in use", keyring::KEYS))
            }
        }
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Keyring) -> Result<(), Refusal>,
    ) -> Result<(), Error> {
        let mut ring = self.0.ring.write();
        let mut keys = ring.keys.clone();
        change(&mut keys).map_err(|refusal| self.refused(refusal, &self.0.file, "the keyring"))?;
        self.store(&keys)?;
        (ring.keys, ring.settled) = (keys, false);
        ring.epoch += 1;
        Ok(())
    }

    fn store(&self, keys: &Keyring) -> Result<(), Error> {
        if !self.0.writes {
            return Ok(());
        }
        let (path, content) = (&self.0.file, keys.encode());
        assert!(content.len() <= KEYRING_BYTES, "a keyring has few keys");
        if let Some(folder) = path.parent() {
            files::make_dir(folder)?;
        }
        files::replace(path, content.as_bytes())
    }
}

/// Holds the keys of files that arrive.
#[must_use]
pub struct Arriving(Sealer);

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut ring = self.0.0.ring.write();
        ring.arriving -= 1;
        // What was looked at while they arrived says nothing of them.
        ring.epoch += 1;
    }
}

fn fresh_key() -> SealingKey {
    SealingKey::generate(&SystemRandom, &*SystemClock::shared())
}

#[cfg(test)]
mod tests;
