//! The part `resize` of a pod: cpu and memory of its containers, changed while it runs (upstream `ValidatePodResize`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::ephemeral::{MIRROR, POD};
use super::strategy::qos_class;
use super::update::metadata_and_spec;
use crate::field_error::FieldError;
use crate::meta::Meta;
use crate::podspec::json::{list, same, text, typed};
use crate::podspec::path::{Errors, Given, Path};

const SPEC: Path<'static> = Path::root("spec");
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Takes the containers' resources over. Containers that are others than before are taken over as they are: validation
/// says what is wrong with that.
pub(super) fn take(kept: &mut Value, sent: &mut Value) {
    let mut lists = Vec::new();
    for name in ["containers", "initContainers"] {
        let old = list(kept, &format!("/spec/{name}"));
        let new = list(sent, &format!("/spec/{name}"));
        if new.len() != old.len() {
            kept["spec"] = sent["spec"].take();
            return;
        }
        let is_same = |(a, b): (&Value, &Value)| a["name"] == b["name"];
        let merged: Vec<Value> = if new.iter().zip(old).all(is_same) {
            let pairs = new.iter().zip(old);
            pairs.map(|(new, old)| resized(old, new)).collect()
        } else {
            new.to_vec()
        };
        if !merged.is_empty() {
            lists.push((name, merged));
        }
    }
    for (name, merged) in lists {
        kept["spec"][name] = merged.into();
    }
}

fn resized(old: &Value, new: &Value) -> Value {
    let mut container = old.clone();
    for field in ["resources", "resizePolicy"] {
        match new.get(field) {
            Some(found) => container[field] = found.clone(),
            None => {
                container.as_object_mut().map(|fields| fields.remove(field));
            }
        }
    }
    container
}

/// Rules of the pod with them.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (new_pod, old_pod): (Pod, Pod) = (typed(Some(new)), typed(Some(old)));
    let new_spec = new_pod.spec.clone().unwrap_or_default();
    let old_spec = old_pod.spec.clone().unwrap_or_default();
    let never = if has_own_resources(&old_spec) || has_own_resources(&new_spec) {
        "pods with pod-level resources cannot be resized"
    } else if Meta::of(old).annotation(MIRROR).is_some() {
        "static pods cannot be resized"
    } else if text(old, "/spec/os/name") == "windows" {
        "windows pods cannot be resized"
    } else {
        ""
    };
    if !never.is_empty() {
        errors.forbidden(POD, never);
        return errors.0;
    }
    metadata_and_spec(&mut errors, new);
    let before = match text(old, "/status/qosClass") {
        "" => qos_class(&old_spec),
        class => class,
    };
    if before != qos_class(&new_spec) {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(SPEC, text(new, "/status/qosClass"), detail);
    }
    if !is_supported(&old_pod) {
        errors.forbidden(SPEC, "Pod running on node without support for resize");
    }
    if !are_the_same(&mut errors, new, old) {
        return errors.0;
    }
    nothing_is_removed(&mut errors, &new_spec, &old_spec);
    only_cpu_and_memory(&mut errors, new, old);
    errors.0
}

fn has_own_resources(spec: &PodSpec) -> bool {
    let resources = spec.resources.as_ref();
    resources.is_some_and(|resources| {
        let lists = [&resources.requests, &resources.limits];
        lists
            .into_iter()
            .flatten()
            .any(|amounts| !amounts.is_empty())
    })
}

/// A node that can resize tells the resources of what runs.
fn is_supported(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut statuses = status
        .map_or(&[][..], |status| status.container_statuses.given())
        .iter();
    let running = statuses.find(|status| {
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some())
    });
    running.is_none_or(|status| status.resources.is_some())
}

/// No container comes, goes or changes places.
fn are_the_same(errors: &mut Errors, new: &Value, old: &Value) -> bool {
    let n_before = errors.0.len();
    for name in ["containers", "initContainers"] {
        let pointer = format!("/spec/{name}");
        let (new, old) = (list(new, &pointer), list(old, &pointer));
        if new.len() != old.len() {
            errors.forbidden(
                SPEC,
                format!("{name} may not be added or removed on resize"),
            );
            continue;
        }
        let at = SPEC.child(name);
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            if new["name"] != old["name"] {
                let detail = format!("{name} may not be renamed or reordered on resize");
                errors.forbidden(at.index(i).child("name"), detail);
            }
        }
    }
    errors.0.len() == n_before
}

fn nothing_is_removed(errors: &mut Errors, new: &PodSpec, old: &PodSpec) {
    let init = new
        .init_containers
        .given()
        .iter()
        .zip(old.init_containers.given());
    let regular = new.containers.iter().zip(&old.containers);
    let init = init
        .enumerate()
        .map(|(i, pair)| ("initContainers", i, pair));
    let init = init.filter(|(_, _, (_, old))| old.restart_policy.given() == "Always");
    let regular = regular.enumerate().map(|(i, pair)| ("containers", i, pair));
    for (name, i, (new, old)) in init.chain(regular) {
        let none = Default::default();
        let new = new.resources.as_ref().unwrap_or(&none);
        let old = old.resources.as_ref().unwrap_or(&none);
        let list = SPEC.child(name);
        let item = list.index(i);
        let at = item.child("resources");
        if removes(new.requests.as_ref(), old.requests.as_ref()) {
            errors.forbidden(at.child("requests"), "resource requests cannot be removed");
        }
        if removes(new.limits.as_ref(), old.limits.as_ref()) {
            errors.forbidden(at.child("limits"), "resource limits cannot be removed");
        }
    }
}

