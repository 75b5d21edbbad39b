//! Reads the table of default roles. Its format stands at its top; that it is well formed is a test's to show.

use std::sync::OnceLock;

use k8s_openapi::api::rbac::v1::{PolicyRule, Subject};
use kontiki_api::rbac::GROUP;

const ROLES: &str = include_str!("roles.policy");
const CONTROLLERS: &str = include_str!("controllers.policy");
const CONTROLLER_PREFIX: &str = "system:controller:";

/// A default role and its binding.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DefaultRole {
    /// Empty for a ClusterRole.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) rules: Vec<PolicyRule>,
    /// The label by which its rules are gathered.
    pub(super) feeds: Option<String>,
    /// The label by which it gathers rules.
    pub(super) gathers: Option<String>,
    /// Name and subjects of its binding.
    pub(super) binding: Option<(String, Vec<Subject>)>,
}

/// All of them, read once.
pub(super) fn defaults() -> &'static [DefaultRole] {
    static DEFAULTS: OnceLock<Vec<DefaultRole>> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        let mut all = parse(ROLES).expect("roles.policy is well formed, as a test shows");
        let controllers = parse(CONTROLLERS);
        let controllers = controllers.expect("controllers.policy is well formed, as a test shows");
        all.extend(controllers.into_iter().map(controller));
        all
    })
}

/// A controller's role is bound to its own account.
fn controller(mut role: DefaultRole) -> DefaultRole {
    let account = subject(&format!("account:kube-system/{}", role.name));
    role.name = format!("{CONTROLLER_PREFIX}{}", role.name);
    role.binding = Some((role.name.clone(), account.into_iter().collect()));
    role
}

/// The roles of a text, or the line that is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<DefaultRole>, usize> {
    let mut roles: Vec<DefaultRole> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = at + 1;
        if let Some(line) = line.strip_prefix("  ") {
            let role = roles.last_mut().ok_or(wrong)?;
            add(role, line).ok_or(wrong)?;
        } else {
            let (namespace, name) = line.split_once('/').unwrap_or(("", line));
            roles.push(DefaultRole {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ..DefaultRole::default()
            });
        }
    }
    Ok(roles)
}

/// Adds a line to a role.
fn add(role: &mut DefaultRole, line: &str) -> Option<()> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["events"] => {
            let rule = resource_rule("create,update,patch", "core,events.k8s.io", "events");
            role.rules.push(rule);
        }
        ["feeds", label] => role.feeds = Some((*label).to_owned()),
        ["gathers", label] => role.gathers = Some((*label).to_owned()),
        ["bound", "to", subjects @ ..] => {
            role.binding = Some((role.name.clone(), bound(subjects)?))
        }
        ["bound", "as", name, "to", subjects @ ..] => {
            role.binding = Some(((*name).to_owned(), bound(subjects)?));
        }
        [verbs, "url", paths] => role.rules.push(PolicyRule {
            verbs: spelled(verbs),
            non_resource_urls: Some(items(paths)),
            ..PolicyRule::default()
        }),
        [verbs, groups, resources] => role.rules.push(resource_rule(verbs, groups, resources)),
        [verbs, groups, resources, names] => role.rules.push(PolicyRule {
            resource_names: Some(items(names)),
            ..resource_rule(verbs, groups, resources)
        }),
        _ => return None,
    }
    Some(())
}

fn resource_rule(verbs: &str, groups: &str, resources: &str) -> PolicyRule {
    let group = |group: String| match group.as_str() {
        "core" => String::new(),
        _ => group,
    };
    PolicyRule {
        verbs: spelled(verbs),
        api_groups: Some(items(groups).into_iter().map(group).collect()),
        resources: Some(items(resources)),
        ..PolicyRule::default()
    }
}

fn items(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// Verbs, the short words spelled out.
fn spelled(verbs: &str) -> Vec<String> {
    const READ: &str = "get,list,watch";
    const WRITE: &str = "create,update,patch,delete,deletecollection";
    match verbs {
        "read" => items(READ),
        "write" => items(WRITE),
        "all" => items(READ).into_iter().chain(items(WRITE)).collect(),
        verbs => items(verbs),
    }
}

fn bound(subjects: &[&str]) -> Option<Vec<Subject>> {
    match subjects {
        ["nobody"] => Some(Vec::new()),
        subjects => subjects.iter().map(|text| subject(text)).collect(),
    }
}

fn subject(text: &str) -> Option<Subject> {
    let (kind, name) = text.split_once(':')?;
    let of = |kind: &str| Subject {
        api_group: Some(GROUP.to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: None,
    };
    match kind {
        "user" => Some(of("User")),
        "group" => Some(of("Group")),
        "account" => {
            let (namespace, name) = name.split_once('/')?;
            Some(Subject {
                api_group: None,
                kind: "ServiceAccount".to_owned(),
                name: name.to_owned(),
                namespace: Some(namespace.to_owned()),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kontiki_api::by_resource;

    use super::*;
    use crate::plan::to_value;

    #[test]
    fn the_tables_are_well_formed_and_valid() {
        assert_eq!(parse(ROLES).map(|roles| roles.len()), Ok(38));
        assert_eq!(parse(CONTROLLERS).map(|roles| roles.len()), Ok(36));
        let names: BTreeSet<_> = defaults()
            .iter()
            .map(|it| (&it.namespace, &it.name))
            .collect();
        assert_eq!(names.len(), defaults().len(), "a name stands twice");
        for default in defaults() {
            let (resource, namespaced) = match default.namespace.as_str() {
                "" => ("clusterroles.rbac.authorization.k8s.io", false),
                _ => ("roles.rbac.authorization.k8s.io", true),
            };
            let mut object = serde_json::json!({"metadata": {"name": default.name, "uid": "u"},
                "rules": to_value(&default.rules)});
            if namespaced {
                object["metadata"]["namespace"] = default.namespace.as_str().into();
            }
            let errors = by_resource(resource).unwrap().validate(&object, None);
            assert_eq!(errors, [], "{}", default.name);
            assert_ne!(
                default.rules.is_empty(),
                default.gathers.is_none(),
                "{}",
                default.name
            );
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line) in [
            ("  read core pods", 1),
            ("a\n  read core", 2),
            ("a\n\n  bound to x", 3),
        ] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }
}
