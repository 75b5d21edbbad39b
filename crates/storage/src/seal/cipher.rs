//! AES-256-GCM as it is used here: each record has a key of its own, derived from a key of the keyring and a random
//! salt that is stored with it. So no nonce ever repeats under one key, however many records a keyring's key seals,
//! after however many restarts, and nothing has to be counted.
//!
//! ```text
//! id of the keyring's key (8) · salt (24) · ciphertext · tag (16)
//! ```
//! What a record is bound to (its key in the database, its index in the log) is authenticated with it: bytes that are
//! put in another record's place do not open.

use std::fmt;

use kontiki_base::clock::Clock;
use kontiki_base::random::Random;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hkdf};

const ID_BYTES: usize = 8;
const SALT_BYTES: usize = 24;
/// Bytes of a key.
pub(super) const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Says what derived keys are for.
const PURPOSE: &[u8] = b"kontiki sealed record 1";
/// Each derived key seals one record, so its nonce need not vary.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// Names a key: the beginning of its SHA-256, so that a wrong key cannot pass under a right name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

impl KeyId {
    fn of(secret: &[u8; SECRET_BYTES]) -> Self {
        let digest = digest::digest(&digest::SHA256, secret);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&digest.as_ref()[..ID_BYTES]);
        Self(id)
    }

    /// The key that sealed a record.
    pub(crate) fn of_sealed(sealed: &[u8]) -> Option<Self> {
        let (id, _) = sealed.split_first_chunk::<ID_BYTES>()?;
        Some(Self(*id))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key of the keyring. Shown, it is its id.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SealingKey {
    pub(super) id: KeyId,
    pub(super) created_unix_ms: u64,
    secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.id)
    }
}

impl SealingKey {
    pub(super) fn new(secret: [u8; SECRET_BYTES], created_unix_ms: u64) -> Self {
        let id = KeyId::of(&secret);
        Self {
            id,
            created_unix_ms,
            secret,
        }
    }

    pub(super) fn generate(random: &dyn Random, clock: &dyn Clock) -> Self {
        Self::new(draw(random), clock.unix_ms())
    }

    /// The key itself, for the keyring's file.
    pub(super) fn secret_hex(&self) -> String {
        to_hex(&self.secret)
    }

    /// Appends a sealed record.
    pub(super) fn seal(&self, random: &dyn Random, place: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let salt: [u8; SALT_BYTES] = draw(random);
        out.reserve(ID_BYTES + SALT_BYTES + plain.len() + TAG_BYTES);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&salt);
        let start = out.len();
        out.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(NONCE);
        let tag = self
            .derive(&salt)
            .seal_in_place_separate_tag(nonce, Aad::from(place), &mut out[start..])
            .expect("a record is far shorter than 64 GiB");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens a record that this key sealed for this place; `None` when a bit of either differs.
    pub(super) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (_, rest) = sealed.split_first_chunk::<ID_BYTES>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
        let mut bytes = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(NONCE);
        let n_bytes = self
            .derive(salt)
            .open_in_place(nonce, Aad::from(place), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(n_bytes);
        Some(bytes)
    }

    fn derive(&self, salt: &[u8; SALT_BYTES]) -> LessSafeKey {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.secret);
        let derived = extracted
            .expand(&[PURPOSE], &AES_256_GCM)
            .expect("32 bytes are fewer than HKDF yields");
        LessSafeKey::new(UnboundKey::from(derived))
    }
}

fn draw<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.bits().to_be_bytes()[..chunk.len()]);
    }
    bytes
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key from its hex digits.
pub(super) fn secret_from_hex(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    if text.len() != 2 * SECRET_BYTES || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use kontiki_base::random::SeededRandom;

    use super::*;

    #[test]
    fn a_record_opens_in_its_place_and_under_its_key_only() {
        let random = SeededRandom::new(7);
        let (one, two) = (SealingKey::new([1; 32], 0), SealingKey::new([2; 32], 0));
        let mut sealed = Vec::new();
        one.seal(&random, b"here", b"a secret", &mut sealed);
        assert_eq!(KeyId::of_sealed(&sealed), Some(one.id));
        assert_eq!(one.open(b"here", &sealed).unwrap(), b"a secret");
        assert_eq!(one.open(b"there", &sealed), None);
        assert_eq!(two.open(b"here", &sealed), None);
        for bit in ID_BYTES * 8..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(one.open(b"here", &bad), None, "bit {bit}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(one.open(b"here", &sealed[..cut]), None, "cut at {cut}");
        }
        let mut again = Vec::new();
        one.seal(&random, b"here", b"a secret", &mut again);
        assert_ne!(sealed, again, "another salt, hence other bytes");
    }

    #[test]
    fn keys_read_back_and_show_their_ids_only() {
        let key = SealingKey::new([0xab; 32], 0);
        assert_eq!(secret_from_hex(&key.secret_hex()), Some(key.secret));
        assert_eq!(secret_from_hex("ab"), None);
        assert_eq!(secret_from_hex(&"zz".repeat(32)), None);
        assert!(!format!("{key:?}").contains("abab"));
    }
}
