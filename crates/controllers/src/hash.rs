//! A stable hash of a pod template in the alphabet of generated names.

use serde_json::Value;

/// Upstream's `rand.SafeEncodeString` alphabet: no vowels, nothing that looks like another.
pub const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a (32 bits) of the template's canonical JSON and the collision count. Fields are sorted and absent fields
/// are absent, so that a new optional field of the API does not change the hash of old templates.
pub fn template_hash(template: &Value, collision_count: Option<i32>) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    feed(template.to_string().as_bytes());
    if let Some(count) = collision_count {
        feed(&i64::from(count).to_le_bytes());
    }
    let digits = hash.to_string();
    digits
        .bytes()
        .map(|digit| ALPHABET[digit as usize % ALPHABET.len()] as char)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn depends_on_content_and_collisions_only() {
        let a = template_hash(&json!({"spec": {"a": 1, "b": 2}}), None);
        let b = template_hash(&json!({"spec": {"b": 2, "a": 1}}), None);
        assert_eq!(a, b, "order of fields does not matter");
        assert_ne!(a, template_hash(&json!({"spec": {"a": 1, "b": 3}}), None));
        assert_ne!(
            a,
            template_hash(&json!({"spec": {"a": 1, "b": 2}}), Some(1))
        );
        assert!(a.bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
