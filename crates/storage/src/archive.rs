//! Archives: a snapshot as one stream of bytes, for `snapshot save`, `restore` and `status`. The second version carries
//! the keys of the cluster's authorities too, without which no node, user or token would know what is restored, and the
//! keyring that its sealed records open with.
//!
//! ```text
//! magic · length of header · header · CRC of header
//! { length · CRC · bytes of the files in the header's order }*
//! 0 · CRC of all chunk CRCs
//! ```
//! Numbers are big-endian u32. Each chunk, then each file, then the end are checked; a flipped bit or a missing end is
//! an error, never a smaller cluster.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use kontiki_base::limits::SNAPSHOT_CHUNK_BYTES;
use kontiki_state::Origin;
use serde::{Deserialize, Serialize};

use crate::snapshot::Receiver;
use crate::{
    DataDir, Error, Identity, KEYRING, LogId, LogStore, Manifest, Meta, Resources, Sealer,
    SnapshotDir, StateStore, Vote, state,
};

const MAGIC: &[u8; 16] = b"KONTIKI-ARCHIVE2";
/// Archives without keys.
const MAGIC_1: &[u8; 16] = b"KONTIKI-ARCHIVE1";
const HEADER_LIMIT_BYTES: usize = 16 << 20;

/// What an archive says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Cluster that it was taken from.
    pub cluster_id: String,
    /// When, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// Revision of its state.
    pub revision: u64,
    /// Last log entry in it.
    pub applied: Option<LogId>,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Names of the files of keys in it.
    pub keys: Vec<String>,
}

/// Files of keys by name, with their contents.
pub type Keys = BTreeMap<String, String>;

/// The header of both versions; the first ends before the keys.
#[derive(Serialize)]
struct Header {
    cluster_id: String,
    created_unix_ms: u64,
    manifest: Vec<u8>,
    keys: Keys,
}

/// What a restored replica becomes.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The new cluster and its first replica.
    pub identity: Identity,
    /// Added to the revision, so that no client sees it go back past what it may have read after the archive.
    pub revision_step: u64,
}

/// The archive of a snapshot, piece by piece.
pub fn pieces(
    snapshot: &SnapshotDir,
    cluster_id: &str,
    created_unix_ms: u64,
    keys: Keys,
) -> impl Iterator<Item = Result<Vec<u8>, Error>> + Send + 'static {
    let cluster_id = cluster_id.to_owned();
    let header = Header {
        cluster_id,
        created_unix_ms,
        manifest: snapshot.manifest().encode(),
        keys,
    };
    let header = postcard::to_stdvec(&header).expect("writing to memory cannot fail");
    let length = u32::try_from(header.len()).expect("a manifest lists a few files");
    let sum = crc32fast::hash(&header);
    let start = [
        &MAGIC[..],
        &length.to_be_bytes(),
        &header,
        &sum.to_be_bytes(),
    ]
    .concat();
    let mut chunks = snapshot.chunks();
    let mut all = crc32fast::Hasher::new();
    let mut ended = false;
    let rest = std::iter::from_fn(move || match chunks.next() {
        Some(Ok((_, _, bytes))) => {
            let sum = crc32fast::hash(&bytes).to_be_bytes();
            all.update(&sum);
            let length = u32::try_from(bytes.len()).expect("chunks are limited");
            Some(Ok([&length.to_be_bytes()[..], &sum, &bytes].concat()))
        }
        Some(Err(error)) => Some(Err(error)),
        None if !ended => {
            ended = true;
            Some(Ok([[0; 4], all.clone().finalize().to_be_bytes()].concat()))
        }
        None => None,
    });
    std::iter::once(Ok(start)).chain(rest)
}

