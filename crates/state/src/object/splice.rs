//! Where `resourceVersion` goes in stored bytes and where managed fields stand, found without decoding them.

use std::ops::Range;

/// Where the top-level `"metadata":{` ends. Text inside strings and deeper objects (a template's metadata) is skipped.
pub(crate) fn metadata_offset(json: &[u8]) -> Option<usize> {
    const NEEDLE: &[u8] = b"\"metadata\":{";
    let (mut depth, mut at) = (0usize, 0);
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' if depth == 1 && json[at..].starts_with(NEEDLE) => {
                let end = at + NEEDLE.len();
                return (end < json.len()).then_some(end);
            }
            b'"' => at = string_end(json, at)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The member `"managedFields":[..]` of the metadata whose members start at `from`, with one comma.
pub(crate) fn managed_fields(json: &[u8], from: usize) -> Option<Range<usize>> {
    const NEEDLE: &[u8] = b"\"managedFields\":[";
    let start = find_member(json, from, NEEDLE)?;
    let mut depth = 1usize;
    let mut at = start + NEEDLE.len();
    while depth > 0 {
        match json.get(at)? {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => at = string_end(json, at)?,
            _ => {}
        }
        at += 1;
    }
    match (
        json.get(at),
        start.checked_sub(1).map(|before| json[before]),
    ) {
        (Some(b','), _) => Some(start..at + 1),
        (_, Some(b',')) => Some(start - 1..at),
        _ => Some(start..at),
    }
}

/// Where a member of the object whose members start at `from` begins.
fn find_member(json: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0usize, from);
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' if depth == 0 && json[at..].starts_with(needle) => return Some(at),
            b'"' => at = string_end(json, at)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Index of the quote that closes the string opened at `start`.
fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < json.len() {
        match json[at] {
            b'\\' => at += 1,
            b'"' => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}
