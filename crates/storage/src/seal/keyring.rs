//! A keyring: the keys that a replica opens records with, the first of which it seals with. As a file:
//!
//! ```text
//! kontiki-keyring 1
//! rotation 3
//! settled 5f1c0a1b2c3d4e5f secrets
//! key 5f1c0a1b2c3d4e5f SECRET-IN-HEX CREATED-UNIX-MS
//! ```
//! `settled` says what the disk was last brought to agree with: the key that seals, and the resources that are sealed.
//! Where it differs from what is wanted now, or is missing, records are still to be rewritten, also after a crash.

use std::path::Path;

use super::cipher::{SealingKey, secret_from_hex};
use super::{KeyId, Refusal, Resources};
use crate::Error;

const TITLE: &str = "kontiki-keyring 1";
/// Keys of one keyring: a rotation leaves two, a snapshot from another replica brings its own.
pub(super) const KEYS: usize = 16;

/// Keys, and how far they are in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyring {
    /// The first seals. Never empty.
    pub(super) keys: Vec<SealingKey>,
    /// The rotation that the first key was made for.
    pub(super) rotation: u64,
    /// `agreement` when it last held.
    pub(super) settled: Option<String>,
}

impl Keyring {
    pub(super) fn new(key: SealingKey) -> Self {
        Self {
            keys: vec![key],
            rotation: 0,
            settled: None,
        }
    }

    /// The key that seals.
    pub(super) fn writer(&self) -> &SealingKey {
        &self.keys[0]
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&SealingKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// What the disk agrees with once every record is as wanted.
    pub(super) fn agreement(&self, resources: &Resources) -> String {
        format!("{} {resources}", self.writer().id)
    }

    /// Makes a new key the one that seals.
    pub(super) fn rotate(&mut self, key: SealingKey, rotation: u64) {
        self.keys.insert(0, key);
        (self.rotation, self.settled) = (rotation, None);
    }

    /// Takes over another keyring's keys, to open records with.
    pub(super) fn add(&mut self, others: Vec<SealingKey>) -> Result<(), Refusal> {
        for key in others {
            if self.find(key.id).is_none() {
                self.keys.push(key);
            }
        }
        self.settled = None;
        match self.keys.len() <= KEYS {
            true => Ok(()),
            false => Err(Refusal::TooManyKeys),
        }
    }

    /// Drops all keys but the one that seals.
    pub(super) fn settle(&mut self, resources: &Resources) {
        self.keys.truncate(1);
        self.settled = Some(self.agreement(resources));
    }

    /// The file's content.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{TITLE}\nrotation {}\n", self.rotation);
        if let Some(settled) = &self.settled {
            text.push_str(&format!("settled {settled}\n"));
        }
        for key in &self.keys {
            let (id, created) = (key.id, key.created_unix_ms);
            text.push_str(&format!("key {id} {} {created}\n", key.secret_hex()));
        }
        text
    }

    /// Reads a file's content; errors name the line and never its content.
    pub(super) fn decode(path: &Path, text: &str) -> Result<Self, Error> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, title)| title != TITLE) {
            let reason = format!("its first line is not `{TITLE}`");
            return Err(Error::damaged(path, reason));
        }
        let (mut keys, mut rotation, mut settled) = (Vec::new(), 0, None);
        for (number, line) in lines {
            let wrong = |why: &str| Error::damaged(path, format!("line {}: {why}", number + 1));
            match line.split_once(' ') {
                Some(("rotation", n)) => {
                    rotation = n.parse().map_err(|_| wrong("not a number"))?;
                }
                Some(("settled", agreement)) => settled = Some(agreement.to_owned()),
                Some(("key", rest)) => keys.push(key(rest).map_err(|why| wrong(&why))?),
                _ => return Err(wrong("written by a newer build, or not a keyring's")),
            }
        }
        if keys.is_empty() || keys.len() > KEYS {
            let reason = format!("{} keys, where 1 to {KEYS} are", keys.len());
            return Err(Error::damaged(path, reason));
        }
        Ok(Self {
            keys,
            rotation,
            settled,
        })
    }
}

fn key(text: &str) -> Result<SealingKey, String> {
    let mut words = text.split(' ');
    let (id, secret, created) = (words.next(), words.next(), words.next());
    let (Some(id), Some(secret), Some(created), None) = (id, secret, created, words.next()) else {
        return Err("not `key ID SECRET CREATED`".to_owned());
    };
    let secret = secret_from_hex(secret).ok_or("the secret is not 64 hex digits")?;
    let created = created.parse().map_err(|_| "CREATED is not a number")?;
    let key = SealingKey::new(secret, created);
    match key.id.to_string() == id {
        true => Ok(key),
        false => Err(format!("the secret is not that of key {id}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Keyring {
        let mut ring = Keyring::new(SealingKey::new([1; 32], 5));
        ring.rotate(SealingKey::new([2; 32], 6), 4);
        ring
    }

    #[test]
    fn a_keyring_reads_back_and_a_wrong_line_is_named() {
        let mut ring = sample();
        let path = Path::new("ring");
        assert_eq!(Keyring::decode(path, &ring.encode()).unwrap(), ring);
        ring.settle(&Resources::default());
        assert_eq!(ring.keys.len(), 1);
        let text = ring.encode();
        assert_eq!(Keyring::decode(path, &text).unwrap(), ring);
        let id = ring.writer().id.to_string();
        for (from, to, why) in [
            ("kontiki-keyring 1", "kontiki-keyring 2", "first line"),
            ("rotation 4", "rotation x", "line 2: not a number"),
            ("settled", "sattled", "line 3: written by a newer build"),
            (
                "0202",
                "0203",
                &format!("line 4: the secret is not that of key {id}"),
            ),
            ("0202", "02zz", "64 hex digits"),
            (" 6\n", " 6 7\n", "not `key ID"),
        ] {
            let error = Keyring::decode(path, &text.replacen(from, to, 1));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("0202"), "{error}");
        }
        assert!(Keyring::decode(path, TITLE).is_err(), "no keys");
    }

    #[test]
    fn keys_of_others_are_added_once_and_within_the_limit() {
        let mut ring = sample();
        ring.add(sample().keys).unwrap();
        assert_eq!(ring.keys.len(), 2);
        let many = (10..26).map(|n| SealingKey::new([n; 32], 0)).collect();
        assert!(matches!(ring.add(many), Err(Refusal::TooManyKeys)));
    }
}
