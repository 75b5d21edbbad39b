//! Compact JWS with ES256 (RFC 7515, RFC 7518 §3.4): sign and verify, nothing else of the family.
//!
//! The header is read for the key's id only; an algorithm other than ours is refused, `none` first of all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::issuer::KeyError;

/// Longest token that is looked at; ours have about 1 KiB.
const TOKEN_BYTES: usize = 16 * 1024;
/// What stands before the point in a P-256 key's SubjectPublicKeyInfo (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of a coordinate.
const COORDINATE: usize = 32;

/// A signing key.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    id: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

impl Key {
    /// A new key, gone with the process.
    pub(super) fn generate() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| KeyError)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// A key from its PKCS#8 form.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|_| KeyError)?;
        let mut spki = SPKI_PREFIX.to_vec();
        spki.extend_from_slice(pair.public_key().as_ref());
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(&spki));
        Ok(Self { pair, id })
    }

    /// The signed claims.
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "kid": self.id}).to_string();
        let claims = serde_json::to_vec(claims).map_err(|_| KeyError)?;
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| KeyError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// The claims of a token that this key signed.
    pub(super) fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.alg != "ES256" || header.kid != self.id {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
        serde_json::from_slice(&decode(claims)?).ok()
    }

    /// The public key, as JWKS lists it.
    pub(super) fn jwk(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(COORDINATE);
        json!({
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_key_signed_as_it_stands_is_read() {
        let (key, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        let token = key.sign(&json!({"sub": "x"})).unwrap();
        assert_eq!(key.verify::<Value>(&token).unwrap(), json!({"sub": "x"}));
        assert!(other.verify::<Value>(&token).is_none());
        let parts: Vec<&str> = token.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": key.id}).to_string());
        let claims = URL_SAFE_NO_PAD.encode(json!({"sub": "y"}).to_string());
        for forged in [
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{}.{}.{}", parts[0], parts[1], &parts[2][..20]),
            format!("{token}.x"),
            "x".repeat(TOKEN_BYTES + 1),
            String::new(),
            "..".into(),
        ] {
            assert!(key.verify::<Value>(&forged).is_none(), "{forged}");
        }
    }

    #[test]
    fn jwks_hold_the_whole_point() {
        let jwk = Key::generate().unwrap().jwk();
        for coordinate in ["x", "y"] {
            let text = jwk[coordinate].as_str().unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(text).unwrap().len(), COORDINATE);
        }
    }
}