/// Reads an archive to its end and checks everything.
pub fn status(path: &Path) -> Result<Summary, Error> {
    let mut reader = Reader::open(path)?;
    let (header, manifest) = reader.header()?;
    let mut sums = FileCheck::new(path, &manifest);
    while let Some(chunk) = reader.chunk()? {
        sums.take(&chunk)?;
    }
    sums.end()?;
    Ok(summary(&header, &manifest))
}

/// Makes an empty directory the data directory of the only replica of a new cluster with the archive's state; answers
/// the keys too, without which the replica will not read what is sealed. `membership` encodes a membership of that replica alone, in force since the given entry.
pub fn restore(
    archive: &Path,
    root: &Path,
    restore: &Restore,
    membership: impl FnOnce(LogId) -> Bytes,
) -> Result<(Summary, Keys), Error> {
    let mut reader = Reader::open(archive)?;
    let (header, manifest) = reader.header()?;
    let summary = summary(&header, &manifest);
    let dir = DataDir::create(root, &restore.identity)?;
    let snapshot = unpack(&mut reader, &dir, manifest)?;
    let ring = header.keys.get(KEYRING);
    let sealer = Sealer::of_archive(archive, ring, Resources::NONE)?;
    let (meta, objects, sealed) = state::read_checkpoint(snapshot.path(), &sealer)?;
    // What was sealed is sealed again, under the keys that come along.
    let resources = Resources::exactly(sealed.iter().map(String::as_str));
    let dir = dir.sealed_by(Sealer::of_archive(archive, ring, resources)?);
    let applied = meta
        .applied
        .ok_or_else(|| Error::damaged(archive, "nothing was applied"))?;
    let revision = meta.origin.revision + restore.revision_step;
    let meta = Meta {
        origin: Origin {
            revision,
            compacted: revision,
            ..meta.origin
        },
        applied: Some(applied),
        membership: membership(applied),
    };
    StateStore::create(&dir, &meta, objects)?;
    begin_log(&dir, applied, restore.identity.replica_id)?;
    // Its revision is the old one: the replica makes a snapshot of its own.
    snapshot.retire();
    Ok((summary, header.keys))
}

/// A log that continues after an entry, with a vote of the following term.
fn begin_log(dir: &DataDir, applied: LogId, replica_id: u64) -> Result<(), Error> {
    let log = LogStore::open(dir)?;
    let vote = Vote {
        term: applied.term + 1,
        voted_for: replica_id,
        committed: false,
    };
    log.purge(applied, Box::new(|| {}));
    log.save_vote(vote, Box::new(|| {}));
    log.close();
    Ok(())
}

fn unpack(reader: &mut Reader, dir: &DataDir, manifest: Manifest) -> Result<SnapshotDir, Error> {
    let files = manifest.files.clone();
    let mut receiver = Receiver::begin(dir, manifest, 0)?;
    let mut files = files.iter().filter(|file| file.size_bytes > 0);
    let (mut current, mut offset) = (files.next(), 0);
    while let Some(chunk) = reader.chunk()? {
        let Some(file) = current else {
            return Err(reader.damaged("more data than files"));
        };
        receiver.chunk(&file.name, offset, &chunk, crc32fast::hash(&chunk))?;
        offset += chunk.len() as u64;
        if offset == file.size_bytes {
            (current, offset) = (files.next(), 0);
        }
    }
    receiver.finish()
}

fn summary(header: &Header, manifest: &Manifest) -> Summary {
    Summary {
        cluster_id: header.cluster_id.clone(),
        created_unix_ms: header.created_unix_ms,
        revision: manifest.revision,
        applied: manifest.applied,
        size_bytes: manifest.size_bytes(),
        keys: header.keys.keys().cloned().collect(),
    }
}

impl Header {
    fn decode(bytes: &[u8], has_keys: bool) -> Result<Self, postcard::Error> {
        let ((cluster_id, created_unix_ms, manifest), rest) = postcard::take_from_bytes(bytes)?;
        let keys = if has_keys {
            postcard::from_bytes(rest)?
        } else {
            Keys::new()
        };
        Ok(Self {
            cluster_id,
            created_unix_ms,
            manifest,
            keys,
        })
    }
}

