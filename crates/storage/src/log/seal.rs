//! Rewrites entries of the log that are not sealed as they should be, in place: index, term and payload stay, so neither
//! Raft nor a follower that lags notices, and nothing has to be purged for a key to go.

use std::sync::mpsc::{Sender, channel};

use rocksdb::{DB, WriteBatch};

use super::writer::Request;
use super::{LogStore, Shared, record};
use crate::state::seal::Tally;
use crate::{Error, range};

/// Where to go on; `None` at the end.
pub(super) type Resealed = Sender<Result<Option<u64>, Error>>;

/// Bytes looked at in one step; appends wait meanwhile.
const STEP_BYTES: usize = 2 << 20;

impl LogStore {
    /// One bounded step of rewriting: from an index on, as the step before answered; `None` at the end.
    pub fn reseal(&self, from: u64) -> Result<Option<u64>, Error> {
        let (answer, step) = channel();
        self.writer.send(Request::Reseal(from, answer));
        step.recv()
            .unwrap_or_else(|_| Err(Error::Closed(self.shared.path.clone())))
    }

    /// Leaves nothing of what was overwritten in the files.
    pub fn compact_entries(&self) -> Result<(), Error> {
        self.shared.with_db(|db| {
            range::compact(db, &record::key(0), record::END);
        })
    }

    /// How many entries lie under which key.
    pub fn tally(&self) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        self.shared.with_db(|db| {
            for item in range::read(db, &record::key(0), record::END) {
                let (_, value) = item.map_err(Error::database(&self.shared.path))?;
                tally.count(record::sealed_with(&value), false);
            }
            Ok(())
        })??;
        Ok(tally)
    }
}

impl Shared {
    /// What a step writes, and where the next one goes on.
    pub(super) fn stale(&self, from: u64) -> Result<(WriteBatch, Option<u64>), Error> {
        self.with_db(|db| {
            let (mut batch, mut bytes) = (WriteBatch::default(), 0);
            for item in range::read(db, &record::key(from), record::END) {
                let (key, value) = item.map_err(Error::database(&self.path))?;
                let entry = record::decode(&self.sealer, &self.path, &key, &value)?;
                if bytes >= STEP_BYTES {
                    return Ok((batch, Some(entry.id.index)));
                }
                bytes += value.len();
                if !record::is_as_wanted(&self.sealer, &entry, &value) {
                    batch.put(&key, record::encode(&self.sealer, &entry));
                }
            }
            Ok((batch, None))
        })?
    }

    fn with_db<T>(&self, work: impl FnOnce(&DB) -> T) -> Result<T, Error> {
        let db = self.db.read();
        let db = db.as_ref();
        db.map(work).ok_or_else(|| Error::Closed(self.path.clone()))
    }
}
