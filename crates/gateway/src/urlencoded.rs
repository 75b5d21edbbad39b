//! Percent-encoding of paths and query strings, as far as a server needs it: decoding.

use kontiki_base::status::Status;

/// Decodes one path segment; 400 on broken escapes and on bytes that are not UTF-8.
pub fn decode(text: &str) -> Result<String, Status> {
    decode_bytes(text.as_bytes(), false)
}

/// Splits a query string into decoded pairs, in order; keys may repeat.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, Status> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        pairs.push((
            decode_bytes(key.as_bytes(), true)?,
            decode_bytes(value.as_bytes(), true)?,
        ));
    }
    Ok(pairs)
}

fn decode_bytes(text: &[u8], plus_is_space: bool) -> Result<String, Status> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (rest.first().and_then(hex), rest.get(1).and_then(hex));
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(invalid_escape());
                };
                rest = &rest[2..];
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| invalid_escape())
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).map(|digit| digit as u8)
}

fn invalid_escape() -> Status {
    Status::bad_request("invalid URL escape")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_refuses() {
        assert_eq!(decode("a%2Fb+c").unwrap(), "a/b+c");
        for broken in ["%", "%2", "%zz", "%ff%fe", "%é"] {
            assert!(decode(broken).is_err(), "{broken}");
        }
        let expected = [("a", "1 2"), ("b", ""), ("", "x"), ("a", "=")];
        let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(pairs("a=1+2&b&&=x&a=%3D").unwrap(), expected);
    }
}
