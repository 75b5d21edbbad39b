//! Which names of a definition are its own, and what its conditions say (upstream's naming, establishing,
//! non-structural-schema and API-approval controllers).
//!
//! Pure: the controller brings the other definitions of the group, and stores what comes out.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::CLEANUP_FINALIZER;
use crate::meta::Meta;

/// The annotation that lets a group under `k8s.io` be defined.
pub(crate) const APPROVED: &str = "api-approved.kubernetes.io";

/// The status that a definition should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// `status.acceptedNames`.
    pub accepted_names: Value,
    /// `status.conditions`.
    pub conditions: Vec<Value>,
}

/// Names in use by other definitions of a group.
#[derive(Debug, Default)]
struct Taken<'a> {
    resources: BTreeSet<&'a str>,
    kinds: BTreeSet<&'a str>,
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

impl<'a> Taken<'a> {
    fn by(others: &'a [&'a Value]) -> Self {
        let mut taken = Self::default();
        for other in others {
            let names = &other["status"]["acceptedNames"];
            let text = |name: &str| names[name].as_str().filter(|text| !text.is_empty());
            taken.resources.extend(text("plural"));
            taken.resources.extend(text("singular"));
            taken.resources.extend(texts(&names["shortNames"]));
            taken.kinds.extend(text("kind"));
            taken.kinds.extend(text("listKind"));
        }
        taken
    }
}

