//! Where `resourceVersion` goes in stored bytes, found without decoding them.

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
