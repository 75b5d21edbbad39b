//! PriorityLevelConfiguration (upstream `ValidatePriorityLevelConfiguration`).

use k8s_openapi::api::flowcontrol::v1::{
    LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::Value;

use super::flow_schema::{conditions, validate_status};
use crate::field_error::FieldError;
use crate::flowcontrol::{self, EXEMPT};
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::{Meta, StatusMetadata};
use crate::podspec::json::{child, ensure, into_object, or_pointer, or_zero, same, text, typed};
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::SPEC;
use crate::table;

const MAX_QUEUES: i32 = 10_000_000;
/// Bits of the hash from which hands are dealt.
const MAX_HASH_BITS: f64 = 60.0;

/// PriorityLevelConfiguration.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "prioritylevelconfiguration",
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column::text(
            "Type",
            "`type` indicates whether this priority level is subject to limitation on request execution.",
        ),
        Column::text(
            "NominalConcurrencyShares",
            "The number of execution seats nominally reserved for this priority level, as shares.",
        ),
        Column::text(
            "Queues",
            "`queues` is the number of queues for this priority level.",
        ),
        Column::text(
            "HandSize",
            "`handSize` is a small positive number that configures the shuffle sharding of requests into queues.",
        ),
        Column::text(
            "QueueLengthLimit",
            "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue of this \
             priority level at a time; excess requests are rejected.",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    hooks: Hooks {
        default,
        validate,
        validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<PriorityLevelConfiguration>()
});

fn default(level: &mut Value) {
    let spec = ensure(into_object(level), "spec");
    if spec.get("type").and_then(Value::as_str) == Some("Exempt") {
        ensure(spec, "exempt");
    }
    if let Some(exempt) = child(spec, "exempt") {
        or_pointer(exempt, "nominalConcurrencyShares", 0);
        or_pointer(exempt, "lendablePercent", 0);
    }
    let Some(limited) = child(spec, "limited") else {
        return;
    };
    or_pointer(limited, "nominalConcurrencyShares", 30);
    or_pointer(limited, "lendablePercent", 0);
    let response = child(limited, "limitResponse");
    if let Some(queuing) = response.and_then(|response| child(response, "queuing")) {
        or_zero(queuing, "handSize", 8);
        or_zero(queuing, "queues", 64);
        or_zero(queuing, "queueLengthLimit", 50);
    }
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let name = Meta::of(new).name();
    let spec: PriorityLevelConfigurationSpec = typed(new.get("spec"));
    let kind = spec.type_.as_str();
    if (name == EXEMPT) != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.invalid(SPEC.child("type"), kind, detail);
    }
    let (exempt_at, limited_at) = (SPEC.child("exempt"), SPEC.child("limited"));
    match kind {
        "Exempt" => {
            if spec.limited.is_some() {
                errors.forbidden(limited_at, "must be nil if the type is not Limited");
            }
            match &spec.exempt {
                None => errors.required(exempt_at, "must not be empty when type is Exempt"),
                Some(exempt) => {
                    shares(&mut errors, &exempt_at, exempt.nominal_concurrency_shares);
                    percent(&mut errors, &exempt_at, exempt.lendable_percent);
                }
            }
        }
        "Limited" => {
            if spec.exempt.is_some() {
                errors.forbidden(exempt_at, "must be nil if the type is Limited");
            }
            match &spec.limited {
                None => errors.required(limited_at, "must not be empty when type is Limited"),
                Some(found) => limited(&mut errors, &limited_at, found),
            }
        }
        other => errors.not_supported(SPEC.child("type"), other, &["Exempt", "Limited"]),
    }
    fixed(&mut errors, name, new);
    conditions(&mut errors, new);
    errors.0
}

/// The two levels that always exist are as they are; shares of the exempt one may be chosen.
fn fixed(errors: &mut Errors, name: &str, new: &Value) {
    let Some(fixed) = flowcontrol::mandatory_priority_level(name) else {
        return;
    };
    let mut given = new["spec"].clone();
    let mut detail = format!("spec of '{name}' must equal the fixed value");
    if name == EXEMPT {
        given["exempt"] = fixed["exempt"].clone();
        detail =
            format!("spec of '{name}' except the 'spec.exempt' field must equal the fixed value");
    }
    if !same(&given, &fixed) {
        errors.invalid(SPEC, new["spec"].clone(), detail);
    }
}

fn shares(errors: &mut Errors, at: &Path<'_>, shares: Option<i32>) {
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        let at = at.child("nominalConcurrencyShares");
        errors.invalid(at, shares, "must be a non-negative integer");
    }
}

fn percent(errors: &mut Errors, at: &Path<'_>, percent: Option<i32>) {
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        let at = at.child("lendablePercent");
        errors.invalid(at, percent, "must be between 0 and 100, inclusive");
    }
}