struct Reader {
    path: std::path::PathBuf,
    file: std::io::BufReader<std::fs::File>,
    all: crc32fast::Hasher,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = std::io::BufReader::new(std::fs::File::open(path).map_err(Error::io(path))?);
        Ok(Self {
            path: path.to_owned(),
            file,
            all: crc32fast::Hasher::new(),
        })
    }

    fn header(&mut self) -> Result<(Header, Manifest), Error> {
        let magic = self.take(MAGIC.len())?;
        let has_keys = magic == MAGIC;
        if !has_keys && magic != MAGIC_1 {
            return Err(self.damaged("not an archive of a known version"));
        }
        let length = self.number()? as usize;
        if length > HEADER_LIMIT_BYTES {
            return Err(self.damaged("header too long"));
        }
        let bytes = self.take(length)?;
        if self.number()? != crc32fast::hash(&bytes) {
            return Err(self.damaged("header's checksum differs"));
        }
        let header =
            Header::decode(&bytes, has_keys).map_err(|error| self.damaged(&error.to_string()))?;
        let manifest = Manifest::decode(&self.path, &header.manifest)?;
        Ok((header, manifest))
    }

    /// The next chunk, `None` at a proper end.
    fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let (length, sum) = (self.number()? as usize, self.number()?);
        if length == 0 {
            if sum != self.all.clone().finalize() || !self.at_end()? {
                return Err(self.damaged("the end does not fit"));
            }
            return Ok(None);
        }
        if length > SNAPSHOT_CHUNK_BYTES {
            return Err(self.damaged("chunk too long"));
        }
        let bytes = self.take(length)?;
        if crc32fast::hash(&bytes) != sum {
            return Err(self.damaged("chunk's checksum differs"));
        }
        self.all.update(&sum.to_be_bytes());
        Ok(Some(bytes))
    }

    fn at_end(&mut self) -> Result<bool, Error> {
        let mut byte = [0];
        self.file
            .read(&mut byte)
            .map(|n| n == 0)
            .map_err(Error::io(&self.path))
    }

    fn number(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.take(4)?);
        Ok(u32::from_be_bytes(bytes))
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length];
        match self.file.read_exact(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends too early"))
            }
            Err(error) => Err(Error::io(&self.path)(error)),
            Ok(()) => Ok(bytes),
        }
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(&self.path, reason)
    }
}

/// Checks a stream of bytes against the sizes and sums of the files it consists of.
struct FileCheck<'a> {
    path: &'a Path,
    files: std::slice::Iter<'a, crate::FileSum>,
    current: Option<(&'a crate::FileSum, u64, crc32fast::Hasher)>,
}

impl<'a> FileCheck<'a> {
    fn new(path: &'a Path, manifest: &'a Manifest) -> Self {
        Self {
            path,
            files: manifest.files.iter(),
            current: None,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.current.is_none() {
                let file = self.files.find(|file| file.size_bytes > 0);
                let file = file.ok_or_else(|| Error::damaged(self.path, "more data than files"))?;
                self.current = Some((file, file.size_bytes, crc32fast::Hasher::new()));
            }
            let Some((file, left, sum)) = &mut self.current else {
                return Ok(());
            };
            let n = bytes
                .len()
                .min(usize::try_from(*left).unwrap_or(usize::MAX));
            sum.update(&bytes[..n]);
            bytes = &bytes[n..];
            *left -= n as u64;
            if *left == 0 {
                if sum.clone().finalize() != file.sum {
                    let reason = format!("{} differs from the manifest", file.name);
                    return Err(Error::damaged(self.path, reason));
                }
                self.current = None;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Error> {
        if self.current.is_some() || self.files.any(|file| file.size_bytes > 0) {
            return Err(Error::damaged(self.path, "files are missing"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
