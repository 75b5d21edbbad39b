//! The part `ephemeralcontainers` of a pod: containers are added to it for debugging, and never changed or taken away.

use serde_json::Value;

use super::update::metadata_and_spec;
use crate::field_error::{FieldError, go_quote};
use crate::meta::Meta;
use crate::podspec::json::{difference, ensure, into_object, list, same, text};
use crate::podspec::path::{Errors, Path};

/// Marks the pods that a node runs of its own accord.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
/// Upstream's path of a pod as a whole.
pub(super) const POD: Path<'static> = Path::root("[]");
const LIST: &str = "ephemeralContainers";

/// Takes the ephemeral containers over.
pub(super) fn take(kept: &mut Value, sent: &mut Value) {
    let containers = sent["spec"][LIST].take();
    let spec = ensure(into_object(kept), "spec");
    match containers {
        Value::Null => spec.remove(LIST),
        containers => spec.insert(LIST.to_owned(), containers),
    };
}

/// Rules of the pod with them.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    if Meta::of(old).annotation(MIRROR).is_some() {
        errors.forbidden(POD, "static pods do not support ephemeral containers");
        return errors.0;
    }
    metadata_and_spec(&mut errors, new);
    const SPEC: Path<'static> = Path::root("spec");
    let at = SPEC.child(LIST);
    let containers = list(new, "/spec/ephemeralContainers");
    for before in list(old, "/spec/ephemeralContainers") {
        let name = text(before, "/name");
        let quoted = go_quote(name);
        match containers.iter().rfind(|new| text(new, "/name") == name) {
            None => {
                let detail = format!("existing ephemeral containers {quoted} may not be removed\n");
                errors.forbidden(at, detail);
            }
            Some(now) if !same(now, before) => {
                let differs = difference(before, now);
                let detail =
                    format!("existing ephemeral containers {quoted} may not be changed\n{differs}");
                errors.forbidden(at, detail);
            }
            Some(_) => {}
        }
    }
    errors.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Subresource;
    use crate::kinds::pod::KIND;

    const PART: Subresource = Subresource::EphemeralContainers;

    fn pod(containers: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "app", "image": "x"}], "ephemeralContainers": containers}});
        KIND.default(&mut pod);
        pod
    }

    fn messages(new: &Value, old: &Value) -> Vec<String> {
        let errors = KIND.validate_part(PART, new, old);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_else_is_taken_over_and_the_generation_counts() {
        let old = pod(json!([]));
        let mut new = pod(json!([{"name": "d", "image": "y"}]));
        new["spec"]["containers"][0]["image"] = json!("z");
        new["metadata"]["labels"] = json!({"a": "b"});
        KIND.prepare_part(PART, &mut new, &old);
        assert_eq!(new["spec"]["containers"], old["spec"]["containers"]);
        assert_eq!(new["metadata"]["labels"], Value::Null);
        assert_eq!(new["metadata"]["generation"], 2);
        assert_eq!(new["spec"][LIST][0]["terminationMessagePolicy"], "File");
        assert!(
            messages(&new, &old).is_empty(),
            "{:?}",
            messages(&new, &old)
        );
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let one = json!({"name": "d", "image": "y"});
        let other = json!({"name": "d", "image": "other"});
        let old = pod(json!([one]));
        for (containers, expected) in [
            (
                json!([]),
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed",
            ),
            (
                json!([other]),
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed",
            ),
            (
                json!([one, {"name": "app", "image": "y"}]),
                "spec.ephemeralContainers[1].name: Duplicate value: \"app\"",
            ),
            (
                json!([one, {"name": "e", "image": "y", "targetContainerName": "nobody"}]),
                "spec.ephemeralContainers[1].targetContainerName: Not found: \"nobody\"",
            ),
        ] {
            let told = messages(&pod(containers.clone()), &old);
            assert!(
                told.len() == 1 && told[0].starts_with(expected),
                "{containers}: {told:?}"
            );
        }
        let mut mirror = pod(json!([]));
        mirror["metadata"]["annotations"] = json!({MIRROR: "x"});
        assert_eq!(
            messages(&mirror, &mirror),
            ["[]: Forbidden: static pods do not support ephemeral containers"]
        );
    }
}
