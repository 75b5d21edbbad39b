//! Field selectors: `status.phase!=Running,spec.nodeName=n1` (upstream `pkg/fields/selector.go`).

use std::fmt;

use super::{Error, Lookup};

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// Field path, such as `status.phase`.
    pub field: String,
    /// Value, unescaped.
    pub value: String,
    /// Whether it must be equal, or must differ.
    pub equal: bool,
}

/// All terms must hold. The default one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Terms in the order given.
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// From a query string; the empty one matches everything.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut terms = Vec::new();
        for part in split(text) {
            if part.is_empty() {
                continue;
            }
            let invalid = || {
                Error(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            };
            let (field, equal, value) = comparison(part).ok_or_else(invalid)?;
            let value = unescape(value)?;
            terms.push(FieldTerm {
                field: field.to_owned(),
                value,
                equal,
            });
        }
        Ok(Self { terms })
    }

    /// Whether the fields meet all terms; an absent field reads as empty.
    pub fn matches(&self, fields: &(impl Lookup + ?Sized)) -> bool {
        self.terms.iter().all(|term| {
            let value = fields.lookup(&term.field).unwrap_or_default();
            (value == term.value) == term.equal
        })
    }

    /// The value that `field` must have, when a term says so.
    pub fn requires(&self, field: &str) -> Option<&str> {
        let term = self
            .terms
            .iter()
            .find(|term| term.equal && term.field == field);
        term.map(|term| term.value.as_str())
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            idx,
            FieldTerm {
                field,
                value,
                equal,
            },
        ) in self.terms.iter().enumerate()
        {
            let comma = if idx == 0 { "" } else { "," };
            let operator = if *equal { "=" } else { "!=" };
            let value = value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            write!(f, "{comma}{field}{operator}{value}")?;
        }
        Ok(())
    }
}

/// Parts between commas that no backslash escapes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (idx, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..idx]);
                start = idx + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Field, whether equal, and value still escaped.
fn comparison(part: &str) -> Option<(&str, bool, &str)> {
    let idx = part.find(['=', '!'])?;
    let (field, rest) = part.split_at(idx);
    let (equal, value) = match rest {
        rest if rest.starts_with("!=") => (false, &rest[2..]),
        rest if rest.starts_with("==") => (true, &rest[2..]),
        rest if rest.starts_with('=') => (true, &rest[1..]),
        _ => return None,
    };
    Some((field, equal, value))
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut unescaped = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => unescaped.push(escaped),
                _ => {
                    return Err(Error(format!(
                        "invalid field selector: invalid escape sequence in {value}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(Error(format!(
                    "invalid field selector: unescaped character {c} in {value}"
                )));
            }
            c => unescaped.push(c),
        }
    }
    Ok(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_match_and_absent_reads_as_empty() {
        let fields = [("status.phase", "Running"), ("spec.nodeName", "n1")];
        for (text, matches) in [
            ("", true),
            ("status.phase=Running", true),
            ("status.phase==Running,spec.nodeName!=n2", true),
            ("status.phase!=Running", false),
            ("absent=", true),
            ("absent!=x", true),
        ] {
            assert_eq!(
                FieldSelector::parse(text).unwrap().matches(&fields[..]),
                matches,
                "{text}"
            );
        }
    }

    #[test]
    fn escapes_round_trip() {
        let selector = FieldSelector::parse(r"a=x\,y\=z\\").unwrap();
        assert_eq!(selector.requires("a"), Some(r"x,y=z\"));
        assert_eq!(selector.to_string(), r"a=x\,y\=z\\");
        for wrong in ["a", r"a=\x", "a=b=c", "a!b"] {
            assert!(FieldSelector::parse(wrong).is_err(), "{wrong}");
        }
    }
}
