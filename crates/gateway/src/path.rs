//! URL paths to targets. Which resources exist is read from the kinds; nothing here names one, but for
//! `namespaces`, which is both a resource and the prefix of others.

use kontiki_api::{Kinds, Subresource};
use kontiki_apiserver::Target;
use kontiki_base::status::{Details, Reason, Status};

use crate::urlencoded;

/// What a path under `/api/v1` or `/apis/GROUP/VERSION` names.
pub struct Resource {
    /// The object or collection.
    pub target: Target,
    /// The legacy form `/api/v1/watch/...`.
    pub watch: bool,
}

impl Resource {
    /// A collection rather than one object.
    pub fn is_collection(&self) -> bool {
        self.target.name.is_empty()
    }

    /// An object of a kind whose objects are never stored, or their collection in all namespaces.
    pub fn is_nowhere(&self) -> bool {
        self.target.kind.review().is_some() && (!self.is_collection() || self.is_all_namespaces())
    }

    /// The same resource in all namespaces: may be listed and watched only.
    pub fn is_all_namespaces(&self) -> bool {
        self.target.kind.namespaced() && self.target.namespace.is_empty()
    }
}

/// Reads the rest of a path after its group and version; 404 as upstream's router answers it.
pub fn resolve(kinds: &Kinds, group: &str, version: &str, rest: &str) -> Result<Resource, Status> {
    let segments: Vec<String> = rest
        .trim_end_matches('/')
        .split('/')
        .map(urlencoded::decode)
        .collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (watch, segments) = match segments.as_slice() {
        ["watch", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let target = target(kinds, group, version, segments).ok_or_else(no_such_resource)?;
    if watch && target.subresource.is_some() {
        return Err(no_such_resource());
    }
    Ok(Resource { target, watch })
}

fn target(kinds: &Kinds, group: &str, version: &str, segments: &[&str]) -> Option<Target> {
    let (namespace, plural, rest) = match segments {
        // `namespaces/x/status` is the namespace's own; `namespaces/x/pods` is not.
        ["namespaces", namespace, plural, rest @ ..]
            if !(group.is_empty() && is_subresource_of(kinds, "namespaces", plural)) =>
        {
            (*namespace, *plural, rest)
        }
        [plural, rest @ ..] => ("", *plural, rest),
        [] => return None,
    };
    let kind = kinds.by_path(group, version, plural)?;
    let (name, subresource) = match rest {
        [] => ("", None),
        [name] => (*name, None),
        [name, subresource, below @ ..] => {
            let subresource = Subresource::by_name(subresource)?;
            // A proxy's path goes on with that of what is behind it.
            if !below.is_empty() && subresource != Subresource::Proxy {
                return None;
            }
            (*name, kind.has(subresource).then_some(Some(subresource))?)
        }
    };
    let namespaced_path = !namespace.is_empty();
    let fits = if namespaced_path {
        kind.namespaced()
    } else {
        !kind.namespaced() || name.is_empty()
    };
    let no_empty_segment = rest.iter().take(2).all(|segment| !segment.is_empty());
    (fits && no_empty_segment).then(|| Target {
        kind: kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource,
    })
}

fn is_subresource_of(kinds: &Kinds, plural: &str, segment: &str) -> bool {
    let Some(kind) = kinds.by_path("", "v1", plural) else {
        return false;
    };
    Subresource::by_name(segment).is_some_and(|segment| kind.has(segment))
}

/// Upstream's answer where a group and version exist and the resource does not.
pub fn no_such_resource() -> Status {
    Status::new(
        Reason::NotFound,
        "the server could not find the requested resource",
    )
    .with_details(Details::default())
}

/// Upstream's answer where the resource exists and the method does not.
pub fn no_such_method() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status::new(Reason::MethodNotAllowed, message).with_details(Details::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (resource, namespace, name, subresource, watch)
    fn resolved(path: &str) -> Option<(String, String, String, Option<Subresource>, bool)> {
        let (group, rest) = match path.strip_prefix("/api/v1/") {
            Some(rest) => ("", rest),
            None => path
                .strip_prefix("/apis/")
                .unwrap()
                .split_once("/v1/")
                .unwrap(),
        };
        let Resource { target, watch } = resolve(&Kinds::built_in(), group, "v1", rest).ok()?;
        let resource = target.kind.resource().to_string();
        Some((
            resource,
            target.namespace,
            target.name,
            target.subresource,
            watch,
        ))
    }

    #[test]
    fn paths_name_what_upstream_says_they_name() {
        let target = |resource: &str, namespace: &str, name: &str| {
            Some((
                resource.to_owned(),
                namespace.to_owned(),
                name.to_owned(),
                None,
                false,
            ))
        };
        for (path, expected) in [
            ("/api/v1/pods", target("pods", "", "")),
            ("/api/v1/namespaces/a/pods", target("pods", "a", "")),
            ("/api/v1/namespaces/a/pods/x", target("pods", "a", "x")),
            ("/api/v1/namespaces/a/pods/x/", target("pods", "a", "x")),
            (
                "/api/v1/namespaces/a/pods/x%2Fy",
                target("pods", "a", "x/y"),
            ),
            ("/api/v1/namespaces", target("namespaces", "", "")),
            ("/api/v1/namespaces/a", target("namespaces", "", "a")),
            ("/api/v1/nodes/n", target("nodes", "", "n")),
            (
                "/apis/apps/v1/namespaces/a/deployments/d",
                target("deployments.apps", "a", "d"),
            ),
            ("/api/v1/pods/x", None),
            ("/api/v1/namespaces/a/nodes/n", None),
            ("/api/v1/namespaces/a/foos", None),
            ("/api/v1/namespaces/a/pods/x/nonsense", None),
            ("/api/v1/namespaces/a/pods/x/status/y", None),
            ("/api/v1/namespaces/a/pods//status", None),
            ("/api/v1/deployments", None),
            ("/api/v1/", None),
        ] {
            assert_eq!(resolved(path), expected, "{path}");
        }
    }

    #[test]
    fn subresources_and_legacy_watches() {
        let path = "/api/v1/namespaces/a/pods/x/status";
        assert_eq!(resolved(path).unwrap().3, Some(Subresource::Status));
        let (resource, _, name, subresource, _) = resolved("/api/v1/namespaces/a/status").unwrap();
        assert_eq!((&*resource, &*name), ("namespaces", "a"));
        assert_eq!(subresource, Some(Subresource::Status));
        for path in ["proxy", "proxy/", "proxy/a//b", "proxy/status"] {
            let path = format!("/api/v1/namespaces/a/pods/https:x:1/{path}");
            let (_, _, name, subresource, _) = resolved(&path).unwrap();
            assert_eq!(
                (&*name, subresource),
                ("https:x:1", Some(Subresource::Proxy))
            );
        }
        assert!(resolved("/api/v1/watch/namespaces/a/pods").unwrap().4);
        assert!(resolved("/api/v1/watch/namespaces/a/pods/x/status").is_none());
    }
}
