//! LimitRange: defaults, rules and columns (upstream `ValidateLimitRange`).
//!
//! Not here: what it does to pods and claims, which is admission's.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::Meta;
use crate::podspec::json::{each, ensure, into_object, typed};
use crate::podspec::names;
use crate::podspec::path::{Errors, Path};
use crate::podspec::resources::{self, parse};
use crate::podspec::scaled::SPEC;
use crate::quantity::Quantity;
use crate::table;

type Amounts = BTreeMap<String, Text>;

/// LimitRange.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "limitrange",
    short_names: &["limits"],
    columns: &[
        Column::NAME,
        Column::text("Created At", "When the object was created."),
    ],
    create_on_update: true,
    hooks: Hooks {
        default,
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<LimitRange>()
});

/// Containers' default limits come from the maxima, default requests from those or from the minima.
fn default(object: &mut Value) {
    let spec = ensure(into_object(object), "spec");
    for item in each(spec, "limits") {
        if item.get("type").is_none_or(|kind| kind != "Container") {
            continue;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let amounts = item.get(from).and_then(Value::as_object).cloned();
            let target = ensure(item, to);
            for (name, amount) in amounts.into_iter().flatten() {
                target.entry(name).or_insert(amount);
            }
        }
        for field in ["default", "defaultRequest"] {
            if ensure(item, field).is_empty() {
                item.remove(field);
            }
        }
    }
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: LimitRangeSpec = typed(new.get("spec"));
    let list = SPEC.child("limits");
    let mut seen = BTreeSet::new();
    for (i, item) in spec.limits.iter().enumerate() {
        let at = list.index(i);
        type_name(&mut errors, at.child("type"), &item.type_);
        if !seen.insert(item.type_.as_str()) {
            errors.duplicate(at.child("type"), item.type_.as_str());
        }
        names_of(&mut errors, &at, item);
        amounts(&mut errors, &at, item);
    }
    errors.0
}

fn type_name(errors: &mut Errors, at: Path<'_>, name: &str) {
    let malformed = names::qualified_name(name);
    if !malformed.is_empty() {
        errors.invalid_each(at, name, malformed);
    } else if !name.contains('/') && !matches!(name, "Pod" | "Container" | "PersistentVolumeClaim")
    {
        let detail = "must be a standard limit type or fully qualified";
        errors.invalid(at, name, detail);
    }
}

