//! What upstream's admission plugins that are always on add to a new pod: ServiceAccount, Priority,
//! DefaultTolerationSeconds.
//!
//! Part of preparing a create, so that pods made by controllers get it as well. Priority classes other than the two
//! built in are objects, which cannot be looked up here: a pod that names one keeps the priority it came with.

use serde_json::{Value, json};

use crate::podspec::json::{Fields, or, or_pointer, unset};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// How long a pod stays bound to a node that went away.
const TOLERATION_SECONDS: i64 = 300;

/// Fills in what admission would.
pub fn admit(spec: &mut Fields) {
    or(spec, "serviceAccountName", "default");
    let account = spec["serviceAccountName"].clone();
    spec.insert("serviceAccount".to_owned(), account);
    priority(spec);
    for key in [NOT_READY, UNREACHABLE] {
        toleration(spec, key);
    }
}

fn priority(spec: &mut Fields) {
    let value = match spec
        .get("priorityClassName")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        _ => return,
    };
    spec.insert("priority".to_owned(), value.into());
    or_pointer(spec, "preemptionPolicy", "PreemptLowerPriority");
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
    use crate::podspec::json::into_object;

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
        assert_eq!(spec["serviceAccount"], "default");
        assert_eq!(spec["priority"], 0);
    }
}
