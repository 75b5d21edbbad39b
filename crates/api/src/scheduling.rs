//! Rules about where a pod may run that the scheduler, controllers and agents share: taints and tolerations,
//! node selectors.
//!
//! Not here: decisions. These functions only say whether a rule matches.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration,
};

/// Whether `toleration` covers `taint`, as `v1helper.Toleration.ToleratesTaint`.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    if let Some(effect) = toleration
        .effect
        .as_deref()
        .filter(|effect| !effect.is_empty())
        && effect != taint.effect
    {
        return false;
    }
    let key = toleration.key.as_deref().unwrap_or_default();
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        "Exists" => true,
        _ => false,
    }
}

/// Whether some toleration of `tolerations` covers `taint`.
pub fn any_tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, taint))
}

/// Whether a node with these labels and name meets one of `terms`.
pub fn node_terms_match(
    terms: &[NodeSelectorTerm],
    labels: &BTreeMap<String, String>,
    name: &str,
) -> bool {
    terms
        .iter()
        .any(|term| node_term_matches(term, labels, name))
}

/// Whether a node meets all requirements of one term; an empty term matches nothing.
pub fn node_term_matches(
    term: &NodeSelectorTerm,
    labels: &BTreeMap<String, String>,
    name: &str,
) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|requirement| {
        requirement_matches(
            requirement,
            labels.get(&requirement.key).map(String::as_str),
        )
    }) && fields.iter().all(|requirement| {
        requirement.key == "metadata.name" && requirement_matches(requirement, Some(name))
    })
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|listed| listed == value);
    match (requirement.operator.as_str(), value) {
        ("In", Some(value)) => listed(value),
        ("NotIn", value) => !value.is_some_and(listed),
        ("Exists", value) => value.is_some(),
        ("DoesNotExist", value) => value.is_none(),
        ("Gt", Some(value)) => compare(value, values).is_some_and(|(left, right)| left > right),
        ("Lt", Some(value)) => compare(value, values).is_some_and(|(left, right)| left < right),
        _ => false,
    }
}

fn compare(value: &str, values: &[String]) -> Option<(i64, i64)> {
    Some((value.parse().ok()?, values.first()?.parse().ok()?))
}

/// Whether the pod's nodeSelector and required node affinity admit a node.
pub fn node_affinity_admits(pod: &Pod, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let selector = spec.node_selector.iter().flatten();
    let mut chosen = selector.map(|(key, value)| labels.get(key) == Some(value));
    if !chosen.all(|matches| matches) {
        return false;
    }
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| {
        affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    required.is_none_or(|required| node_terms_match(&required.node_selector_terms, labels, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            time_added: None,
        }
    }

    #[test]
    fn tolerations_follow_upstreams_table() {
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: Some(key.into()),
            operator: Some(operator.into()),
            value: Some(value.into()),
            effect: Some(effect.into()),
            toleration_seconds: None,
        };
        let taint = taint("dedicated", "gpu", "NoSchedule");
        for (toleration, covers) in [
            (toleration("dedicated", "Equal", "gpu", "NoSchedule"), true),
            (toleration("dedicated", "", "gpu", ""), true),
            (toleration("dedicated", "Equal", "cpu", ""), false),
            (toleration("dedicated", "Exists", "", "NoExecute"), false),
            (toleration("", "Exists", "", ""), true),
            (toleration("", "Equal", "gpu", ""), false),
        ] {
            assert_eq!(tolerates(&toleration, &taint), covers, "{toleration:?}");
        }
    }

    #[test]
    fn node_terms_know_all_operators() {
        let labels = BTreeMap::from([("cores".to_owned(), "8".to_owned())]);
        for (operator, values, matches) in [
            ("In", vec!["4", "8"], true),
            ("NotIn", vec!["8"], false),
            ("Exists", vec![], true),
            ("DoesNotExist", vec![], false),
            ("Gt", vec!["4"], true),
            ("Lt", vec!["4"], false),
        ] {
            let term = NodeSelectorTerm {
                match_expressions: Some(vec![NodeSelectorRequirement {
                    key: "cores".into(),
                    operator: operator.into(),
                    values: Some(values.into_iter().map(String::from).collect()),
                }]),
                match_fields: None,
            };
            assert_eq!(
                node_term_matches(&term, &labels, "n1"),
                matches,
                "{operator}"
            );
        }
        assert!(!node_term_matches(
            &NodeSelectorTerm::default(),
            &labels,
            "n1"
        ));
    }
}
