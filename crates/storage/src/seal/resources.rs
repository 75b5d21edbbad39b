//! Which resources are sealed: names as `kubectl api-resources` shows them with their group, and upstream's wildcards
//! (`*.apps` for a group, `*.` for the core group, `*.*` for everything).

use std::fmt;

use memchr::memmem;

/// Names of resources and wildcards. Empty: nothing is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// This resource; beside it, how a log entry's bytes name it.
    Exactly(String, Vec<u8>),
    /// All resources of a group, `.apps`.
    Group(String),
    Core,
    Everything,
}

impl Default for Resources {
    /// Secrets.
    fn default() -> Self {
        Self::exactly(["secrets"])
    }
}

impl Resources {
    /// Nothing is sealed: what upstream calls `identity`.
    pub const NONE: Self = Self(Vec::new());

    /// These resources, no wildcards.
    pub fn exactly<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(exactly).collect())
    }

    /// Reads names and wildcards; the error names the wrong one.
    pub fn parse(names: &[String]) -> Result<Self, String> {
        let patterns = names.iter().map(|name| pattern(name));
        patterns.collect::<Result<_, _>>().map(Self)
    }

    /// Whether objects of a resource are sealed.
    pub fn contain(&self, resource: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exactly(name, _) => name == resource,
            Pattern::Group(suffix) => resource
                .find('.')
                .is_some_and(|dot| resource[dot..] == **suffix),
            Pattern::Core => !resource.contains('.'),
            Pattern::Everything => true,
        })
    }

    /// Whether a log entry may hold an object that is sealed. Never wrongly no: entries hold the names of their objects'
    /// resources as they are. A wrong yes seals an entry that needed no seal.
    pub(crate) fn may_be_in(&self, payload: &[u8]) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exactly(_, needle) => memmem::find(payload, needle).is_some(),
            Pattern::Group(suffix) => memmem::find(payload, suffix.as_bytes()).is_some(),
            Pattern::Core | Pattern::Everything => true,
        })
    }

    /// The names, when there are no wildcards.
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        let names = self.0.iter().map(|pattern| match pattern {
            Pattern::Exactly(name, _) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|pattern| match pattern {
            Pattern::Exactly(name, _) => name.clone(),
            Pattern::Group(suffix) => format!("*{suffix}"),
            Pattern::Core => "*.".to_owned(),
            Pattern::Everything => "*.*".to_owned(),
        });
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

fn exactly(name: &str) -> Pattern {
    // As postcard writes a string: its length, then its bytes.
    let needle = postcard::to_stdvec(name).expect("writing to memory cannot fail");
    Pattern::Exactly(name.to_owned(), needle)
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let label = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.len() <= 63 && part.bytes().all(plain)
    };
    let refused = || {
        format!(
            "{text:?} names no resource: write `secrets`, `widgets.example.com`, `*.apps`, `*.` or `*.*`"
        )
    };
    match text {
        "*.*" => return Ok(Pattern::Everything),
        "*." => return Ok(Pattern::Core),
        _ => {}
    }
    let (resource, group) = match text.split_once('.') {
        Some((resource, group)) if group.split('.').all(label) => (resource, Some(group)),
        None => (text, None),
        Some(_) => return Err(refused()),
    };
    match (resource, group) {
        ("*", Some(group)) => Ok(Pattern::Group(format!(".{group}"))),
        (resource, _) if label(resource) => Ok(exactly(text)),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kontiki_state::{Command, Header, Key, Op, Proposal};

    use super::*;

    fn parse(names: &[&str]) -> Resources {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Resources::parse(&names).unwrap()
    }

    fn entry(resource: &str) -> Vec<u8> {
        let op = Op::Create {
            key: Key::new(resource, "default", "x"),
            header: Header::default(),
            bytes: Bytes::from_static(b"{}"),
        };
        let proposals = vec![Proposal::batch(vec![op])];
        Command::Batch { proposals }.encode()
    }

    #[test]
    fn names_and_wildcards_match_objects_and_the_entries_that_hold_them() {
        for (names, inside, outside) in [
            (
                &["secrets"][..],
                &["secrets"][..],
                &["pods", "secrets.example.com"][..],
            ),
            (
                &["widgets.example.com", "pods"],
                &["widgets.example.com", "pods"],
                &["widgets"],
            ),
            (
                &["*.apps"],
                &["deployments.apps"],
                &["pods", "x.myapps", "x.apps.example.com"],
            ),
            (&["*."], &["pods", "secrets"], &["deployments.apps"]),
            (&["*.*"], &["pods", "deployments.apps"], &[]),
            (&[], &[], &["secrets"]),
        ] {
            let resources = parse(names);
            for resource in inside {
                assert!(resources.contain(resource), "{names:?} {resource}");
                assert!(
                    resources.may_be_in(&entry(resource)),
                    "{names:?} {resource}"
                );
            }
            for resource in outside {
                assert!(!resources.contain(resource), "{names:?} {resource}");
            }
            assert_eq!(resources.to_string(), names.join(","));
        }
        assert!(!parse(&["secrets"]).may_be_in(&entry("pods")));
    }

    #[test]
    fn what_names_no_resource_is_refused_by_name() {
        for bad in [
            "", "Secrets", "secrets.", ".apps", "*", "a..b", "*.*.*", "se crets", "**.apps",
        ] {
            let error = Resources::parse(&[bad.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