fn names_of(errors: &mut Errors, at: &Path<'_>, item: &LimitRangeItem) {
    let is_pod = item.type_ == "Pod";
    let of_containers = matches!(item.type_.as_str(), "Pod" | "Container");
    for (field, amounts) in [
        ("max", &item.max),
        ("min", &item.min),
        ("default", &item.default),
        ("defaultRequest", &item.default_request),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ] {
        let at = at.child(field);
        let names = amounts.iter().flatten().map(|(name, _)| name);
        if is_pod && field.starts_with("default") {
            if names.count() > 0 {
                errors.forbidden(at, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for name in names {
            if of_containers {
                resources::container_name(errors, at.key(name), name);
            } else {
                resources::name(errors, at.key(name), name);
            }
        }
    }
    let limits_storage = |amounts: &Option<Amounts>| {
        (amounts.as_ref()).is_some_and(|amounts| amounts.contains_key("storage"))
    };
    if item.type_ == "PersistentVolumeClaim"
        && !limits_storage(&item.min)
        && !limits_storage(&item.max)
    {
        let detail =
            "either minimum or maximum storage value is required, but neither was provided";
        errors.required(at.child("limits"), detail);
    }
}

/// One resource's amounts in an item.
struct Bounds {
    min: Option<Quantity>,
    max: Option<Quantity>,
    limit: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

fn amounts(errors: &mut Errors, at: &Path<'_>, item: &LimitRangeItem) {
    let lists = [
        &item.max,
        &item.min,
        &item.default,
        &item.default_request,
        &item.max_limit_request_ratio,
    ];
    let names: BTreeSet<&String> = lists
        .into_iter()
        .flatten()
        .flat_map(BTreeMap::keys)
        .collect();
    let is_pod = item.type_ == "Pod";
    for name in names {
        let get = |amounts: &Option<Amounts>| parse(amounts.as_ref()?.get(name)?);
        let bounds = Bounds {
            min: get(&item.min),
            max: get(&item.max),
            limit: get(&item.default).filter(|_| !is_pod),
            request: get(&item.default_request).filter(|_| !is_pod),
            ratio: get(&item.max_limit_request_ratio),
        };
        in_order(errors, at, name, &bounds);
        ratio(errors, at, name, &bounds);
        if !resources::may_overcommit(name)
            && let (Some(limit), Some(request)) = (&bounds.limit, &bounds.request)
            && limit != request
        {
            let detail = format!(
                "default value {limit} must equal to defaultRequest value {request} in {name}"
            );
            let at = at.child("defaultRequest");
            errors.invalid(at.key(name), request.to_string(), detail);
        }
    }
}

/// `min <= defaultRequest <= default <= max`.
fn in_order(errors: &mut Errors, at: &Path<'_>, name: &str, bounds: &Bounds) {
    let Bounds {
        min,
        max,
        limit,
        request,
        ..
    } = bounds;
    // Smaller, larger, which of the two the message shows, where, and their names.
    for (low, high, shows_low, field, low_name, high_name) in [
        (min, max, true, "min", "min", "max"),
        (
            min,
            request,
            false,
            "defaultRequest",
            "min",
            "default request",
        ),
        (
            request,
            max,
            true,
            "defaultRequest",
            "default request",
            "max",
        ),
        (
            request,
            limit,
            true,
            "defaultRequest",
            "default request",
            "default limit",
        ),
        (min, limit, true, "default", "min", "default"),
        (limit, max, false, "default", "default", "max"),
    ] {
        let (Some(low), Some(high)) = (low, high) else {
            continue;
        };
        if low > high {
            let shown = if shows_low { low } else { high };
            let detail = format!("{low_name} value {low} is greater than {high_name} value {high}");
            errors.invalid(at.child(field).key(name), shown.to_string(), detail);
        }
    }
}

fn ratio(errors: &mut Errors, at: &Path<'_>, name: &str, bounds: &Bounds) {
    let Some(ratio) = &bounds.ratio else { return };
    let at = at.child("maxLimitRequestRatio");
    let at = at.key(name);
    if number(*ratio) < 1.0 {
        let detail = format!("ratio {ratio} is less than 1");
        errors.invalid(at, ratio.to_string(), detail);
    }
    if let (Some(min), Some(max)) = (&bounds.min, &bounds.max) {
        let most = number(*max) / number(*min);
        if number(*ratio) > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.invalid(at, ratio.to_string(), detail);
        }
    }
}

fn number(amount: Quantity) -> f64 {
    amount.milli_value() as f64 / 1000.0
}

fn row(object: &Value, _: u64) -> Vec<Value> {
    let created = Meta::of(object).creation_timestamp();
    vec![table::name(object), created.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn container_defaults_follow_from_bounds() {
        let mut object = json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Gi"}},
            {"type": "Pod", "max": {"cpu": "2"}},
        ]}});
        default(&mut object);
        let limits = &object["spec"]["limits"];
        assert_eq!(limits[0]["default"], json!({"cpu": "2"}));
        assert_eq!(
            limits[0]["defaultRequest"],
            json!({"cpu": "2", "memory": "1Gi"})
        );
        assert_eq!(limits[1].get("default"), None);
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        for (item, expected) in [
            (
                json!({"type": "Node"}),
                "spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or \
                 fully qualified",
            ),
            (
                json!({"type": "Pod", "default": {"cpu": "1"}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({"type": "Container", "max": {"storage": "1"}}),
                "spec.limits[0].max[storage]: Invalid value: \"storage\": must be a standard \
                 resource for containers",
            ),
            (
                json!({"type": "PersistentVolumeClaim"}),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is \
                 required, but neither was provided",
            ),
            (
                json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max \
                 value 1",
            ),
            (
                json!({"type": "Container", "default": {"cpu": "3"}, "max": {"cpu": "1"}}),
                "spec.limits[0].default[cpu]: Invalid value: \"1\": default value 3 is greater than \
                 max value 1",
            ),
            (
                json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}}),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 \
                 is greater than default limit value 1",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is \
                 less than 1",
            ),
            (
                json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"},
                    "maxLimitRequestRatio": {"cpu": "3"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater \
                 than max/min = 2.000000",
            ),
        ] {
            let errors = validate(&json!({"spec": {"limits": [item]}}), None);
            assert_eq!(errors[0].to_string(), expected);
        }
        let twice = json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}});
        assert_eq!(
            validate(&twice, None)[0].to_string(),
            "spec.limits[1].type: Duplicate value: \"Pod\""
        );
    }

    #[test]
    fn rows_tell_when_it_was_made() {
        let object =
            json!({"metadata": {"name": "l", "creationTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(row(&object, 0), [json!("l"), json!("2026-01-01T00:00:00Z")]);
    }
}
