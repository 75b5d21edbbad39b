//! Rules of a pod's status, which nodes report.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::podspec::json::typed;
use crate::podspec::names;
use crate::podspec::path::{Errors, Given, Path};

/// The restart policy of a container by its name.
type Policy<'a> = dyn Fn(&str) -> String + 'a;

/// Rules of a status update.
pub fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    const STATUS: Path<'_> = Path::root("status");
    let mut errors = Errors::default();
    let (new_pod, old_pod): (Pod, Pod) = (typed(Some(new)), typed(Some(old)));
    let (status, old_status) = (
        new_pod.status.unwrap_or_default(),
        old_pod.status.unwrap_or_default(),
    );
    let spec = old_pod.spec.unwrap_or_default();
    let conditions_at = Path::root("metadata.conditions");
    for (i, condition) in status.conditions.given().iter().enumerate() {
        let kind = condition.type_.as_str();
        let item = conditions_at.index(i);
        errors.invalid_each(item.child("Type"), kind, names::qualified_name(kind));
    }
    let nominated = status.nominated_node_name.given();
    if !nominated.is_empty() {
        let messages = names::dns1123_subdomain(nominated);
        errors.invalid_each(STATUS.child("nominatedNodeName"), nominated, messages);
    }
    errors.immutable(
        STATUS.child("qosClass"),
        &status.qos_class,
        &old_status.qos_class,
    );
    let of_pod = spec.restart_policy.given().to_owned();
    let policy = |_: &str| of_pod.clone();
    let init_policy = |name: &str| {
        let mut containers = spec.init_containers.given().iter();
        let sidecar = containers.any(|c| c.name == name && c.restart_policy.given() == "Always");
        if sidecar {
            "Always".to_owned()
        } else {
            of_pod.clone()
        }
    };
    let never = |_: &str| "Never".to_owned();
    let (new, old) = (&status, &old_status);
    let policies: [(_, _, _, &Policy<'_>); 3] = [
        (
            "containerStatuses",
            &new.container_statuses,
            &old.container_statuses,
            &policy,
        ),
        (
            "initContainerStatuses",
            &new.init_container_statuses,
            &old.init_container_statuses,
            &init_policy,
        ),
        (
            "ephemeralContainerStatuses",
            &new.ephemeral_container_statuses,
            &old.ephemeral_container_statuses,
            &never,
        ),
    ];
    for (field, new, old, policy) in policies {
        state_transitions(
            &mut errors,
            &STATUS.child(field),
            new.given(),
            old.given(),
            policy,
        );
    }
    let list = STATUS.child("podIPs");
    for (i, address) in status.pod_ips.given().iter().enumerate() {
        names::ip(&mut errors, list.index(i), &address.ip);
    }
    errors.0
}

/// A container that is not to restart stays terminated.
fn state_transitions(
    errors: &mut Errors,
    at: &Path<'_>,
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    policy: &Policy<'_>,
) {
    for (i, old) in old.iter().enumerate() {
        let Some(end) = old
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
        else {
            continue;
        };
        let policy = policy(&old.name);
        if policy == "Always" || (policy == "OnFailure" && end.exit_code != 0) {
            continue;
        }
        let runs = |status: &ContainerStatus| {
            status
                .state
                .as_ref()
                .is_none_or(|state| state.terminated.is_none())
        };
        if new.iter().any(|new| new.name == old.name && runs(new)) {
            let detail = "may not be transitioned to non-terminated state";
            errors.forbidden(at.index(i).child("state"), detail);
        }
    }
}
