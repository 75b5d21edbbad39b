//! How many pods there should be, by the owners of those that are there, and how many of them must be healthy.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kontiki_api::Subresource;

use super::Budget;
use crate::Error;
use crate::view::{Found, View, controller_of};

/// What a budget counts against.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) pods: i32,
    pub(super) desired_healthy: i32,
    /// Pods that no controller owns, where that matters.
    pub(super) unmanaged: Vec<String>,
}

/// Counts, or says in words why that cannot be.
pub(super) fn count(
    view: &View<'_>,
    budget: &Budget,
    pods: &[Found<Pod>],
) -> Result<Result<Expected, String>, Error> {
    let none = PodDisruptionBudgetSpec::default();
    let spec = budget.spec.as_ref().unwrap_or(&none);
    let (share, is_maximum) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(share), _) => (share, true),
        (None, Some(IntOrString::Int(number))) => {
            return Ok(Ok(Expected {
                pods: i32::try_from(pods.len()).unwrap_or(i32::MAX),
                desired_healthy: *number,
                unmanaged: Vec::new(),
            }));
        }
        (None, Some(share)) => (share, false),
        (None, None) => return Ok(Ok(Expected::default())),
    };
    let mut expected = match scale(view, pods)? {
        Ok(expected) => expected,
        Err(why) => return Ok(Err(why)),
    };
    let Some(share) = rounded_up(share, expected.pods) else {
        return Ok(Err("invalid value for IntOrString".to_owned()));
    };
    expected.desired_healthy = if is_maximum {
        (expected.pods - share).max(0)
    } else {
        share
    };
    Ok(Ok(expected))
}

fn rounded_up(share: &IntOrString, of: i32) -> Option<i32> {
    match share {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let scaled = (percent * i64::from(of) + 99).div_euclid(100);
            i32::try_from(scaled).ok()
        }
    }
}

/// The sum of what the owners of the pods are scaled to.
fn scale(view: &View<'_>, pods: &[Found<Pod>]) -> Result<Result<Expected, String>, Error> {
    let mut expected = Expected::default();
    let mut scales: BTreeMap<String, i32> = BTreeMap::new();
    for pod in pods {
        let Some(owner) = controller_of(&pod.metadata) else {
            expected.unmanaged.push(pod.name().to_owned());
            continue;
        };
        // A Deployment's pods hang on its ReplicaSets, whose own scales move during a rollout.
        let owner = &deployment_of(view, pod.namespace(), owner)?.unwrap_or_else(|| owner.clone());
        if scales.contains_key(&owner.uid) {
            continue;
        }
        match scale_of(view, pod.namespace(), owner) {
            Ok(Some(scale)) => scales.insert(owner.uid.clone(), scale),
            Ok(None) => {
                return Ok(Err(format!(
                    "found no controllers for pod {:?}",
                    pod.name()
                )));
            }
            Err(why) => return Ok(Err(why)),
        };
    }
    expected.pods = scales.values().sum();
    Ok(Ok(expected))
}

fn deployment_of(
    view: &View<'_>,
    namespace: &str,
    owner: &OwnerReference,
) -> Result<Option<OwnerReference>, Error> {
    if owner.kind != "ReplicaSet" || !owner.api_version.starts_with("apps/") {
        return Ok(None);
    }
    let set = view.get::<ReplicaSet>(namespace, &owner.name)?;
    let set = set.filter(|set| set.uid() == owner.uid);
    let of_set = set.and_then(|set| controller_of(&set.metadata).cloned());
    Ok(of_set.filter(|owner| owner.kind == "Deployment"))
}

/// What an owner is scaled to; none when it is gone, an error when its kind has no scale.
fn scale_of(
    view: &View<'_>,
    namespace: &str,
    owner: &OwnerReference,
) -> Result<Option<i32>, String> {
    let Some(kind) = view.kinds.by_gvk(&owner.api_version, &owner.kind) else {
        return Ok(None);
    };
    if !kind.subresources().contains(&Subresource::Scale) {
        let resource = kind.resource();
        return Err(format!(
            "{resource} does not implement the scale subresource"
        ));
    }
    let found = view.snapshot.find(kind.resource(), namespace, &owner.name);
    let found = found.filter(|object| *object.header.uid == *owner.uid);
    Ok(found.map(|object| {
        let scale = kind.scale_of(&object.value()).unwrap_or_default();
        let replicas = scale["spec"]["replicas"].as_i64();
        replicas.and_then(|it| i32::try_from(it).ok()).unwrap_or(0)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        for (share, of, expected) in [
            (IntOrString::Int(3), 10, Some(3)),
            (percent("50%"), 5, Some(3)),
            (percent("0%"), 5, Some(0)),
            (percent("100%"), 5, Some(5)),
            (percent("half"), 5, None),
        ] {
            assert_eq!(rounded_up(&share, of), expected);
        }
    }
}