fn limited(errors: &mut Errors, at: &Path<'_>, limited: &LimitedPriorityLevelConfiguration) {
    shares(errors, at, limited.nominal_concurrency_shares);
    let response = limited.limit_response.clone().unwrap_or_default();
    limit_response(errors, &at.child("limitResponse"), &response);
    percent(errors, at, limited.lendable_percent);
    if let Some(percent) = limited
        .borrowing_limit_percent
        .filter(|percent| *percent < 0)
    {
        let detail = "if specified, must be a non-negative integer";
        errors.invalid(at.child("borrowingLimitPercent"), percent, detail);
    }
}

fn limit_response(errors: &mut Errors, at: &Path<'_>, response: &LimitResponse) {
    let queuing_at = at.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.forbidden(queuing_at, detail);
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.required(queuing_at, detail);
        }
        ("Queue", Some(found)) => queuing(errors, &queuing_at, found),
        (other, _) => errors.not_supported(at.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queuing(errors: &mut Errors, at: &Path<'_>, queuing: &QueuingConfiguration) {
    const POSITIVE: &str = "must be positive";
    let length = queuing.queue_length_limit.unwrap_or_default();
    if length <= 0 {
        errors.invalid(at.child("queueLengthLimit"), length, POSITIVE);
    }
    let queues = queuing.queues.unwrap_or_default();
    if queues <= 0 {
        errors.invalid(at.child("queues"), queues, POSITIVE);
    } else if queues > MAX_QUEUES {
        let detail = format!("must not be greater than {MAX_QUEUES}");
        errors.invalid(at.child("queues"), queues, detail);
    }
    let hand = queuing.hand_size.unwrap_or_default();
    let hand_at = at.child("handSize");
    let entropy_bits = (f64::from(queues.max(1)).log2() * f64::from(hand)).ceil();
    if hand <= 0 {
        errors.invalid(hand_at, hand, POSITIVE);
    } else if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        errors.invalid(hand_at, hand, detail);
    } else if entropy_bits > MAX_HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        errors.invalid(hand_at, hand, detail);
    }
}

fn row(level: &Value, now_unix_ms: u64) -> Vec<Value> {
    let limited = &level["spec"]["limited"];
    let queuing = &limited["limitResponse"]["queuing"];
    let number = |value: &Value| match value {
        Value::Null => "<none>".into(),
        number => number.clone(),
    };
    vec![
        table::name(level),
        text(level, "/spec/type").into(),
        number(&limited["nominalConcurrencyShares"]),
        number(&queuing["queues"]),
        number(&queuing["handSize"]),
        number(&queuing["queueLengthLimit"]),
        table::age(level, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, created};
    use super::*;
    use serde_json::json;

    fn level() -> Value {
        json!({"spec": {"type": "Limited", "limited": {
            "limitResponse": {"type": "Queue", "queuing": {}},
        }}})
    }

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        const QUEUING: &str = "/spec/limited/limitResponse/queuing";
        check_creates(
            &KIND,
            &level(),
            &[
                (
                    "/spec/type",
                    json!("Exempt"),
                    "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
                ),
                (
                    "/spec/type",
                    json!("Wild"),
                    "spec.type: Unsupported value: \"Wild\": supported values: \"Exempt\", \"Limited\"",
                ),
                (
                    "/spec/limited",
                    Value::Null,
                    "spec.limited: Required value: must not be empty when type is Limited",
                ),
                (
                    "/spec/limited/nominalConcurrencyShares",
                    json!(-1),
                    "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                ),
                (
                    "/spec/limited/lendablePercent",
                    json!(101),
                    "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                ),
                (
                    "/spec/limited/limitResponse/type",
                    json!("Reject"),
                    "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not \
                     Limited",
                ),
                (
                    &format!("{QUEUING}/queues"),
                    json!(7),
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues \
                     (7)",
                ),
                (
                    &format!("{QUEUING}/handSize"),
                    json!(11),
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 11: required entropy bits of deckSize \
                     64 and handSize 11 should not be greater than 60",
                ),
            ],
        );
    }

    #[test]
    fn the_mandatory_levels_are_fixed() {
        let mut exempt = created(
            &KIND,
            &json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}}),
        );
        assert_eq!(KIND.validate(&exempt, None), []);
        exempt["spec"]["exempt"]["lendablePercent"] = json!(50);
        assert_eq!(KIND.validate(&exempt, None), []);
        let mut other = level();
        other["metadata"] = json!({"name": "catch-all"});
        let errors = KIND.validate(&created(&KIND, &other), None);
        let text = errors[0].to_string();
        assert!(
            text.ends_with("spec of 'catch-all' must equal the fixed value"),
            "{text}"
        );
    }

    #[test]
    fn rows_show_limits() {
        let level = created(&KIND, &level());
        assert_eq!(
            row(&level, 0)[1..6],
            [json!("Limited"), json!(30), json!(64), json!(8), json!(50)]
        );
        let exempt = json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}});
        assert_eq!(row(&exempt, 0)[2], "<none>");
    }
}
