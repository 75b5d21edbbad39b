//! Who a pod of a StatefulSet is: its name, its ordinal, and the labels that say so.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Work;
use crate::plan::Plan;
use crate::pods::{controller_ref, from_template};
use crate::view::Found;

/// Label with the pod's own name.
pub const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Label with its ordinal.
pub const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// Label with the name of the revision of its template.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// The parts of `parent-7`.
pub fn parse(name: &str) -> Option<(&str, i32)> {
    let (parent, digits) = name.rsplit_once('-')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((parent, digits.parse().ok().filter(|_| plain)?))
}

/// A pod's ordinal.
pub fn ordinal(pod: &Pod) -> Option<i32> {
    Some(parse(pod.metadata.name.as_deref()?)?.1)
}

/// The name of the revision that a pod is of.
pub fn revision_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(REVISION_LABEL))
        .map_or("", String::as_str)
}

/// Whether a pod's labels say who it is.
fn is_labelled(pod: &Pod, name: &str, ordinal: i32) -> bool {
    let label = |key: &str| pod.metadata.labels.as_ref().and_then(|it| it.get(key));
    label(NAME_LABEL).is_some_and(|it| it == name)
        && label(INDEX_LABEL).is_some_and(|it| *it == ordinal.to_string())
}

/// Labels an adopted pod.
pub fn label(pod: &Found<Pod>, ordinal: i32, plan: &mut Plan) -> bool {
    if is_labelled(pod, pod.name(), ordinal) {
        return false;
    }
    let name = pod.name().to_owned();
    plan.edit(&pod.object, |value: &mut Value| {
        let labels = &mut value["metadata"]["labels"];
        labels[NAME_LABEL] = json!(name);
        labels[INDEX_LABEL] = json!(ordinal.to_string());
    });
    true
}

impl Work<'_> {
    /// Whether an ordinal is one of those that are to run.
    pub fn in_range(&self, ordinal: i32) -> bool {
        let ordinal = i64::from(ordinal);
        let start = i64::from(self.start());
        (start..start + i64::from(self.replicas())).contains(&ordinal)
    }

    /// The pod of an ordinal that nobody has: of the current revision below the partition, of the update else.
    pub fn new_pod(&self, ordinal: i32, current_replicas: i32) -> Pod {
        let strategy = self.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let kept = match rolling {
            Some(rolling) => rolling.partition.unwrap_or(0),
            None => current_replicas,
        };
        let kept = self.rolling() && i64::from(ordinal) < i64::from(self.start()) + i64::from(kept);
        let revision = if kept { &self.current } else { &self.update };
        let (set, name) = (&self.set, format!("{}-{ordinal}", self.set.name()));
        let owner = controller_ref(set);
        let mut pod = from_template(&revision.template, set.namespace(), "", owner);
        pod.metadata.generate_name = Some(format!("{}-", set.name()));
        pod.metadata.name = Some(name.clone());
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(NAME_LABEL.into(), name.clone());
        labels.insert(INDEX_LABEL.into(), ordinal.to_string());
        labels.insert(REVISION_LABEL.into(), revision.name.clone());
        if let Some(spec) = &mut pod.spec {
            spec.hostname = Some(name);
            spec.subdomain = (self.spec.service_name.clone()).filter(|it| !it.is_empty());
            self.mount_claims(spec, ordinal);
        }
        pod
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_ordinals() {
        assert_eq!(parse("web-0"), Some(("web", 0)));
        assert_eq!(parse("my-web-12"), Some(("my-web", 12)));
        for name in ["web", "web-", "web-a", "web-+1", "web-99999999999"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
