//! A scan of raw JSON for fields that appear twice, which a decoded `Value` no longer shows.
//!
//! The text has been decoded before, so it is well formed; on anything else the scan gives up quietly.

use std::collections::HashSet;

use kontiki_base::limits::NESTING_DEPTH;

/// Paths kept for one document.
const MAX_DUPLICATES: usize = 100;

/// The paths of all fields that appear more than once, such as `spec.replicas`.
pub fn duplicates(json: &[u8]) -> Vec<String> {
    let mut scan = Scan {
        json,
        position: 0,
        path: String::new(),
        found: Vec::new(),
    };
    let _ = scan.value(0);
    scan.found
}

struct Scan<'a> {
    json: &'a [u8],
    position: usize,
    path: String,
    found: Vec<String>,
}

impl<'a> Scan<'a> {
    fn peek(&mut self) -> Option<u8> {
        while self
            .json
            .get(self.position)
            .is_some_and(u8::is_ascii_whitespace)
        {
            self.position += 1;
        }
        self.json.get(self.position).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.position += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > NESTING_DEPTH {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(|_| ()),
            _ => {
                let scalar = |byte: &u8| !b",]} \t\r\n".contains(byte);
                while self.json.get(self.position).is_some_and(scalar) {
                    self.position += 1;
                }
                Some(())
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(());
        }
        let mut seen: HashSet<&'a [u8]> = HashSet::new();
        let mut told: HashSet<&'a [u8]> = HashSet::new();
        loop {
            self.peek()?;
            let key = self.string()?;
            let len = self.path.len();
            if len > 0 {
                self.path.push('.');
            }
            self.path.push_str(&String::from_utf8_lossy(key));
            if !seen.insert(key) && told.insert(key) && self.found.len() < MAX_DUPLICATES {
                self.found.push(self.path.clone());
            }
            self.take(b':')?;
            self.value(depth + 1)?;
            self.path.truncate(len);
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        for idx in 0_usize.. {
            let len = self.path.len();
            self.path.push_str(&format!("[{idx}]"));
            self.value(depth + 1)?;
            self.path.truncate(len);
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(b']')
    }

    /// The bytes between the quotes, escapes left as they are.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.position;
        loop {
            match self.json.get(self.position)? {
                b'"' => break,
                b'\\' => self.position += 2,
                _ => self.position += 1,
            }
        }
        let text = self.json.get(start..self.position)?;
        self.position += 1;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_at_every_depth() {
        for (json, paths) in [
            (r#"{"a": 1, "b": 2}"#, &[][..]),
            (r#"{"spec": {"x": 1, "x": 2, "x": 3}}"#, &["spec.x"]),
            (r#"{"l": [{"a": "}"}, {"a": [], "a": "\""}]}"#, &["l[1].a"]),
            (r#"{"a": {"b": 1}, "c": {"b": 1}, "a": null}"#, &["a"]),
            (r#"{"a": "#, &[]),
        ] {
            assert_eq!(duplicates(json.as_bytes()), paths, "{json}");
        }
    }
}
