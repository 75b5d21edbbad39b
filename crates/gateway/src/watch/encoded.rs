//! Objects in protobuf that watchers were sent of late: what thousands of watchers get is made once, not once for each.
//!
//! A cache and nothing more: bounded in bytes, the oldest go first, a miss is made anew. JSON needs none, as stored bytes
//! go out as they are.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use kontiki_base::status::Status;
use kontiki_state::{Object, Revision};

use crate::accept::Shape;
use crate::respond;
use crate::shape::Shaper;

/// Bytes of all that is kept. Watchers that keep up are within one batch of each other.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Where the stored bytes lie, the revision that is spliced in, and whether all goes out or the metadata alone. An
/// entry holds the stored bytes, so that nothing else comes to lie there while it is kept.
type Key = (usize, Revision, bool);

/// What was made.
#[derive(Default)]
pub struct Encoded(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_key: HashMap<Key, Entry>,
    /// Keys in the order of their making.
    oldest_first: VecDeque<Key>,
    n_bytes: usize,
}

struct Entry {
    /// Stored bytes that it was made of.
    stored: Bytes,
    encoded: Bytes,
}

impl Entry {
    fn n_bytes(&self) -> usize {
        self.stored.len() + self.encoded.len()
    }
}

impl Encoded {
    /// An object of an event in its envelope.
    pub fn object(&self, object: &Object, shaper: &Shaper) -> Result<Bytes, Status> {
        let stored = object.bytes.clone();
        let is_whole = shaper.shape == Shape::Object;
        let key = (stored.as_ptr().addr(), object.revision, is_whole);
        if let Some(entry) = self.kept().by_key.get(&key) {
            return Ok(entry.encoded.clone());
        }
        // Outside of the lock: two that make the same thing harm less than all waiting for one.
        let mut json = Vec::new();
        shaper.write(object, &mut json);
        let encoded = Bytes::from(respond::to_protobuf(&json)?);
        let entry = Entry {
            stored,
            encoded: encoded.clone(),
        };
        self.kept().keep(key, entry);
        Ok(encoded)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, key: Key, entry: Entry) {
        self.n_bytes += entry.n_bytes();
        match self.by_key.insert(key, entry) {
            Some(same) => self.n_bytes -= same.n_bytes(),
            None => self.oldest_first.push_back(key),
        }
        while self.n_bytes > KEPT_BYTES
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            let gone = self.by_key.remove(&oldest);
            self.n_bytes -= gone.map_or(0, |entry| entry.n_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let entry = |n_bytes: usize| Entry {
            stored: vec![0; n_bytes / 2].into(),
            encoded: vec![0; n_bytes / 2].into(),
        };
        let mut kept = Kept::default();
        for revision in 0..1000 {
            kept.keep((0, revision, true), entry(64 * 1024));
            kept.keep((0, revision, true), entry(64 * 1024));
        }
        assert_eq!(kept.n_bytes, KEPT_BYTES);
        assert_eq!(kept.by_key.len(), kept.oldest_first.len());
        assert!(kept.by_key.contains_key(&(0, 999, true)));
        assert!(!kept.by_key.contains_key(&(0, 0, true)));
        kept.keep((0, 1000, false), entry(2 * KEPT_BYTES));
        assert_eq!((kept.n_bytes, kept.by_key.len()), (0, 0));
    }
}
