//! FlowSchema (upstream `ValidateFlowSchema`), and the rules of conditions that PriorityLevelConfiguration shares.

use std::collections::BTreeSet;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule,
    ServiceAccountSubject, Subject,
};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::flowcontrol::{self, EXEMPT};
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, StatusMetadata, names};
use crate::podspec::json::{ensure, int, into_object, list, or_zero, same, text, typed};
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::SPEC;
use crate::table;

const DEFAULT_PRECEDENCE: i64 = 1000;
const MAX_PRECEDENCE: i32 = 10_000;
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// FlowSchema.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "flowschema",
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column::text(
            "PriorityLevel",
            "`name` is the name of the priority level configuration being referenced Required.",
        ),
        Column::text(
            "MatchingPrecedence",
            "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request.",
        ),
        Column::text(
            "DistinguisherMethod",
            "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema.",
        ),
        Column::AGE,
        Column::text(
            "MissingPL",
            "references a broken or non-existent PriorityLevelConfiguration",
        ),
    ],
    counts_generation: true,
    hooks: Hooks {
        default: |schema| {
            let spec = ensure(into_object(schema), "spec");
            or_zero(spec, "matchingPrecedence", DEFAULT_PRECEDENCE);
        },
        validate,
        validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<FlowSchema>()
});

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let name = Meta::of(new).name();
    validate_spec(&mut errors, name, &typed(new.get("spec")));
    if let Some(fixed) = flowcontrol::mandatory_flow_schema(name)
        && !same(&fixed, &new["spec"])
    {
        let detail = format!("spec of '{name}' must equal the fixed value");
        errors.invalid(SPEC, new["spec"].clone(), detail);
    }
    conditions(&mut errors, new);
    errors.0
}

fn validate_spec(errors: &mut Errors, name: &str, spec: &FlowSchemaSpec) {
    let precedence = spec.matching_precedence.unwrap_or_default();
    let at = SPEC.child("matchingPrecedence");
    if precedence <= 0 {
        errors.invalid(at, precedence, "must be a positive value");
    }
    if precedence > MAX_PRECEDENCE {
        let detail = format!("must not be greater than {MAX_PRECEDENCE}");
        errors.invalid(at, precedence, detail);
    }
    if precedence == 1 && name != EXEMPT {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.invalid(at, precedence, detail);
    }
    if let Some(method) = &spec.distinguisher_method {
        let supported = &["ByNamespace", "ByUser"];
        if !supported.contains(&method.type_.as_str()) {
            let at = SPEC.child("distinguisherMethod.type");
            errors.not_supported(at, to_value(method), supported);
        }
    }
    let level = spec.priority_level_configuration.name.as_str();
    let at = SPEC.child("priorityLevelConfiguration.name");
    if level.is_empty() {
        errors.required(at, "must reference a priority level");
    } else {
        errors.invalid_each(at, level, names::dns1123_subdomain(level));
    }
    let list_at = SPEC.child("rules");
    for (i, rule) in spec.rules.given().iter().enumerate() {
        policy_rule(errors, &list_at.index(i), rule);
    }
}

fn policy_rule(errors: &mut Errors, at: &Path<'_>, rule: &PolicyRulesWithSubjects) {
    let subjects_at = at.child("subjects");
    if rule.subjects.is_empty() {
        errors.required(subjects_at, "subjects must contain at least one value");
    }
    for (i, found) in rule.subjects.iter().enumerate() {
        subject(errors, &subjects_at.index(i), found);
    }
    let (resources, others) = (rule.resource_rules.given(), rule.non_resource_rules.given());
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.required(*at, detail);
    }
    let list_at = at.child("resourceRules");
    for (i, rule) in resources.iter().enumerate() {
        resource_rule(errors, &list_at.index(i), rule);
    }
    let list_at = at.child("nonResourceRules");
    for (i, rule) in others.iter().enumerate() {
        non_resource_rule(errors, &list_at.index(i), rule);
    }
}

