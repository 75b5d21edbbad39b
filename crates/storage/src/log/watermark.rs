//! What was acknowledged, in a file apart from the log.
//!
//! It lags: it is written at most once a second or each thousand entries, because it only has to catch a log that lost
//! a good part of its end (a cut file, an old copy put back), which point-in-time recovery would hide. Two slots are
//! written in turn, so a torn write leaves the other.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record;
use crate::{Error, LogId, Vote, files};

const SLOT_BYTES: u64 = 4096;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Promise {
    sequence: u64,
    /// Last entry acknowledged.
    pub(super) last: Option<LogId>,
    /// Term of the last vote.
    pub(super) vote_term: u64,
}

pub(super) struct Watermark {
    path: PathBuf,
    file: File,
    promise: Promise,
}

impl Watermark {
    /// Opens the file, or makes it with nothing promised.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let fresh = !path.exists();
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .truncate(false)
            .open(path);
        let file = open.map_err(Error::io(path))?;
        let mut watermark = Self {
            path: path.to_owned(),
            file,
            promise: Promise::default(),
        };
        if fresh {
            watermark.write(None, 0)?;
            files::sync_dir(path.parent().unwrap_or(Path::new("/")))?;
            return Ok(watermark);
        }
        let slots = [watermark.read_slot(0), watermark.read_slot(1)];
        let newest = slots
            .into_iter()
            .flatten()
            .max_by_key(|promise| promise.sequence);
        watermark.promise = newest.ok_or_else(|| Error::damaged(path, "no slot is readable"))?;
        Ok(watermark)
    }

    pub(super) fn promise(&self) -> Promise {
        self.promise
    }

    /// Refuses a log that has less than was promised.
    pub(super) fn check(
        &self,
        log: &Path,
        last: Option<LogId>,
        vote: Option<Vote>,
    ) -> Result<(), Error> {
        let lost = last < self.promise.last;
        let vote_lost = vote.map_or(0, |vote| vote.term) < self.promise.vote_term;
        if !lost && !vote_lost {
            return Ok(());
        }
        let describe = |id: Option<LogId>, term: u64| {
            let entry = id.map_or("nothing".into(), |id| format!("entry {}", id.index));
            format!("{entry}, vote of term {term}")
        };
        Err(Error::LogLost {
            path: log.to_owned(),
            found: describe(last, vote.map_or(0, |vote| vote.term)),
            acknowledged: describe(self.promise.last, self.promise.vote_term),
        })
    }

    /// Notes a promise durably.
    pub(super) fn write(&mut self, last: Option<LogId>, vote_term: u64) -> Result<(), Error> {
        let sequence = self.promise.sequence + 1;
        let promise = Promise {
            sequence,
            last,
            vote_term,
        };
        let mut slot = record::encode_meta(&promise);
        slot.insert(
            0,
            u8::try_from(slot.len()).expect("a promise is a few dozen bytes"),
        );
        let offset = (sequence % 2) * SLOT_BYTES;
        self.file
            .write_all_at(&slot, offset)
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io(&self.path))?;
        self.promise = promise;
        Ok(())
    }

    fn read_slot(&self, slot: u64) -> Option<Promise> {
        let mut length = [0];
        self.file
            .read_exact_at(&mut length, slot * SLOT_BYTES)
            .ok()?;
        let mut bytes = vec![0; usize::from(length[0])];
        self.file
            .read_exact_at(&mut bytes, slot * SLOT_BYTES + 1)
            .ok()?;
        record::decode_meta(&self.path, &bytes).ok()
    }
}
