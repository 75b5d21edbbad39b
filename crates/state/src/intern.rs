//! Shares equal strings: a million pods repeat some thousand namespaces, label keys and node names.
//!
//! Memory only: nothing that leaves the state machine depends on what is interned.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Header, Key};

/// Strings kept; when full, those that nobody else holds go.
const STRINGS: usize = 1 << 17;
/// Longer strings (image digests, annotations of selectors) repeat too seldom.
const LENGTH: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Interner {
    strings: HashSet<Arc<str>>,
}

impl Interner {
    /// The shared copy of `text`.
    pub(crate) fn share(&mut self, text: &Arc<str>) -> Arc<str> {
        if text.len() > LENGTH {
            return Arc::clone(text);
        }
        if let Some(found) = self.strings.get(text) {
            return Arc::clone(found);
        }
        if self.strings.len() >= STRINGS {
            self.strings.retain(|string| Arc::strong_count(string) > 1);
            if self.strings.len() >= STRINGS / 2 {
                self.strings.clear();
            }
        }
        debug_assert!(self.strings.len() < STRINGS);
        self.strings.insert(Arc::clone(text));
        Arc::clone(text)
    }

    /// The key with its resource and namespace shared; names repeat too seldom.
    pub(crate) fn key(&mut self, key: &Key) -> Key {
        Key {
            resource: self.share(&key.resource),
            namespace: self.share(&key.namespace),
            name: Arc::clone(&key.name),
        }
    }

    /// The header with labels, fields and owners shared; a uid is its object's own.
    pub(crate) fn header(&mut self, header: &Header) -> Header {
        let mut pairs = |pairs: &[(Arc<str>, Arc<str>)]| {
            pairs
                .iter()
                .map(|(k, v)| (self.share(k), self.share(v)))
                .collect()
        };
        let (labels, fields) = (pairs(&header.labels), pairs(&header.fields));
        let owners = header.owners.iter().map(|uid| self.share(uid)).collect();
        Header {
            uid: Arc::clone(&header.uid),
            labels,
            fields,
            owners,
            deleting: header.deleting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_one_copy_and_the_set_stays_bounded() {
        let mut interner = Interner::default();
        let first = interner.share(&Arc::from("default"));
        let second = interner.share(&Arc::from("default"));
        assert!(Arc::ptr_eq(&first, &second));
        for n in 0..=STRINGS {
            interner.share(&Arc::from(n.to_string()));
        }
        assert!(interner.strings.len() <= STRINGS);
        assert!(interner.strings.contains("default"), "what is in use stays");
    }
}
