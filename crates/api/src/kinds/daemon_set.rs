//! DaemonSet: defaults, rules and columns (upstream `pkg/apis/apps`).

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, metadata_mut};
use crate::podspec::json::{ensure, int, into_object, or, or_pointer, same, typed};
use crate::podspec::path::{Errors, Given, Path, to_value};
use crate::podspec::scaled::{self, SPEC, always_running, at_most_all, int_or_percent, is_zero};
use crate::podspec::{defaults, print, selectors, validate as podspec, warnings};
use crate::table;

/// Counts the changes of the template. It was a field once; clients of that time find it here.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// DaemonSet.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    columns: COLUMNS,
    counts_generation: true,
    hooks: Hooks {
        default,
        prepare_create: |object| {
            let first = template_generation(object).max(1);
            set_template_generation(object, first);
        },
        prepare_update,
        validate,
        validate_status,
        warnings: |new, old| warnings::template(new, old, "spec.template"),
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<DaemonSet>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::typed(
        "Desired",
        "integer",
        "The number of nodes that should run the daemon pod.",
    ),
    Column::typed(
        "Current",
        "integer",
        "The number of nodes that run at least one daemon pod and should.",
    ),
    Column::typed(
        "Ready",
        "integer",
        "The number of nodes whose daemon pod is ready.",
    ),
    Column::typed(
        "Up-to-date",
        "integer",
        "The number of nodes whose daemon pod is of the current template.",
    ),
    Column::typed(
        "Available",
        "integer",
        "The number of nodes whose daemon pod has been ready for minReadySeconds.",
    ),
    Column::text("Node Selector", "The labels of the nodes that run the pod."),
    Column::AGE,
    print::CONTAINERS,
    print::IMAGES,
    Column::text("Selector", "Label selector for pods.").wide(),
];

fn default(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    let strategy = ensure(spec, "updateStrategy");
    or(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        or_pointer(rolling, "maxUnavailable", 1);
        or_pointer(rolling, "maxSurge", 0);
    }
    or_pointer(spec, "revisionHistoryLimit", 10);
    defaults::template_of(object);
}

fn template_generation(object: &Value) -> i64 {
    let annotation = Meta::of(object).annotation(TEMPLATE_GENERATION);
    annotation
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = ensure(metadata_mut(object), "annotations");
    annotations.insert(
        TEMPLATE_GENERATION.to_owned(),
        generation.to_string().into(),
    );
}

fn prepare_update(new: &mut Value, old: &Value) {
    let template = |object: &Value| {
        object
            .pointer("/spec/template")
            .cloned()
            .unwrap_or_default()
    };
    let changed = !same(&template(new), &template(old));
    set_template_generation(new, template_generation(old) + i64::from(changed));
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: DaemonSetSpec = typed(new.get("spec"));
    let (selector_at, template_at) = (SPEC.child("selector"), SPEC.child("template"));
    let given = new.pointer("/spec/selector");
    let selector = given
        .filter(|selector| !selector.is_null())
        .map(|_| &spec.selector);
    selectors::validate(&mut errors, &selector_at, selector);
    scaled::template_matches(&mut errors, &template_at, &spec.template, selector);
    if let Some(selector) = selector.filter(|selector| selectors::is_empty(selector)) {
        let detail = "empty selector is invalid for daemonset";
        errors.invalid(selector_at, to_value(selector), detail);
    }
    podspec::template(&mut errors, &template_at, &spec.template);
    scaled::read_only_disks(&mut errors, &template_at, &spec.template);
    always_running(&mut errors, &template_at, &spec.template, "DaemonSet");
    errors.nonnegative_if(SPEC.child("minReadySeconds"), spec.min_ready_seconds);
    let none = DaemonSetUpdateStrategy::default();
    let strategy = spec.update_strategy.as_ref().unwrap_or(&none);
    update_strategy(&mut errors, &SPEC.child("updateStrategy"), strategy);
    errors.nonnegative_if(
        SPEC.child("revisionHistoryLimit"),
        spec.revision_history_limit,
    );
    if let Some(old) = old {
        scaled::selector_unchanged(&mut errors, new, old);
    }
    errors.0
}

fn update_strategy(errors: &mut Errors, at: &Path<'_>, strategy: &DaemonSetUpdateStrategy) {
    let rolling_at = at.child("rollingUpdate");
    match (strategy.type_.given(), &strategy.rolling_update) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(rolling_at, ""),
        ("RollingUpdate", Some(rolling)) => rolling_update(errors, &rolling_at, rolling),
        _ => errors.not_supported(*at, to_value(strategy), &["OnDelete", "RollingUpdate"]),
    }
}

