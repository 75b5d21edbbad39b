//! Whether rules that someone has cover rules that he gives away (upstream `validation.Covers`).
//!
//! The rules given are broken down to one verb on one resource each; one that no single rule of the giver covers is
//! missing.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{ALL, list, url_covers};

/// Parts that one rule is broken down to at most; one of more is covered as a whole or not at all.
const PARTS: usize = 100_000;

/// One verb on one resource or URL.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Resource {
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        name: Option<&'a str>,
    },
    Url {
        verb: &'a str,
        url: &'a str,
    },
}

/// Whether `owned` covers all of `given`.
pub fn covers(owned: &[PolicyRule], given: &[PolicyRule]) -> bool {
    given.iter().all(|rule| missing_of(owned, rule).is_empty())
}

/// What of `given` is not covered by `owned`, put together again by resource.
pub fn missing(owned: &[PolicyRule], given: &[PolicyRule]) -> Vec<PolicyRule> {
    compact(
        given
            .iter()
            .flat_map(|rule| missing_of(owned, rule))
            .collect(),
    )
}

fn missing_of(owned: &[PolicyRule], rule: &PolicyRule) -> Vec<PolicyRule> {
    if owned.iter().any(|known| covers_whole(known, rule)) {
        return Vec::new();
    }
    let lists = [
        list(&rule.api_groups).len(),
        list(&rule.resources).len(),
        list(&rule.resource_names).len().max(1),
        rule.verbs.len(),
    ];
    let n_parts = lists
        .into_iter()
        .fold(1_usize, |product, n| product.saturating_mul(n));
    if n_parts > PARTS {
        return vec![rule.clone()];
    }
    let uncovered = parts(rule).filter(|part| !owned.iter().any(|known| covers_part(known, part)));
    uncovered.map(Part::into_rule).collect()
}

/// Whether one rule covers another without breaking it down: the common case of administrators.
fn covers_whole(owned: &PolicyRule, rule: &PolicyRule) -> bool {
    let within = |known: &[String], asked: &[String]| {
        known.iter().any(|value| value == ALL) || asked.iter().all(|value| known.contains(value))
    };
    let names = list(&owned.resource_names);
    let asked_names = list(&rule.resource_names);
    within(&owned.verbs, &rule.verbs)
        && within(list(&owned.api_groups), list(&rule.api_groups))
        && within(list(&owned.resources), list(&rule.resources))
        && list(&rule.non_resource_urls).iter().all(|path| {
            list(&owned.non_resource_urls)
                .iter()
                .any(|url| url_covers(url, path))
        })
        && (names.is_empty() || (!asked_names.is_empty() && within(names, asked_names)))
}

fn parts(rule: &PolicyRule) -> impl Iterator<Item = Part<'_>> {
    let names = list(&rule.resource_names);
    let names: Vec<Option<&str>> = if names.is_empty() {
        vec![None]
    } else {
        names.iter().map(|name| Some(name.as_str())).collect()
    };
    let resources = list(&rule.api_groups).iter().flat_map(move |group| {
        let names = names.clone();
        list(&rule.resources).iter().flat_map(move |resource| {
            let names = names.clone();
            rule.verbs.iter().flat_map(move |verb| {
                names.clone().into_iter().map(move |name| Part::Resource {
                    verb,
                    group,
                    resource,
                    name,
                })
            })
        })
    });
    let urls = list(&rule.non_resource_urls)
        .iter()
        .flat_map(|url| rule.verbs.iter().map(move |verb| Part::Url { verb, url }));
    resources.chain(urls)
}

fn covers_part(owned: &PolicyRule, part: &Part<'_>) -> bool {
    let has = |values: &[String], value: &str| values.iter().any(|v| v == ALL || v == value);
    match *part {
        Part::Url { verb, url } => {
            has(&owned.verbs, verb)
                && list(&owned.non_resource_urls)
                    .iter()
                    .any(|known| url_covers(known, url))
        }
        Part::Resource {
            verb,
            group,
            resource,
            name,
        } => {
            let any = resource
                .split_once('/')
                .map(|(_, subresource)| format!("*/{subresource}"));
            let resources = list(&owned.resources);
            let names = list(&owned.resource_names);
            has(&owned.verbs, verb)
                && has(list(&owned.api_groups), group)
                && (has(resources, resource) || any.is_some_and(|any| resources.contains(&any)))
                && (names.is_empty()
                    || name.is_some_and(|name| names.iter().any(|known| known == name)))
        }
    }
}

