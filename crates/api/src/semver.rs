//! Versions as semver.org 2.0.0 has them: parsed strictly, or after being brought into form, and compared.

use std::cmp::Ordering;

/// A version. Its build is read and means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Major, minor, patch.
    pub numbers: [u64; 3],
    before: Vec<Identifier>,
}

/// A part of what stands behind the numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl Version {
    /// Reads a version, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let (text, build) = text
            .split_once('+')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let (core, before) = text
            .split_once('-')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let parts: Vec<&str> = core.split('.').collect();
        let [major, minor, patch] = parts.as_slice() else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let numbers = [number(major)?, number(minor)?, number(patch)?];
        let before = before.map_or(Ok(Vec::new()), |before| {
            before.split('.').map(Identifier::parse).collect()
        })?;
        for part in build.into_iter().flat_map(|build| build.split('.')) {
            check_letters(part, "Build meta data")?;
        }
        Ok(Self { numbers, before })
    }

    /// Reads a version that may begin with `v`, lack its last numbers and have zeroes ahead of them.
    pub fn parse_tolerantly(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_start_matches('v');
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let mut parts: Vec<&str> = core.split('.').collect();
        for part in &mut parts {
            // The last zero is a number, the others are not.
            let n_zeroes = part.len() - part.trim_start_matches('0').len();
            let kept = n_zeroes.min(part.len().saturating_sub(1));
            *part = &part[kept..];
        }
        if parts.len() < 3 && !rest.is_empty() {
            return Err("Short version cannot contain PreRelease/Build meta data".to_owned());
        }
        while parts.len() < 3 {
            parts.push("0");
        }
        Self::parse(&format!("{}{rest}", parts.join(".")))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_numbers = self.numbers.cmp(&other.numbers);
        // What comes before a version is less than it.
        let is_release = self.before.is_empty().cmp(&other.before.is_empty());
        by_numbers
            .then(is_release)
            .then_with(|| self.before.cmp(&other.before))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Identifier {
    fn parse(text: &str) -> Result<Self, String> {
        check_letters(text, "Prerelease")?;
        match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(Self::Number(number(text)?)),
            false => Ok(Self::Text(text.to_owned())),
        }
    }
}

fn check_letters(text: &str, what: &str) -> Result<(), String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    match text.chars().all(is_known) {
        true => Ok(()),
        false => Err(format!("Invalid character(s) found in {what} {text:?}")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("Number must not contain leading zeroes {text:?}"));
    }
    text.parse()
        .map_err(|_| format!("number {text:?} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_standard_orders_them() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "10.0.0",
        ];
        for pair in ascending.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|text| Version::parse(text).unwrap());
            assert!(a < b, "{pair:?}");
        }
        assert_eq!(
            Version::parse("1.2.3+a.b").unwrap(),
            Version::parse("1.2.3").unwrap()
        );
    }

    #[test]
    fn what_is_no_version() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3-a_b",
            "1.2.x",
            "1.2.3+",
            "99999999999999999999.0.0",
        ] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
        for (text, plain) in [
            ("v1", "1.0.0"),
            ("v1.02", "1.2.0"),
            ("1.0.00", "1.0.0"),
            ("v001.2.3-a", "1.2.3-a"),
        ] {
            assert_eq!(
                Version::parse_tolerantly(text),
                Version::parse(plain),
                "{text}"
            );
        }
        for text in ["", "v", "a", "1.2-a", "1..2"] {
            assert!(Version::parse_tolerantly(text).is_err(), "{text}");
        }
    }
}