fn rolling_update(errors: &mut Errors, at: &Path<'_>, rolling: &RollingUpdateDaemonSet) {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let (unavailable_at, surge_at) = (at.child("maxUnavailable"), at.child("maxSurge"));
    int_or_percent(errors, unavailable_at, unavailable);
    int_or_percent(errors, surge_at, surge);
    at_most_all(errors, unavailable_at, unavailable);
    at_most_all(errors, surge_at, surge);
    match (is_zero(unavailable), is_zero(surge)) {
        (false, false) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.invalid(surge_at, to_value(surge), detail);
        }
        (true, true) => errors.required(unavailable_at, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::root("status");
    for field in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ] {
        errors.nonnegative(at.child(field), int(new, &format!("/status/{field}")));
    }
    scaled::collisions_only_grow(&mut errors, new, old);
    errors.0
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let count = |field: &str| int(object, &format!("/status/{field}")).into();
    let [names, images] = print::container_cells(object, "/spec/template");
    let nodes = object.pointer("/spec/template/spec/nodeSelector");
    vec![
        table::name(object),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        print::labels(nodes).into(),
        table::age(object, now_unix_ms),
        names,
        images,
        selectors::cell_at(object, "/spec/selector").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn daemon() -> Value {
        let mut object = json!({
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {
                        "nodeSelector": {"disk": "ssd"},
                        "containers": [{"name": "d", "image": "nginx:1"}],
                    },
                },
            },
        });
        default(&mut object);
        object
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        assert_eq!(validate(&daemon(), None), []);
        for (pointer, value, expected) in [
            (
                "/updateStrategy",
                json!({"type": "Odd"}),
                "spec.updateStrategy: Unsupported value: {\"type\":\"Odd\"}: supported values: \
                 \"OnDelete\", \"RollingUpdate\"",
            ),
            (
                "/updateStrategy/rollingUpdate",
                json!(null),
                "spec.updateStrategy.rollingUpdate: Required value",
            ),
            (
                "/updateStrategy/rollingUpdate/maxSurge",
                json!("10%"),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"10%\": may not be set \
                 when maxUnavailable is non-zero",
            ),
            (
                "/updateStrategy/rollingUpdate/maxUnavailable",
                json!(0),
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when \
                 maxSurge is 0",
            ),
            (
                "/selector",
                json!({}),
                "spec.selector: Invalid value: {}: empty selector is invalid for daemonset",
            ),
            (
                "/template/spec/restartPolicy",
                json!("OnFailure"),
                "spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported \
                 values: \"Always\"",
            ),
            (
                "/revisionHistoryLimit",
                json!(-1),
                "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
            ),
        ] {
            let mut object = daemon();
            *object.pointer_mut(&format!("/spec{pointer}")).unwrap() = value;
            assert_eq!(validate(&object, None)[0].to_string(), expected);
        }
    }

    #[test]
    fn templates_are_counted() {
        let mut old = daemon();
        KIND.prepare_create(&mut old);
        let generation = |object: &Value| {
            let annotations = &object["metadata"]["annotations"];
            annotations[TEMPLATE_GENERATION]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(generation(&old), "1");
        let mut new = old.clone();
        new["spec"]["minReadySeconds"] = json!(3);
        KIND.prepare_update(&mut new, &old);
        assert_eq!(generation(&new), "1");
        assert_eq!(new["metadata"]["generation"], 2);
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({});
        new["metadata"]["annotations"] = json!({});
        KIND.prepare_update(&mut new, &old);
        assert_eq!(generation(&new), "2");
    }

    #[test]
    fn the_selector_is_immutable_and_rows_tell_counts() {
        let old = daemon();
        let mut new = daemon();
        new["spec"]["selector"]["matchLabels"] = json!({"app": "d", "x": "y"});
        new["spec"]["template"]["metadata"]["labels"] = json!({"app": "d", "x": "y"});
        assert_eq!(
            validate(&new, Some(&old))[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"d\",\"x\":\"y\"}}: field is \
             immutable"
        );
        new["status"] = json!({"desiredNumberScheduled": 3, "numberReady": 2});
        let cells = row(&new, 0);
        assert_eq!(cells[1..4], [json!(3), json!(0), json!(2)]);
        assert_eq!(cells[6], "disk=ssd");
    }
}
