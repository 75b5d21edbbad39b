//! What LimitRanges do to pods and claims: defaults for containers, and bounds (upstream plugin `LimitRanger`).
//!
//! Pure: the ranges of a namespace and an object in. The defaults of a range itself are its kind's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use k8s_openapi::api::core::v1::{
    Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;

use crate::podspec::json::{Fields, each, ensure, into_object, typed};
use crate::podspec::totals::{self, Amounts, amounts};
use crate::quantity::Quantity;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const CONTAINER: &str = "Container";
const POD: &str = "Pod";
const CLAIM: &str = "PersistentVolumeClaim";

/// Gives a pod's containers the defaults of one range, and notes that in an annotation.
pub fn set_defaults(pod: &mut Value, range: &LimitRange) {
    let items = items(range, CONTAINER);
    let defaults = |side: fn(&LimitRangeItem) -> Option<&BTreeMap<String, Text>>| -> Fields {
        let amounts = items.iter().filter_map(|item| side(item)).flatten();
        let text = |amount: &Text| Value::from(amount.0.as_str());
        amounts
            .map(|(name, amount)| (name.clone(), text(amount)))
            .collect()
    };
    let requests = defaults(|item| item.default_request.as_ref());
    let limits = defaults(|item| item.default.as_ref());
    let mut notes = Vec::new();
    let spec = ensure(into_object(pod), "spec");
    for (list, noun) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        for container in each(spec, list) {
            let name = container.get("name").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            if requests.is_empty() && limits.is_empty() {
                continue;
            }
            let resources = ensure(container, "resources");
            for (side, given) in [("requests", &requests), ("limits", &limits)] {
                let set = fill_in(resources, side, given);
                if !set.is_empty() {
                    let side = side.trim_end_matches('s');
                    notes.push(format!("{} {side} for {noun} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let annotations = ensure(ensure(into_object(pod), "metadata"), "annotations");
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        annotations.insert(ANNOTATION.to_owned(), note.into());
    }
}

/// Sets what is missing; answers the names, sorted.
fn fill_in(resources: &mut Fields, side: &str, given: &Fields) -> Vec<String> {
    if given.is_empty() {
        return Vec::new();
    }
    let amounts = ensure(resources, side);
    let mut set = BTreeSet::new();
    for (name, amount) in given {
        if !amounts.contains_key(name) {
            amounts.insert(name.clone(), amount.clone());
            set.insert(name.clone());
        }
    }
    set.into_iter().collect()
}

fn items<'a>(range: &'a LimitRange, kind: &str) -> Vec<&'a LimitRangeItem> {
    let items = range.spec.iter().flat_map(|spec| &spec.limits);
    items.filter(|item| item.type_ == kind).collect()
}

/// What of a pod is out of a range's bounds.
pub fn check_pod(pod: &Value, range: &LimitRange) -> Result<(), String> {
    let pod: Pod = typed(Some(pod));
    let Some(spec) = &pod.spec else { return Ok(()) };
    let mut bounds = Bounds::default();
    for item in range.spec.iter().flat_map(|spec| &spec.limits) {
        match item.type_.as_str() {
            CONTAINER => {
                let init = spec.init_containers.iter().flatten();
                for container in spec.containers.iter().chain(init) {
                    let (requests, limits) = asked(container);
                    bounds.check(item, &requests, &limits);
                }
            }
            POD => {
                let (requests, limits) = asked_as_a_whole(spec);
                bounds.check(item, &requests, &limits);
            }
            _ => {}
        }
    }
    bounds.finish()
}

/// What of a claim is out of a range's bounds.
pub fn check_claim(claim: &Value, range: &LimitRange) -> Result<(), String> {
    let claim: PersistentVolumeClaim = typed(Some(claim));
    let resources = claim.spec.and_then(|spec| spec.resources);
    let requests = amounts(resources.as_ref().and_then(|it| it.requests.as_ref()));
    let mut bounds = Bounds::default();
    for item in items(range, CLAIM) {
        // A claim's limits mean nothing.
        for (name, min) in amounts(item.min.as_ref()) {
            bounds.min(CLAIM, &name, min, requests.get(&name), None);
        }
        for (name, max) in amounts(item.max.as_ref()) {
            let Some(request) = requests.get(&name) else {
                bounds.refuse(format!(
                    "maximum {name} usage per {CLAIM} is {max}.  No request is specified"
                ));
                continue;
            };
            bounds.above(CLAIM, &name, max, *request, "request");
        }
    }
    bounds.finish()
}

fn asked(container: &Container) -> (Amounts, Amounts) {
    let resources = container.resources.as_ref();
    (
        amounts(resources.and_then(|it| it.requests.as_ref())),
        amounts(resources.and_then(|it| it.limits.as_ref())),
    )
}

fn asked_as_a_whole(spec: &PodSpec) -> (Amounts, Amounts) {
    (
        totals::of(spec, |it| it.requests.as_ref()),
        totals::of(spec, |it| it.limits.as_ref()),
    )
}

/// What is out of bounds, in upstream's words.
#[derive(Default)]
struct Bounds(Vec<String>);

impl Bounds {
    fn refuse(&mut self, why: String) {
        self.0.push(why);
    }

    /// As Go prints an aggregate of errors: each once.
    fn finish(mut self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        self.0.retain(|why| seen.insert(why.clone()));
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => Err(format!("[{}]", self.0.join(", "))),
        }
    }

    fn check(&mut self, item: &LimitRangeItem, requests: &Amounts, limits: &Amounts) {
        let kind = item.type_.as_str();
        for (name, min) in amounts(item.min.as_ref()) {
            self.min(kind, &name, min, requests.get(&name), limits.get(&name));
        }
        for (name, max) in amounts(item.max.as_ref()) {
            self.max(kind, &name, max, requests.get(&name), limits.get(&name));
        }
        for (name, ratio) in amounts(item.max_limit_request_ratio.as_ref()) {
            self.ratio(kind, &name, ratio, requests.get(&name), limits.get(&name));
        }
    }

    fn min(
        &mut self,
        kind: &str,
        name: &str,
        min: Quantity,
        request: Option<&Quantity>,
        limit: Option<&Quantity>,
    ) {
        let bound = format!("minimum {name} usage per {kind} is {min}");
        match (request, limit) {
            (None, _) => self.refuse(format!("{bound}.  No request is specified")),
            (Some(request), _) if *request < min => {
                self.refuse(format!("{bound}, but request is {request}"));
            }
            (_, Some(limit)) if *limit < min => {
                self.refuse(format!("{bound}, but limit is {limit}"));
            }
            _ => {}
        }
    }

    fn max(
        &mut self,
        kind: &str,
        name: &str,
        max: Quantity,
        request: Option<&Quantity>,
        limit: Option<&Quantity>,
    ) {
        let Some(limit) = limit else {
            let bound = format!("maximum {name} usage per {kind} is {max}");
            return self.refuse(format!("{bound}.  No limit is specified"));
        };
        if self.above(kind, name, max, *limit, "limit") {
            return;
        }
        if let Some(request) = request {
            self.above(kind, name, max, *request, "request");
        }
    }

    fn above(
        &mut self,
        kind: &str,
        name: &str,
        max: Quantity,
        amount: Quantity,
        side: impl Display,
    ) -> bool {
        let is_above = amount > max;
        if is_above {
            self.refuse(format!(
                "maximum {name} usage per {kind} is {max}, but {side} is {amount}"
            ));
        }
        is_above
    }

    fn ratio(
        &mut self,
        kind: &str,
        name: &str,
        ratio: Quantity,
        request: Option<&Quantity>,
        limit: Option<&Quantity>,
    ) {
        let bound = format!("{name} max limit to request ratio per {kind} is {ratio}");
        let present = |amount: Option<&Quantity>| amount.filter(|it| it.sign() != 0).copied();
        let Some(request) = present(request) else {
            let why = "but no request is specified or request is 0";
            return self.refuse(format!("{bound}, {why}"));
        };
        let Some(limit) = present(limit) else {
            let why = "but no limit is specified or limit is 0";
            return self.refuse(format!("{bound}, {why}"));
        };
        let provided = limit.milli_value() as f64 / request.milli_value() as f64;
        if provided * 1000.0 > ratio.milli_value() as f64 {
            self.refuse(format!("{bound}, but provided ratio is {provided:.6}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn range(item: Value) -> LimitRange {
        serde_json::from_value(json!({"spec": {"limits": [item]}})).unwrap()
    }

    fn pod(requests: Value, limits: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "a", "resources": {"requests": requests, "limits": limits}}]}})
    }

    #[test]
    fn containers_get_what_they_leave_out() {
        let range = range(
            json!({"type": "Container", "default": {"cpu": "2", "memory": "1Gi"},
            "defaultRequest": {"cpu": "1"}}),
        );
        let mut pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "3"}}}],
            "initContainers": [{"name": "i", "resources": {
                "requests": {"cpu": "1m"}, "limits": {"cpu": "1", "memory": "1"}}}],
        }});
        set_defaults(&mut pod, &range);
        let resources = |at: &str| pod.pointer(at).unwrap().clone();
        assert_eq!(
            resources("/spec/containers/0/resources"),
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}})
        );
        assert_eq!(
            resources("/spec/containers/1/resources"),
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "3", "memory": "1Gi"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; cpu request for \
             container b; memory limit for container b"
        );
    }

    #[test]
    fn a_range_without_defaults_changes_nothing() {
        let mut pod = pod(json!({"cpu": "1"}), json!({}));
        let before = pod.clone();
        set_defaults(
            &mut pod,
            &range(json!({"type": "Container", "max": {"cpu": "1"}})),
        );
        set_defaults(
            &mut pod,
            &range(json!({"type": "Pod", "max": {"cpu": "1"}})),
        );
        assert_eq!(pod, before);
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        for (item, requests, limits, expected) in [
            (
                json!({"type": "Container", "min": {"cpu": "100m"}}),
                json!({}),
                json!({}),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                json!({"type": "Container", "min": {"cpu": "100m"}}),
                json!({"cpu": "50m"}),
                json!({}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                json!({"type": "Container", "min": {"cpu": "100m"}}),
                json!({"cpu": "100m"}),
                json!({"cpu": "50m"}),
                "minimum cpu usage per Container is 100m, but limit is 50m",
            ),
            (
                json!({"type": "Container", "max": {"memory": "1Gi"}}),
                json!({}),
                json!({}),
                "maximum memory usage per Container is 1Gi.  No limit is specified",
            ),
            (
                json!({"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}}),
                json!({"cpu": "2"}),
                json!({"cpu": "1", "memory": "2Gi"}),
                "[maximum cpu usage per Container is 1, but request is 2, maximum memory usage per Container is 1Gi, \
                 but limit is 2Gi]",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"cpu": "300m"}),
                json!({"cpu": "1"}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.333333",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"cpu": "0"}),
                json!({"cpu": "1"}),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"cpu": "1"}),
                json!({}),
                "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "1"}}),
                json!({"cpu": "1"}),
                json!({"cpu": "1500m"}),
                "maximum cpu usage per Pod is 1, but limit is 1500m",
            ),
            (
                json!({"type": "PersistentVolumeClaim", "max": {"storage": "1"}}),
                json!({}),
                json!({}),
                "",
            ),
            (
                json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"cpu": "1"}),
                json!({"cpu": "2"}),
                "",
            ),
        ] {
            let told = check_pod(&pod(requests, limits), &range(item.clone()));
            assert_eq!(told.err().unwrap_or_default(), expected, "{item}");
        }
    }

    #[test]
    fn claims_are_bound_by_their_requests() {
        let claim =
            |storage: &str| json!({"spec": {"resources": {"requests": {"storage": storage}}}});
        let range = range(
            json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}),
        );
        for (claim, expected) in [
            (claim("1Gi"), ""),
            (
                claim("1Mi"),
                "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi",
            ),
            (
                claim("3Gi"),
                "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi",
            ),
        ] {
            assert_eq!(
                check_claim(&claim, &range).err().unwrap_or_default(),
                expected
            );
        }
        let told = check_claim(&json!({}), &range).unwrap_err();
        assert!(
            told.starts_with("[minimum storage") && told.contains("No request"),
            "{told}"
        );
    }
}
