//! What a pod gets from its RuntimeClass: overhead, a node selector, tolerations (upstream plugin `RuntimeClass`).

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::{Value, json};

use crate::admission::{Denied, Objects};
use crate::podspec::json::{Fields, ensure, into_object, typed};
use crate::podspec::path::Given;
use crate::podspec::totals::amounts;

const RESOURCE: &str = "runtimeclasses.node.k8s.io";

/// Gives a new pod what its class says.
pub fn admit(pod: &mut Value, objects: &dyn Objects) -> Result<(), Denied> {
    let spec = ensure(into_object(pod), "spec");
    let name = spec.get("runtimeClassName").and_then(Value::as_str);
    let class: Option<RuntimeClass> = match name {
        None => None,
        Some(name) => {
            let found = objects.get(RESOURCE, "", name);
            let found = found.ok_or_else(|| {
                Denied(format!("pod rejected: RuntimeClass \"{name}\" not found"))
            })?;
            Some(typed(Some(&found)))
        }
    };
    overhead(spec, class.as_ref())?;
    let Some(scheduling) = class.and_then(|class| class.scheduling) else {
        return Ok(());
    };
    for (key, value) in scheduling.node_selector.into_iter().flatten() {
        select(spec, &key, value)?;
    }
    if let Some(tolerations) = scheduling.tolerations.filter(|list| !list.is_empty()) {
        let own: Vec<Toleration> = typed(spec.get("tolerations"));
        spec.insert("tolerations".into(), json!(merged(own, tolerations)));
    }
    Ok(())
}

fn overhead(spec: &mut Fields, class: Option<&RuntimeClass>) -> Result<(), Denied> {
    let given = spec.get("overhead").filter(|given| !given.is_null());
    let fixed = class.and_then(|class| class.overhead.as_ref());
    match (given, fixed) {
        (None, None) => {}
        (None, Some(fixed)) => {
            if let Some(fixed) = &fixed.pod_fixed {
                spec.insert("overhead".into(), json!(fixed));
            }
        }
        (Some(_), None) => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(Denied(why.to_owned()));
        }
        (Some(given), Some(fixed)) => {
            let given: std::collections::BTreeMap<String, _> = typed(Some(given));
            if amounts(Some(&given)) != amounts(fixed.pod_fixed.as_ref()) {
                let why =
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(Denied(why.to_owned()));
            }
        }
    }
    Ok(())
}

fn select(spec: &mut Fields, key: &str, value: String) -> Result<(), Denied> {
    let selector = ensure(spec, "nodeSelector");
    match selector.get(key).and_then(Value::as_str) {
        Some(own) if own != value => Err(Denied(format!(
            "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
        ))),
        _ => {
            selector.insert(key.to_owned(), value.into());
            Ok(())
        }
    }
}

/// Both lists, without those that another one covers.
fn merged(first: Vec<Toleration>, second: Vec<Toleration>) -> Vec<Toleration> {
    let all: Vec<Toleration> = first.into_iter().chain(second).collect();
    let mut merged: Vec<Toleration> = Vec::new();
    for (idx, toleration) in all.iter().enumerate() {
        let is_covered = merged.iter().any(|other| covers(other, toleration));
        // Of equal ones the first stays.
        let mut later = all[idx + 1..].iter();
        let will_be = later.any(|other| other != toleration && covers(other, toleration));
        if !is_covered && !will_be {
            merged.push(toleration.clone());
        }
    }
    merged
}

/// Whether `wide` tolerates all that `narrow` does.
fn covers(wide: &Toleration, narrow: &Toleration) -> bool {
    if wide == narrow {
        return true;
    }
    let exists = wide.operator.given() == "Exists";
    let (key, effect) = (wide.key.given(), wide.effect.given());
    if (narrow.key.given() != key && !(key.is_empty() && exists))
        || (narrow.effect.given() != effect && !effect.is_empty())
    {
        return false;
    }
    if effect == "NoExecute"
        && let Some(seconds) = wide.toleration_seconds
        && narrow
            .toleration_seconds
            .is_none_or(|narrow| narrow > seconds)
    {
        return false;
    }
    exists || (narrow.operator.given() == "Equal" && narrow.value.given() == wide.value.given())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Given;

    fn admitted(class: Value, spec: Value) -> Result<Value, String> {
        let mut class = class;
        class["metadata"] = json!({"name": "gvisor"});
        class["handler"] = json!("runsc");
        let given = Given::new(vec![(RESOURCE, vec![class])]);
        let mut pod = json!({"spec": spec});
        admit(&mut pod, &given).map_err(|denied| denied.0)?;
        Ok(pod["spec"].clone())
    }

    #[test]
    fn a_pod_gets_what_its_class_says() {
        let class = json!({"overhead": {"podFixed": {"cpu": "100m"}}, "scheduling": {
            "nodeSelector": {"sandbox": "yes"},
            "tolerations": [{"key": "sandbox", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]}});
        let spec = json!({"runtimeClassName": "gvisor", "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}]});
        assert_eq!(
            admitted(class, spec),
            Ok(json!({
                "runtimeClassName": "gvisor", "overhead": {"cpu": "100m"},
                "nodeSelector": {"disk": "ssd", "sandbox": "yes"},
                "tolerations": [{"key": "sandbox", "operator": "Exists"}, {"key": "a", "operator": "Exists"}],
            }))
        );
        let bare = json!({"containers": []});
        assert_eq!(admitted(json!({}), bare.clone()), Ok(bare));
    }

    #[test]
    fn what_contradicts_the_class_is_refused() {
        let overhead = json!({"overhead": {"podFixed": {"cpu": "100m"}}});
        let selector = json!({"scheduling": {"nodeSelector": {"a": "b"}}});
        for (class, spec, why) in [
            (
                json!({}),
                json!({"runtimeClassName": "kata"}),
                "pod rejected: RuntimeClass \"kata\" not found",
            ),
            (
                json!({}),
                json!({"runtimeClassName": "gvisor", "overhead": {"cpu": "1"}}),
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ),
            (
                json!({}),
                json!({"overhead": {"cpu": "1"}}),
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ),
            (
                overhead.clone(),
                json!({"runtimeClassName": "gvisor", "overhead": {"cpu": "1"}}),
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
            ),
            (
                selector,
                json!({"runtimeClassName": "gvisor", "nodeSelector": {"a": "c"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c",
            ),
        ] {
            assert_eq!(admitted(class, spec), Err(why.to_owned()));
        }
        let same = json!({"runtimeClassName": "gvisor", "overhead": {"cpu": "0.1"}});
        assert!(admitted(overhead, same).is_ok());
    }
}