fn subject(errors: &mut Errors, at: &Path<'_>, subject: &Subject) {
    let given = [
        (
            "ServiceAccount",
            "serviceAccount",
            subject.service_account.is_some(),
        ),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let kind = subject.kind.as_str();
    let Some((_, own, is_set)) = given.iter().find(|(known, ..)| *known == kind) else {
        let supported = &["Group", "ServiceAccount", "User"];
        return errors.not_supported(at.child("kind"), kind, supported);
    };
    let own_at = at.child(own);
    if !is_set {
        errors.required(
            own_at,
            format!("{own} is required when subject kind is '{kind}'"),
        );
    }
    if kind == "ServiceAccount"
        && let Some(account) = &subject.service_account
    {
        service_account(errors, &own_at, account);
    }
    let user = subject.user.as_ref().map(|user| &user.name);
    let group = subject.group.as_ref().map(|group| &group.name);
    let named = match kind {
        "User" => user,
        "Group" => group,
        _ => None,
    };
    if named.is_some_and(String::is_empty) {
        errors.required(own_at.child("name"), "");
    }
    for (other, field, is_set) in given {
        if is_set && other != kind {
            let detail = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.forbidden(at.child(field), detail);
        }
    }
}

fn service_account(errors: &mut Errors, at: &Path<'_>, account: &ServiceAccountSubject) {
    let (name, namespace) = (account.name.as_str(), account.namespace.as_str());
    match name {
        "" => errors.required(at.child("name"), ""),
        "*" => {}
        name => errors.invalid_each(at.child("name"), name, names::dns1123_subdomain(name)),
    }
    let namespace_at = at.child("namespace");
    if namespace.is_empty() {
        errors.required(namespace_at, "must specify namespace for service account");
    } else {
        errors.invalid_each(namespace_at, namespace, names::dns1123_label(namespace));
    }
}

fn is_all(items: &[String]) -> bool {
    items.iter().any(|item| item == "*")
}

/// `*` stands alone in a list.
fn alone(errors: &mut Errors, at: Path<'_>, items: &[String], what: &str) {
    if items.len() > 1 && is_all(items) {
        errors.invalid(
            at,
            items,
            format!("if '*' is present, must not specify other {what}"),
        );
    }
}

fn verbs(errors: &mut Errors, at: Path<'_>, verbs: &[String]) {
    if verbs.is_empty() {
        errors.required(at, "verbs must contain at least one value");
    } else if is_all(verbs) {
        alone(errors, at, verbs, "verbs");
    } else if !verbs.iter().all(|verb| VERBS.contains(&verb.as_str())) {
        errors.not_supported(at, verbs, VERBS);
    }
}

fn resource_rule(errors: &mut Errors, at: &Path<'_>, rule: &ResourcePolicyRule) {
    verbs(errors, at.child("verbs"), &rule.verbs);
    for (field, items, what, one) in [
        ("apiGroups", &rule.api_groups, "api groups", "api group"),
        ("resources", &rule.resources, "resources", "resource"),
    ] {
        if items.is_empty() {
            let detail = format!("resource rules must supply at least one {one}");
            errors.required(at.child(field), detail);
        }
        alone(errors, at.child(field), items, what);
    }
    let namespaces_at = at.child("namespaces");
    let namespaces = rule.namespaces.given();
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let detail =
            "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(namespaces_at, detail);
    } else if is_all(namespaces) {
        alone(errors, namespaces_at, namespaces, "namespaces");
    } else {
        for (i, namespace) in namespaces.iter().enumerate() {
            for message in names::dns1123_label(namespace) {
                let detail =
                    format!("each member of this list must be '*' or a DNS-1123 label; {message}");
                errors.invalid(namespaces_at.index(i), namespace.as_str(), detail);
            }
        }
    }
}

fn non_resource_rule(errors: &mut Errors, at: &Path<'_>, rule: &NonResourcePolicyRule) {
    verbs(errors, at.child("verbs"), &rule.verbs);
    let urls = rule.non_resource_urls.as_slice();
    let urls_at = at.child("nonResourceURLs");
    if urls.is_empty() {
        errors.required(urls_at, "nonResourceURLs must contain at least one value");
    } else if is_all(urls) {
        alone(errors, urls_at, urls, "non-resource URLs");
    } else {
        for (i, url) in urls.iter().enumerate() {
            if let Some(why) = bad_url(url) {
                errors.invalid(urls_at.index(i), url.as_str(), why);
            }
        }
    }
}

