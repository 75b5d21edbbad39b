//! A request as policies see it: who, which verb, about which resource or path (upstream `RequestInfo`).
//!
//! What the audit policy and the flow schemas are matched against. Not here: reading it from a URL (gateway) or from a
//! message (rpc).

/// Who asks, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Name.
    pub name: &'a str,
    /// Groups.
    pub groups: &'a [String],
}

/// The resource that a request is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for the cluster.
    pub namespace: &'a str,
    /// Empty for a collection.
    pub name: &'a str,
}

/// A request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestInfo<'a> {
    /// Who; none when nobody that we know.
    pub subject: Option<Subject<'a>>,
    /// `get`, `list`, `create`, ... or an HTTP method in lower case for a path.
    pub verb: &'a str,
    /// The URL's path.
    pub path: &'a str,
    /// What about; none for a path that is no resource's.
    pub resource: Option<Resource<'a>>,
}

/// Whether a pattern that may end in `*` covers a path.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == "*"
        || pattern == path
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix.trim_end_matches('*')))
}
