//! RBAC's rules: what one allows, what a set of them covers, and how they are told to people.
//!
//! Shared by the authorizer, the escalation checks and the reconciliation of the default roles. Not here: bindings and
//! who is bound (apiserver), the kinds (`kinds/`).

mod cover;

use k8s_openapi::api::rbac::v1::PolicyRule;

pub use cover::{covers, missing};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// Everything, wherever a rule lists something.
pub const ALL: &str = "*";

/// What a rule is asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask<'a> {
    /// `get`, `list`, `create`, ... or an HTTP method in lower case for a path.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty where the request names none.
    pub name: &'a str,
    /// A URL that is no resource's; the fields above but for the verb are empty then.
    pub path: Option<&'a str>,
}

/// Whether a rule allows what is asked (upstream `RuleAllows`).
pub fn allows(rule: &PolicyRule, ask: &Ask<'_>) -> bool {
    if !has(&rule.verbs, ask.verb) {
        return false;
    }
    match ask.path {
        Some(path) => list(&rule.non_resource_urls)
            .iter()
            .any(|url| url_covers(url, path)),
        None => {
            has(list(&rule.api_groups), ask.group)
                && resource_matches(list(&rule.resources), ask)
                && name_matches(list(&rule.resource_names), ask.name)
        }
    }
}

fn resource_matches(resources: &[String], ask: &Ask<'_>) -> bool {
    resources.iter().any(|known| {
        if known == ALL {
            return true;
        }
        match known.split_once('/') {
            None => ask.subresource.is_empty() && known == ask.resource,
            Some((resource, subresource)) => {
                !ask.subresource.is_empty()
                    && subresource == ask.subresource
                    && (resource == ALL || resource == ask.resource)
            }
        }
    })
}

fn name_matches(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|known| known == name)
}

/// Whether a URL of a rule covers a path, or another rule's URL.
fn url_covers(url: &str, path: &str) -> bool {
    url == ALL
        || url == path
        || url
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix.trim_end_matches('*')))
}

/// Whether a list holds `value` or everything.
fn has(values: &[String], value: &str) -> bool {
    values.iter().any(|known| known == ALL || known == value)
}

/// The items of an optional list.
pub(crate) fn list(values: &Option<Vec<String>>) -> &[String] {
    values.as_deref().unwrap_or_default()
}

/// A rule in one line, as refusals spell it.
pub fn describe(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", &rule.verbs),
    ];
    let parts = parts.into_iter().filter(|(_, values)| !values.is_empty());
    let parts: Vec<String> = parts
        .map(|(name, values)| format!("{name}:{}", quoted(values)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// A list as Go's `%q` prints it.
pub fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|value| crate::field_error::go_quote(value))
        .collect();
    format!("[{}]", values.join(" "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn rule(value: Value) -> PolicyRule {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn rules_allow_what_upstreams_allow() {
        let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale", "pods/log"]});
        let named = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["secrets"], "resourceNames": ["a"]});
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        // (rule, verb, group, resource/subresource, name, allowed)
        for (spec, verb, group, resource, name, allowed) in [
            (&pods, "get", "", "pods", "x", true),
            (&pods, "list", "", "pods", "", false),
            (&pods, "get", "apps", "pods", "x", false),
            (&pods, "get", "", "pods/log", "x", true),
            (&pods, "get", "", "pods/status", "x", false),
            (&pods, "get", "", "replicationcontrollers/scale", "x", true),
            (&pods, "get", "", "scale", "x", false),
            (&named, "get", "", "secrets", "a", true),
            (&named, "get", "", "secrets", "b", false),
            (&named, "list", "", "secrets", "", false),
            (&named, "create", "x.io", "secrets", "a", true),
            (&all, "escalate", "x", "y/z", "", true),
        ] {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let ask = Ask {
                verb,
                group,
                resource,
                subresource,
                name,
                path: None,
            };
            assert_eq!(allows(&rule(spec.clone()), &ask), allowed, "{ask:?}");
        }
    }

    #[test]
    fn paths_match_whole_or_by_prefix() {
        let urls = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/api", "/apis/*", "/x*"]}));
        for (verb, path, allowed) in [
            ("get", "/api", true),
            ("get", "/api/v1", false),
            ("get", "/apis/", true),
            ("get", "/apis/apps/v1", true),
            ("get", "/apis", false),
            ("get", "/xyz", true),
            ("post", "/api", false),
        ] {
            let path = Some(path);
            let ask = Ask {
                verb,
                path,
                ..Ask::default()
            };
            assert_eq!(allows(&urls, &ask), allowed, "{ask:?}");
        }
        let resources = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        let ask = Ask {
            verb: "get",
            path: Some("/metrics"),
            ..Ask::default()
        };
        assert!(!allows(&resources, &ask));
    }

    #[test]
    fn rules_are_told_in_one_line() {
        let text = describe(&rule(json!({"verbs": ["get", "list"], "apiGroups": [""],
            "resources": ["pods"], "resourceNames": ["a"]})));
        let wanted =
            r#"{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get" "list"]}"#;
        assert_eq!(text, wanted);
    }
}