type Amounts<'a> = Option<&'a BTreeMap<String, Quantity>>;

fn removes(new: Amounts<'_>, old: Amounts<'_>) -> bool {
    let mut names = old.into_iter().flat_map(BTreeMap::keys);
    names.any(|name| new.is_none_or(|new| !new.contains_key(name)))
}

/// All but cpu and memory is as it was, also of containers that run at the start only.
fn only_cpu_and_memory(errors: &mut Errors, new: &Value, old: &Value) {
    let n_before = errors.0.len();
    let mut munged = new["spec"].clone();
    for name in ["containers", "initContainers"] {
        let pointer = format!("/spec/{name}");
        for (i, before) in list(old, &pointer).iter().enumerate() {
            let now = &mut munged[name][i];
            let is_sidecar = text(now, "/restartPolicy") == "Always";
            let detail = match (name, is_sidecar) {
                ("containers", _) => "only cpu and memory resources are mutable",
                (_, true) => "only cpu and memory resources for sidecar containers are mutable",
                (_, false) => "resources for non-sidecar init containers are immutable",
            };
            if name == "containers" || is_sidecar {
                restore(now, before);
            }
            if !same(now, before) {
                errors.forbidden(SPEC, detail);
            }
        }
    }
    if errors.0.len() == n_before && !same(&munged, &old["spec"]) {
        errors.forbidden(SPEC, "only cpu and memory resources are mutable");
    }
}

/// Gives cpu and memory back their old amounts.
fn restore(container: &mut Value, old: &Value) {
    for list in ["requests", "limits"] {
        for name in RESIZABLE {
            let before = old["resources"][list].get(name).cloned();
            let has_list = container["resources"][list].is_object();
            match before {
                Some(before) => container["resources"][list][name] = before,
                None if has_list => {
                    let amounts = container["resources"][list].as_object_mut();
                    amounts.map(|amounts| amounts.remove(name));
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Subresource;
    use crate::kinds::pod::KIND;

    const PART: Subresource = Subresource::Resize;

    fn pod(resources: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "app", "image": "x", "resources": resources}]}});
        KIND.default(&mut pod);
        pod
    }

    fn burstable() -> Value {
        pod(json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}))
    }

    /// What is wrong with a change of a pod's resources, by way of the subresource.
    fn told(old: &Value, mut new: Value) -> Vec<String> {
        KIND.prepare_part(PART, &mut new, old);
        let errors = KIND.validate_part(PART, &new, old);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cpu_and_memory_change_and_nothing_else_is_taken_over() {
        let old = burstable();
        let mut new =
            pod(json!({"requests": {"cpu": "1500m", "memory": "512Mi"}, "limits": {"cpu": "3"}}));
        new["spec"]["containers"][0]["image"] = json!("other");
        KIND.prepare_part(PART, &mut new, &old);
        let container = &new["spec"]["containers"][0];
        assert_eq!(container["image"], "x");
        assert_eq!(container["resources"]["requests"]["cpu"], "1500m");
        assert_eq!(new["metadata"]["generation"], 2);
        assert_eq!(told(&old, new), [""; 0]);
    }

    #[test]
    fn what_a_resize_may_not_do() {
        let old = burstable();
        let with = |resources: Value| pod(resources);
        let mut renamed = burstable();
        renamed["spec"]["containers"][0]["name"] = json!("other");
        let mut more = burstable();
        more["spec"]["containers"] =
            json!([more["spec"]["containers"][0], {"name": "b", "image": "x"}]);
        KIND.default(&mut more);
        let guaranteed = json!({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}});
        for (new, expected) in [
            (
                with(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})),
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
            ),
            (
                with(guaranteed),
                "spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing",
            ),
            (
                with(
                    json!({"requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "2"}}),
                ),
                "spec: Forbidden: only cpu and memory resources are mutable",
            ),
            (
                renamed,
                "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
            ),
            (
                more,
                "spec: Forbidden: containers may not be added or removed on resize",
            ),
        ] {
            assert_eq!(told(&old, new), [expected]);
        }
    }

    #[test]
    fn a_node_that_cannot_resize_is_told_by_what_runs() {
        let mut old = burstable();
        let mut status = json!({"name": "app", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}}});
        old["status"] = json!({"containerStatuses": [status]});
        let expected = "spec: Forbidden: Pod running on node without support for resize";
        assert_eq!(told(&old, burstable()), [expected]);
        status["resources"] = json!({"requests": {"cpu": "1"}});
        old["status"]["containerStatuses"][0] = status;
        assert_eq!(told(&old, burstable()), [""; 0]);
    }
}
