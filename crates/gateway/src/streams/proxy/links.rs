//! Links behind a proxy: what a server says of its own paths, as its clients have to ask for it.

use http::header::{HOST, HeaderMap};
use http::{HeaderValue, Uri};
use kontiki_apiserver::Target;

/// The URL of one request, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// The path up to and with `/proxy`.
    prefix: String,
    /// What is passed on.
    rest: String,
    /// The host that the client asked, which is also the one that the server saw.
    host: String,
}

impl Links {
    /// Of a request for a target's proxy.
    pub fn of(target: &Target, uri: &Uri, headers: &HeaderMap) -> Self {
        // /api/v1/[namespaces/NS/]RESOURCE/NAME/proxy
        let n_segments = if target.kind.namespaced() { 7 } else { 5 };
        let path = uri.path();
        let end = path.match_indices('/').nth(n_segments).map(|(at, _)| at);
        let (prefix, rest) = path.split_at(end.unwrap_or(path.len()));
        let host = headers.get(HOST).map(HeaderValue::as_bytes);
        let host = host.map(|host| String::from_utf8_lossy(host).into_owned());
        let of_uri = || uri.authority().map(ToString::to_string);
        Self {
            prefix: prefix.to_owned(),
            rest: rest.to_owned(),
            host: host.or_else(of_uri).unwrap_or_default(),
        }
    }

    /// The path that is passed on; empty when not even a slash follows.
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// A link, so that it leads through the proxy. Links to other hosts and relative ones stay.
    pub fn rewrite(&self, link: &str) -> String {
        let (host, path) = match split(link) {
            Some(parts) => parts,
            None => return link.to_owned(),
        };
        let is_elsewhere = host.is_some_and(|host| host != self.host);
        if is_elsewhere || !path.starts_with('/') {
            return link.to_owned();
        }
        if path.starts_with(&self.prefix) {
            return link.to_owned();
        }
        let before = &link[..link.len() - path.len()];
        format!("{before}{}{path}", self.prefix)
    }
}

/// The host of a link, if it names one, and all from the path on. None for what is no link to a server.
fn split(link: &str) -> Option<(Option<&str>, &str)> {
    let after_scheme = match link.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => {
            // `mailto:` and the like have no path of a server.
            if !matches!(scheme, "http" | "https") || !rest.starts_with("//") {
                return None;
            }
            rest
        }
        _ => link,
    };
    let Some(rest) = after_scheme.strip_prefix("//") else {
        return Some((None, after_scheme));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    Some((Some(host), path))
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links {
            prefix: "/api/v1/namespaces/a/pods/web/proxy".to_owned(),
            rest: "/index.html".to_owned(),
            host: "cluster:6443".to_owned(),
        }
    }

    #[test]
    fn links_lead_through_the_proxy_and_nowhere_else() {
        let prefix = links().prefix;
        for (link, expected) in [
            ("/", format!("{prefix}/")),
            ("/a/b?c=/d#e", format!("{prefix}/a/b?c=/d#e")),
            ("//cluster:6443/a", format!("//cluster:6443{prefix}/a")),
            (
                "https://cluster:6443/a",
                format!("https://cluster:6443{prefix}/a"),
            ),
            ("https://elsewhere/a", "https://elsewhere/a".to_owned()),
            ("//elsewhere/a", "//elsewhere/a".to_owned()),
            ("a/b", "a/b".to_owned()),
            ("../a", "../a".to_owned()),
            ("#top", "#top".to_owned()),
            ("", String::new()),
            ("mailto:a@b", "mailto:a@b".to_owned()),
            ("javascript:void(0)", "javascript:void(0)".to_owned()),
            ("data:text/plain,/a", "data:text/plain,/a".to_owned()),
        ] {
            assert_eq!(links().rewrite(link), expected, "{link}");
        }
        let already = format!("{prefix}/a");
        assert_eq!(links().rewrite(&already), already);
    }
}