impl Part<'_> {
    fn into_rule(self) -> PolicyRule {
        let one = |text: &str| Some(vec![text.to_owned()]);
        match self {
            Self::Url { verb, url } => PolicyRule {
                verbs: vec![verb.to_owned()],
                non_resource_urls: one(url),
                ..PolicyRule::default()
            },
            Self::Resource {
                verb,
                group,
                resource,
                name,
            } => PolicyRule {
                verbs: vec![verb.to_owned()],
                api_groups: one(group),
                resources: one(resource),
                resource_names: name.and_then(one),
                ..PolicyRule::default()
            },
        }
    }
}

/// Puts the verbs of one resource into one rule.
fn compact(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let is_one = |values: &Option<Vec<String>>| list(values).len() == 1;
    let mut compacted = Vec::new();
    let mut by_resource: BTreeMap<(String, String, Option<String>), PolicyRule> = BTreeMap::new();
    for rule in rules {
        let is_simple = is_one(&rule.api_groups)
            && is_one(&rule.resources)
            && list(&rule.resource_names).len() <= 1
            && list(&rule.non_resource_urls).is_empty();
        if !is_simple {
            compacted.push(rule);
            continue;
        }
        let name = list(&rule.resource_names).first().cloned();
        let key = (
            list(&rule.api_groups)[0].clone(),
            list(&rule.resources)[0].clone(),
            name,
        );
        match by_resource.get_mut(&key) {
            Some(known) => known.verbs.extend(rule.verbs),
            None => {
                by_resource.insert(key, rule);
            }
        }
    }
    compacted.extend(by_resource.into_values());
    compacted
}

#[cfg(test)]
mod tests {
    use super::super::describe;
    use super::super::tests::rule;
    use super::*;
    use serde_json::json;

    fn told(owned: &[PolicyRule], given: PolicyRule) -> Vec<String> {
        missing(owned, &[given]).iter().map(describe).collect()
    }

    #[test]
    fn rights_are_covered_piece_by_piece() {
        let owned = [
            rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]})),
            rule(json!({"verbs": ["*"], "apiGroups": [""], "resources": ["*/scale"]})),
            rule(
                json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["secrets"],
                "resourceNames": ["a"]}),
            ),
            rule(json!({"verbs": ["get"], "nonResourceURLs": ["/apis/*"]})),
        ];
        let given =
            json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]});
        assert_eq!(
            told(&owned, rule(given)),
            [r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}"#]
        );
        for covered in [
            json!({"verbs": ["list"], "apiGroups": [""], "resources": ["pods", "x/scale"]}),
            json!({"verbs": ["get"], "apiGroups": ["x"], "resources": ["secrets"],
                "resourceNames": ["a"]}),
            json!({"verbs": ["get"], "nonResourceURLs": ["/apis/x", "/apis/y*"]}),
            json!({"verbs": []}),
        ] {
            assert!(covers(&owned, &[rule(covered.clone())]), "{covered}");
        }
        for uncovered in [
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}),
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}),
            json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}),
            json!({"verbs": ["get"], "nonResourceURLs": ["/apis"]}),
            json!({"verbs": ["get"], "nonResourceURLs": ["*"]}),
        ] {
            assert!(!covers(&owned, &[rule(uncovered.clone())]), "{uncovered}");
        }
    }

    #[test]
    fn everything_covers_everything_of_its_sort() {
        let all = [rule(
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
        )];
        assert!(covers(
            &all,
            &[rule(json!({"verbs": ["*"], "apiGroups": ["*"],
            "resources": ["*"]}))]
        ));
        assert!(!covers(
            &all,
            &[rule(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}))]
        ));
    }

    #[test]
    fn a_rule_of_too_many_parts_is_refused_whole() {
        let many: Vec<String> = (0..400).map(|n| n.to_string()).collect();
        let huge = rule(json!({"verbs": many, "apiGroups": many, "resources": many}));
        assert_eq!(missing(&[], std::slice::from_ref(&huge)), [huge]);
    }
}