fn bad_url(path: &str) -> Option<&'static str> {
    let wildcards = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        path if !path.starts_with('/') => Some("must start with slash"),
        path if path.contains(' ') => Some("must not contain white-space"),
        path if path.contains("//") => Some("must not contain double slash"),
        path if wildcards > 1 || (wildcards == 1 && !path.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

/// Rules of a status, of either kind.
pub(super) fn validate_status(new: &Value, _: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    conditions(&mut errors, new);
    errors.0
}

/// Rules of the conditions of a status.
pub(super) fn conditions(errors: &mut Errors, object: &Value) {
    let list_at = Path::root("status.conditions");
    let mut seen = BTreeSet::new();
    for (i, condition) in list(object, "/status/conditions").iter().enumerate() {
        let at = list_at.index(i);
        let kind = text(condition, "/type");
        if !seen.insert(kind) {
            errors.duplicate(at.child("type"), kind);
        }
        if kind.is_empty() {
            errors.required(at.child("type"), "must not be empty");
        }
    }
}

fn row(schema: &Value, now_unix_ms: u64) -> Vec<Value> {
    let conditions = list(schema, "/status/conditions").iter();
    let mut dangling = conditions.filter(|condition| text(condition, "/type") == "Dangling");
    let missing = dangling.next().map_or("?", |found| text(found, "/status"));
    vec![
        table::name(schema),
        text(schema, "/spec/priorityLevelConfiguration/name").into(),
        int(schema, "/spec/matchingPrecedence").into(),
        table::text(schema, "/spec/distinguisherMethod/type", "<none>"),
        table::age(schema, now_unix_ms),
        missing.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, created};
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"spec": {
            "priorityLevelConfiguration": {"name": "workload-low"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "*"}}],
                "resourceRules": [
                    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]},
                ],
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}],
            }],
        }})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        const RULE: &str = "/spec/rules/0/resourceRules/0";
        check_creates(
            &KIND,
            &schema(),
            &[
                (
                    "/spec/matchingPrecedence",
                    json!(-1),
                    "spec.matchingPrecedence: Invalid value: -1: must be a positive value",
                ),
                (
                    "/spec/matchingPrecedence",
                    json!(1),
                    "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have \
                     matchingPrecedence 1",
                ),
                (
                    "/spec/distinguisherMethod",
                    json!({"type": "ByMood"}),
                    "spec.distinguisherMethod.type: Unsupported value: {\"type\":\"ByMood\"}: supported values: \
                     \"ByNamespace\", \"ByUser\"",
                ),
                (
                    "/spec/priorityLevelConfiguration/name",
                    json!(""),
                    "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                ),
                (
                    "/spec/rules/0/subjects/0",
                    json!({"kind": "User"}),
                    "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                ),
                (
                    "/spec/rules/0/subjects/0/group",
                    json!({"name": "x"}),
                    "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                ),
                (
                    &format!("{RULE}/verbs"),
                    json!(["read"]),
                    "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"read\"]: supported values: \"create\", \
                     \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                ),
                (
                    &format!("{RULE}/resources"),
                    json!(["*", "pods"]),
                    "spec.rules[0].resourceRules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must \
                     not specify other resources",
                ),
                (
                    &format!("{RULE}/namespaces"),
                    json!([]),
                    "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster \
                     scoped must supply at least one namespace",
                ),
                (
                    "/spec/rules/0/nonResourceRules/0/nonResourceURLs/0",
                    json!("/a*"),
                    "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do \
                     suffix matching",
                ),
            ],
        );
        let mut exempt = created(&KIND, &schema());
        exempt["metadata"]["name"] = json!("exempt");
        let last = KIND.validate(&exempt, None).pop().unwrap().to_string();
        assert!(
            last.ends_with("spec of 'exempt' must equal the fixed value"),
            "{last}"
        );
    }

    #[test]
    fn rows_show_the_level_and_whether_it_is_there() {
        let mut schema = created(&KIND, &schema());
        assert_eq!(
            row(&schema, 0)[1..4],
            [json!("workload-low"), json!(1000), json!("<none>")]
        );
        assert_eq!(row(&schema, 0)[5], "?");
        schema["status"] = json!({"conditions": [{"type": "Dangling", "status": "False"}]});
        assert_eq!(row(&schema, 0)[5], "False");
    }
}
