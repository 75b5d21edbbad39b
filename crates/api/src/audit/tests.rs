//! Tables: which rule matches which request, and which policies are refused.

use serde_json::json;

use super::*;
use crate::request_info::Subject;

fn policy(rules: Value) -> Policy {
    Policy::read(json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
        .unwrap()
}

/// `(user, verb, group, resource/subresource, namespace, name)`
fn matches(rule: Value, request: (&str, &str, &str, &str, &str, &str)) -> bool {
    let (user, verb, group, resource, namespace, name) = request;
    let groups = ["dev".to_owned(), "system:authenticated".to_owned()];
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let is_path = resource.is_empty();
    let path = if is_path {
        format!("/{subresource}")
    } else {
        String::new()
    };
    let request = RequestInfo {
        subject: (!user.is_empty()).then_some(Subject {
            name: user,
            groups: &groups,
        }),
        verb,
        path: &path,
        resource: (!is_path).then_some(Resource {
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
        }),
    };
    policy(json!([rule])).decide(&request).level == Level::Metadata
}

#[test]
fn rules_match_as_upstreams() {
    const GET_POD: (&str, &str, &str, &str, &str, &str) = ("ann", "get", "", "pods", "a", "x");
    const LOG: (&str, &str, &str, &str, &str, &str) = ("ann", "get", "", "pods/log", "a", "x");
    const NODE: (&str, &str, &str, &str, &str, &str) = ("ann", "list", "", "nodes", "", "");
    const METRICS: (&str, &str, &str, &str, &str, &str) = ("ann", "get", "", "/metrics", "", "");
    const NOBODY: (&str, &str, &str, &str, &str, &str) = ("", "get", "", "pods", "a", "x");
    let of = |resources: Value| json!({"resources": [{"group": "", "resources": resources}]});
    for (rule, request, expected) in [
        (json!({}), GET_POD, true),
        (json!({}), METRICS, true),
        (json!({}), NOBODY, true),
        (json!({"users": ["ann"]}), GET_POD, true),
        (json!({"users": ["bob"]}), GET_POD, false),
        (json!({"users": ["ann"]}), NOBODY, false),
        (json!({"userGroups": ["ops", "dev"]}), GET_POD, true),
        (json!({"userGroups": ["dev"]}), NOBODY, false),
        (json!({"verbs": ["list", "get"]}), GET_POD, true),
        (json!({"verbs": ["*"]}), GET_POD, false),
        (json!({"namespaces": ["a"]}), GET_POD, true),
        (json!({"namespaces": ["a"]}), METRICS, false),
        (json!({"namespaces": [""]}), NODE, true),
        (json!({"namespaces": [""]}), GET_POD, false),
        (json!({"resources": [{"group": ""}]}), LOG, true),
        (json!({"resources": [{"group": "apps"}]}), LOG, false),
        (of(json!(["pods"])), GET_POD, true),
        (of(json!(["pods"])), LOG, false),
        (of(json!(["pods/log"])), LOG, true),
        (of(json!(["pods/*"])), LOG, true),
        (of(json!(["pods/*"])), GET_POD, true),
        (of(json!(["*/log"])), LOG, true),
        (of(json!(["*/log"])), GET_POD, false),
        (of(json!(["*"])), LOG, true),
        (
            json!({"resources": [{"resources": ["pods"], "resourceNames": ["x"]}]}),
            GET_POD,
            true,
        ),
        (
            json!({"resources": [{"resources": ["pods"], "resourceNames": ["y"]}]}),
            GET_POD,
            false,
        ),
        (json!({"nonResourceURLs": ["/met*"]}), METRICS, true),
        (json!({"nonResourceURLs": ["/metrics/*"]}), METRICS, false),
        (json!({"nonResourceURLs": ["*"]}), METRICS, true),
        (json!({"nonResourceURLs": ["*"]}), GET_POD, false),
    ] {
        let mut rule = rule;
        rule["level"] = json!("Metadata");
        assert_eq!(
            matches(rule.clone(), request),
            expected,
            "{rule} {request:?}"
        );
    }
}

#[test]
fn the_first_rule_that_matches_decides_and_stages_add_up() {
    let policy = Policy::read(json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "metadata": {"name": "x"},
        "omitStages": ["RequestReceived"], "omitManagedFields": true,
        "rules": [
            {"level": "None", "users": ["ann"]},
            {"level": "RequestResponse", "verbs": ["get"], "omitStages": ["Panic"], "omitManagedFields": false},
            {"level": "Metadata"},
        ],
    }))
    .unwrap();
    let decide = |name, verb| {
        policy.decide(&RequestInfo {
            subject: Some(Subject { name, groups: &[] }),
            verb,
            ..RequestInfo::default()
        })
    };
    assert!(!decide("ann", "get").records(Stage::ResponseComplete));
    let got = decide("bob", "get");
    assert_eq!(
        (got.level, got.omit_managed_fields),
        (Level::RequestResponse, false)
    );
    let stages = [
        Stage::RequestReceived,
        Stage::ResponseStarted,
        Stage::ResponseComplete,
        Stage::Panic,
    ];
    assert_eq!(
        stages.map(|stage| got.records(stage)),
        [false, true, true, false]
    );
    let other = decide("bob", "list");
    assert_eq!(
        (other.level, other.omit_managed_fields),
        (Level::Metadata, true)
    );
    assert!(other.records(Stage::Panic));
}

#[test]
fn broken_policies_are_refused_by_field() {
    for (rule, expected) in [
        (json!({"level": "All"}), "unknown variant `All`"),
        (json!({"level": "None", "user": []}), "unknown field `user`"),
        (json!({"verbs": []}), "missing field `level`"),
        (
            json!({"level": "None", "omitStages": ["Later"]}),
            "unknown variant `Later`",
        ),
        (
            json!({"level": "None", "nonResourceURLs": ["metrics"]}),
            "rules[0].nonResourceURLs[0]: Invalid value: \"metrics\": non-resource URL rules must begin with a '/' \
             character",
        ),
        (
            json!({"level": "None", "nonResourceURLs": ["/a*b"]}),
            "rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final \
             character of the rule",
        ),
        (
            json!({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["b"]}),
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
        (
            json!({"level": "None", "resources": [{"resourceNames": ["a"]}]}),
            "rules[0].resources[0].resourceNames: Invalid value: [\"a\"]: using resourceNames requires at least one \
             resource",
        ),
        (
            json!({"level": "None", "resources": [{"group": "Apps"}]}),
            "rules[0].resources[0].group: Invalid value: \"Apps\"",
        ),
    ] {
        let tree = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]});
        let error = Policy::read(tree).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    let error =
        Policy::read(json!({"apiVersion": "audit.k8s.io/v1beta1", "kind": "Policie"})).unwrap_err();
    assert!(
        error.contains("apiVersion: Unsupported value: \"audit.k8s.io/v1beta1\""),
        "{error}"
    );
    assert!(
        error.contains("kind: ") && error.contains("rules: Required value"),
        "{error}"
    );
}