/// The status of a definition among the others of its group.
pub fn conditions_of(definition: &Value, others: &[&Value], now: &str) -> Conditions {
    let taken = Taken::by(others);
    let requested = &definition["spec"]["names"];
    let mut accepted = definition["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({"plural": "", "kind": ""});
    }
    let mut conflict = None;
    for (name, reason, kinds) in [
        ("plural", "PluralConflict", false),
        ("singular", "SingularConflict", false),
        ("shortNames", "ShortNamesConflict", false),
        ("kind", "KindConflict", true),
        ("listKind", "ListKindConflict", true),
    ] {
        let used = if kinds {
            &taken.kinds
        } else {
            &taken.resources
        };
        if accepted[name] == requested[name] {
            continue;
        }
        let wanted: Vec<&str> = match &requested[name] {
            Value::String(text) => vec![text],
            list => texts(list).collect(),
        };
        let own: Vec<&str> = texts(&accepted[name]).collect();
        let in_use = wanted
            .iter()
            .filter(|name| used.contains(*name) && !own.contains(name));
        let in_use: Vec<String> = in_use
            .map(|name| format!("\"{name}\" is already in use"))
            .collect();
        match in_use.len() {
            0 if requested[name].is_null() => {
                drop(accepted.as_object_mut().map(|a| a.remove(name)))
            }
            0 => accepted[name] = requested[name].clone(),
            1 => conflict = Some((reason, in_use[0].clone())),
            _ => conflict = Some((reason, format!("[{}]", in_use.join(", ")))),
        }
    }
    match &requested["categories"] {
        Value::Null => drop(accepted.as_object_mut().map(|a| a.remove("categories"))),
        categories => accepted["categories"] = categories.clone(),
    }
    let before = definition["status"]["conditions"].as_array();
    let mut conditions = before.cloned().unwrap_or_default();
    let are_accepted = conflict.is_none();
    match conflict {
        None => set(
            &mut conditions,
            ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            now,
        ),
        Some((reason, message)) => set(
            &mut conditions,
            ("NamesAccepted", "False", reason, &message),
            now,
        ),
    }
    let is_established = is_true(&conditions, "Established");
    if !is_established {
        let established = match are_accepted {
            true => (
                "Established",
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
            false => (
                "Established",
                "False",
                "NotAccepted",
                "not all names are accepted",
            ),
        };
        set(&mut conditions, established, now);
    }
    set_non_structural(&mut conditions, definition, now);
    set_approval(&mut conditions, definition, now);
    Conditions {
        accepted_names: accepted,
        conditions,
    }
}

/// What a deletion makes of a definition: the finalizer that holds it, and the condition that says so.
pub(crate) fn prepare_delete(definition: &mut Value, now: &str) {
    let meta = Meta::of(definition);
    if !meta.finalizers().contains(&CLEANUP_FINALIZER) {
        let mut finalizers: Vec<String> =
            meta.finalizers().into_iter().map(str::to_owned).collect();
        finalizers.push(CLEANUP_FINALIZER.to_owned());
        definition["metadata"]["finalizers"] = json!(finalizers);
    }
    set_terminating(
        definition,
        (
            "True",
            "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will be initiated soon",
        ),
        now,
    );
}

/// Sets the condition `Terminating`: status, reason, message.
pub fn set_terminating(definition: &mut Value, condition: (&str, &str, &str), now: &str) {
    let (status, reason, message) = condition;
    let before = definition["status"]["conditions"].as_array();
    let mut conditions = before.cloned().unwrap_or_default();
    set(
        &mut conditions,
        ("Terminating", status, reason, message),
        now,
    );
    definition["status"]["conditions"] = conditions.into();
}

fn set_non_structural(conditions: &mut Vec<Value>, definition: &Value, now: &str) {
    let violations = crate::kinds::custom_resource_definition::violations(definition);
    if violations.is_empty() {
        conditions.retain(|condition| condition["type"] != "NonStructuralSchema");
        return;
    }
    let message = match &violations[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    set(
        conditions,
        ("NonStructuralSchema", "True", "Violations", &message),
        now,
    );
}

fn set_approval(conditions: &mut Vec<Value>, definition: &Value, now: &str) {
    const TYPE: &str = "KubernetesAPIApprovalPolicyConformant";
    let group = definition["spec"]["group"].as_str().unwrap_or_default();
    let condition = match approval(definition) {
        _ if !is_protected(group) => {
            conditions.retain(|condition| condition["type"] != TYPE);
            return;
        }
        Approval::Given(by) => ("True", "ApprovedAnnotation", format!("approved in {by}")),
        Approval::Bypassed(why) => {
            let message = format!("not approved: {why:?}");
            ("False", "UnapprovedAnnotation", message)
        }
        Approval::Invalid(text) => {
            let message = format!(
                "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111: {text:?}"
            );
            ("False", "InvalidAnnotation", message)
        }
        Approval::Missing => {
            let message = format!(
                "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            );
            ("False", "MissingAnnotation", message)
        }
    };
    let (status, reason, message) = condition;
    set(conditions, (TYPE, status, reason, &message), now);
}

/// What the annotation of a protected group says.
pub(crate) enum Approval<'a> {
    Missing,
    Given(&'a str),
    Bypassed(&'a str),
    Invalid(&'a str),
}

/// What the definition says of its approval.
pub(crate) fn approval(definition: &Value) -> Approval<'_> {
    match Meta::of(definition).annotation(APPROVED) {
        None | Some("") => Approval::Missing,
        Some(text) if text.starts_with("unapproved") => Approval::Bypassed(text),
        Some(text) if is_url(text) => Approval::Given(text),
        Some(text) => Approval::Invalid(text),
    }
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split('/').next().unwrap_or_default();
        scheme.chars().all(|c| c.is_ascii_alphanumeric()) && !host.is_empty()
    })
}

/// Whether a group is the project's own.
pub(crate) fn is_protected(group: &str) -> bool {
    let under = |suffix: &str| group == suffix || group.ends_with(&format!(".{suffix}"));
    under("k8s.io") || under("kubernetes.io")
}

fn is_true(conditions: &[Value], name: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition["type"] == name && condition["status"] == "True")
}

/// Sets a condition; the time is that of the last change of its status.
fn set(conditions: &mut Vec<Value>, condition: (&str, &str, &str, &str), now: &str) {
    let (name, status, reason, message) = condition;
    let old = conditions.iter_mut().find(|old| old["type"] == name);
    let since = match &old {
        Some(old) if old["status"] == status => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    let new = json!({
        "type": name, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    });
    match old {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({"metadata": {"name": format!("{plural}.g.example.com")},
            "spec": {"group": "g.example.com", "scope": "Namespaced", "versions": [], "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": short}}})
    }

    fn settled(mut definition: Value, others: &[&Value]) -> Value {
        let status = conditions_of(&definition, others, "t1");
        definition["status"] =
            json!({"acceptedNames": status.accepted_names, "conditions": status.conditions});
        definition
    }

    #[test]
    fn names_are_accepted_unless_another_has_them() {
        let first = settled(definition("widgets", "Widget", &["w"]), &[]);
        assert_eq!(first["status"]["acceptedNames"], first["spec"]["names"]);
        let conditions = first["status"]["conditions"].as_array().unwrap();
        assert!(is_true(conditions, "NamesAccepted") && is_true(conditions, "Established"));

        let second = settled(definition("wheels", "Widget", &["w", "wh"]), &[&first]);
        let status = &second["status"];
        assert_eq!(status["acceptedNames"]["plural"], "wheels");
        assert!(status["acceptedNames"]["kind"] == "");
        let conditions = status["conditions"].as_array().unwrap();
        assert_eq!(conditions[0]["reason"], "ListKindConflict");
        assert_eq!(conditions[0]["message"], "\"WidgetList\" is already in use");
        assert_eq!(conditions[1]["reason"], "NotAccepted");

        let freed = settled(second, &[]);
        let conditions = freed["status"]["conditions"].as_array().unwrap();
        assert!(is_true(conditions, "Established"));
        assert_eq!(conditions_of(&freed, &[], "t2").conditions, *conditions);
    }

    #[test]
    fn groups_of_the_project_tell_their_approval() {
        let mut definition = definition("widgets", "Widget", &[]);
        definition["spec"]["group"] = json!("g.k8s.io");
        for (annotation, reason) in [
            (
                "https://github.com/kubernetes/kubernetes/pull/1",
                "ApprovedAnnotation",
            ),
            ("unapproved, experimental", "UnapprovedAnnotation"),
            ("yes", "InvalidAnnotation"),
            ("", "MissingAnnotation"),
        ] {
            definition["metadata"]["annotations"] = json!({APPROVED: annotation});
            let conditions = conditions_of(&definition, &[], "t").conditions;
            assert_eq!(conditions.last().unwrap()["reason"], reason);
        }
    }
}
