//! What upstream's admission plugins that are always on do to a new pod: DefaultTolerationSeconds and Priority.
//!
//! The first is part of preparing a create. The priority comes from an object, the pod's class, and so has a step of
//! its own; pods that controllers make pass it as well. ServiceAccount, which may have to wait for the account, is a
//! plugin of the API server.

use serde_json::{Value, json};

use crate::admission::{Admission, Denied};
use crate::kinds::priority_class;
use crate::podspec::json::{Fields, ensure, int, into_object, or_pointer, text, unset};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// How long a pod stays bound to a node that went away.
const TOLERATION_SECONDS: i64 = 300;
/// The preemption policy of pods without a class.
const PREEMPT: &str = "PreemptLowerPriority";

/// Fills in what admission would.
pub fn admit(spec: &mut Fields) {
    for key in [NOT_READY, UNREACHABLE] {
        toleration(spec, key);
    }
}

/// Gives a new pod the priority of its class; an update that leaves the priority out keeps it.
pub fn priority(
    pod: &mut Value,
    old: Option<&Value>,
    admission: &Admission<'_>,
) -> Result<(), Denied> {
    if admission.subresource.is_some() {
        return Ok(());
    }
    let spec = ensure(into_object(pod), "spec");
    if let Some(old) = old {
        for field in ["priority", "preemptionPolicy"] {
            let before = old["spec"].get(field).filter(|value| !value.is_null());
            if let Some(before) = before {
                or_pointer(spec, field, before.clone());
            }
        }
        return Ok(());
    }
    let class =
        match spec.get("priorityClassName").and_then(Value::as_str) {
            None | Some("") => priority_class::default_class(admission.objects),
            Some(name) => {
                let found = priority_class::class(admission.objects, name);
                Some(found.ok_or_else(|| {
                    Denied(format!("no PriorityClass with name {name} was found"))
                })?)
            }
        };
    let none = json!({"value": 0, "preemptionPolicy": PREEMPT});
    let class = class.as_deref().unwrap_or(&none);
    if let Some(name) = class.pointer("/metadata/name") {
        spec.insert("priorityClassName".to_owned(), name.clone());
    }
    set_priority(spec, int(class, "/value"))?;
    match text(class, "/preemptionPolicy") {
        "" => Ok(()),
        policy => set_preemption(spec, policy),
    }
}

fn set_priority(spec: &mut Fields, value: i64) -> Result<(), Denied> {
    match spec.get("priority").and_then(Value::as_i64) {
        Some(given) if given != value => Err(Denied(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        ))),
        _ => {
            spec.insert("priority".to_owned(), value.into());
            Ok(())
        }
    }
}

fn set_preemption(spec: &mut Fields, policy: &str) -> Result<(), Denied> {
    match spec.get("preemptionPolicy").and_then(Value::as_str) {
        Some(given) if given != policy => Err(Denied(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ))),
        _ => {
            spec.insert("preemptionPolicy".to_owned(), policy.into());
            Ok(())
        }
    }
}

fn toleration(spec: &mut Fields, taint: &str) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(tolerations) = tolerations.as_array_mut() else {
        return;
    };
    let covered = tolerations
        .iter()
        .filter_map(Value::as_object)
        .any(|toleration| {
            let key_covers = unset(toleration, "key") || toleration["key"] == taint;
            key_covers && (unset(toleration, "effect") || toleration["effect"] == "NoExecute")
        });
    if !covered {
        tolerations.push(json!({
            "key": taint,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": TOLERATION_SECONDS,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Given;

    #[test]
    fn a_users_toleration_replaces_the_default_one() {
        let mut spec = json!({"tolerations": [{"key": NOT_READY, "operator": "Exists"}]});
        admit(into_object(&mut spec));
        let list = spec["tolerations"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1]["key"], UNREACHABLE);
        assert_eq!(list[1]["tolerationSeconds"], 300);
        let mut spec = json!({"tolerations": [{"operator": "Exists"}]});
        admit(into_object(&mut spec));
        assert_eq!(spec["tolerations"].as_array().unwrap().len(), 1);
    }

    fn classes() -> Given {
        let class = |name: &str, value: i64, policy: &str, default: bool| {
            json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": policy,
                "globalDefault": default})
        };
        Given::new(vec![(
            priority_class::RESOURCE,
            vec![
                class("high", 1000, "Never", false),
                class("usual", 5, PREEMPT, true),
                class("also-usual", 9, PREEMPT, true),
            ],
        )])
    }

    #[test]
    fn pods_get_the_priority_of_their_class() {
        for (spec, expected) in [
            (json!({}), json!(["usual", 5, PREEMPT])),
            (
                json!({"priorityClassName": "high"}),
                json!(["high", 1000, "Never"]),
            ),
            (
                json!({"priorityClassName": "system-node-critical", "priority": 2_000_001_000}),
                json!(["system-node-critical", 2_000_001_000, PREEMPT]),
            ),
        ] {
            let mut pod = json!({"spec": spec});
            priority(&mut pod, None, &classes().admission()).unwrap();
            let spec = &pod["spec"];
            let got = json!([
                spec["priorityClassName"],
                spec["priority"],
                spec["preemptionPolicy"]
            ]);
            assert_eq!(got, expected);
        }
        let mut pod = json!({"spec": {}});
        priority(&mut pod, None, &Given::new(Vec::new()).admission()).unwrap();
        assert_eq!(
            pod["spec"],
            json!({"priority": 0, "preemptionPolicy": PREEMPT})
        );
    }

    #[test]
    fn unknown_classes_and_own_values_are_refused() {
        for (spec, why) in [
            (
                json!({"priorityClassName": "x"}),
                "no PriorityClass with name x was found",
            ),
            (
                json!({"priority": 3}),
                "the integer value of priority (3) must not be provided in pod spec; priority admission controller \
                 computed 5 from the given PriorityClass name",
            ),
            (
                json!({"preemptionPolicy": "Never"}),
                "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission \
                 controller computed PreemptLowerPriority from the given PriorityClass name",
            ),
        ] {
            let mut pod = json!({"spec": spec});
            let denied = priority(&mut pod, None, &classes().admission());
            assert_eq!(denied, Err(Denied(why.to_owned())));
        }
    }

    #[test]
    fn updates_keep_the_priority() {
        let old = json!({"spec": {"priority": 7, "preemptionPolicy": "Never"}});
        let mut new = json!({"spec": {}});
        priority(&mut new, Some(&old), &classes().admission()).unwrap();
        assert_eq!(new, old);
    }
}
