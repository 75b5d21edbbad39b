//! Rewrites records of the state that are not sealed as they should be: after a rotation, a changed setting, or with a
//! snapshot from another replica. Nothing but the sealing changes: not the object, not its revision, not where the state
//! stands. A rewrite that a crash undoes is done again, because the old key stays until a flush.

use std::collections::BTreeMap;
use std::sync::Arc;

use rocksdb::{DB, WriteBatch};

use super::{StateStore, record, write_without_log};
use crate::{Error, KeyId, range};

/// Records looked at, and rewritten, in one step.
const SCAN_RECORDS: usize = 4096;
const REWRITE_RECORDS: usize = 64;

/// Keys of records.
type Keys = Vec<Vec<u8>>;

/// How many records lie under which key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sealed records by key.
    pub sealed: BTreeMap<KeyId, u64>,
    /// Plain records that ought to be sealed.
    pub plain: u64,
}

impl Tally {
    /// Counts one more under its key.
    pub(crate) fn count(&mut self, key: Option<KeyId>, wanted_sealed: bool) {
        match key {
            Some(key) => *self.sealed.entry(key).or_default() += 1,
            None => self.plain += u64::from(wanted_sealed),
        }
    }
}

impl StateStore {
    /// One bounded step of rewriting: from a key on, as the step before answered; `None` at the beginning and at the end.
    pub fn reseal(&self, from: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        let _working = self.0.working.lock();
        let (stale, next) = self.stale(from)?;
        if stale.is_empty() {
            return Ok(next);
        }
        // Applies wait meanwhile, and what they wrote since is not overwritten.
        let open = self.0.open.lock();
        let (db, path) = (self.0.db(&open)?, self.0.root.join(&open.name));
        let mut batch = WriteBatch::default();
        for key in stale {
            let Some(old) = db.get(&key).map_err(Error::database(&path))? else {
                continue;
            };
            if !record::is_as_wanted(&self.0.sealer, &key, &old) {
                let plain = record::plain(&self.0.sealer, &path, &key, &old)?.into_owned();
                batch.put(&key, record::of_plain(&self.0.sealer, &key, plain));
            }
        }
        write_without_log(db, batch, &self.0.root);
        Ok(next)
    }

    /// Keys of records that are not as wanted, and where to go on.
    fn stale(&self, from: Option<&[u8]>) -> Result<(Keys, Option<Vec<u8>>), Error> {
        let db = self.shared_db()?;
        let start = from.unwrap_or(record::START);
        let mut stale = Vec::new();
        for (n_scanned, item) in range::read(&db, start, record::END).enumerate() {
            let (key, value) = item.map_err(Error::database(&self.0.root))?;
            if n_scanned >= SCAN_RECORDS || stale.len() >= REWRITE_RECORDS {
                return Ok((stale, Some(key.into_vec())));
            }
            if !record::is_as_wanted(&self.0.sealer, &key, &value) {
                stale.push(key.into_vec());
            }
        }
        Ok((stale, None))
    }

    /// Leaves nothing of what was overwritten in the files of sealed resources. Takes as long as they are large.
    pub fn compact_sealed(&self) -> Result<(), Error> {
        let _working = self.0.working.lock();
        let db = self.shared_db()?;
        for (start, end) in self.ranges(true) {
            range::compact(&db, &start, &end);
        }
        Ok(())
    }

    /// How many records lie under which key. Reads what may be sealed: the resources that are, or everything as long as
    /// not all is as wanted.
    pub fn tally(&self) -> Result<Tally, Error> {
        let _working = self.0.working.lock();
        let db = self.shared_db()?;
        let mut tally = Tally::default();
        for (start, end) in self.ranges(self.0.sealer.is_settled()) {
            for item in range::read(&db, &start, &end) {
                let (key, value) = item.map_err(Error::database(&self.0.root))?;
                let wanted = record::is_wanted_sealed(&self.0.sealer, &key);
                tally.count(record::sealed_with(&value), wanted);
            }
        }
        Ok(tally)
    }

    /// Where sealed records are: all keys, unless only those of the sealed resources may be.
    fn ranges(&self, sealed_only: bool) -> Vec<record::Range> {
        match self.0.sealer.resources().names().filter(|_| sealed_only) {
            Some(names) => names.into_iter().map(record::range).collect(),
            None => vec![(record::START.to_vec(), record::END.to_vec())],
        }
    }

    fn shared_db(&self) -> Result<Arc<DB>, Error> {
        let open = self.0.open.lock();
        self.0.db(&open).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests;
