//! Event of `events.k8s.io/v1`: the stored event of the core group under newer names, with stricter rules.

use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

use super::{COLUMNS, HOOKS, at};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Conversion, Hooks, Kind};
use crate::meta::{self, names};
use crate::podspec::json::{int, into_object};
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::unchanged;

/// Event of `events.k8s.io/v1`.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "event",
    short_names: &["ev"],
    columns: COLUMNS,
    selectable: &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ],
    name_rule: names::path_segment,
    create_on_update: true,
    hooks: Hooks { validate, ..HOOKS },
    conversion: Some(Conversion {
        stored: &super::KIND,
        from_stored,
        to_stored,
        fields: &[
            ("regarding.kind", "involvedObject.kind"),
            ("regarding.namespace", "involvedObject.namespace"),
            ("regarding.name", "involvedObject.name"),
            ("regarding.uid", "involvedObject.uid"),
            ("regarding.apiVersion", "involvedObject.apiVersion"),
            (
                "regarding.resourceVersion",
                "involvedObject.resourceVersion",
            ),
            ("regarding.fieldPath", "involvedObject.fieldPath"),
            ("reportingController", "reportingComponent"),
        ],
    }),
    ..BuiltIn::of::<Event>()
});

/// Fields that bear two names: (here, as stored).
const RENAMED: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn from_stored(object: &mut Value) {
    let fields = into_object(object);
    for (here, stored) in RENAMED {
        if let Some(value) = fields.remove(*stored) {
            fields.insert((*here).to_owned(), value);
        }
    }
}

fn to_stored(object: &mut Value) {
    let fields = into_object(object);
    for (here, stored) in RENAMED {
        if let Some(value) = fields.remove(*here) {
            fields.insert((*stored).to_owned(), value);
        }
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors((super::HOOKS.validate)(new, old));
    match old {
        None => created(&mut errors, new),
        Some(old) => updated(&mut errors, new, old),
    }
    errors.0
}

fn created(errors: &mut Errors, new: &Value) {
    (errors.0).extend(meta::validate(new, true, names::subdomain));
    series(errors, new);
    if at(new, "/eventTime").is_empty() {
        errors.required(Path::root("eventTime"), "");
    }
    let kind = at(new, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        let detail = format!("has invalid value: {kind}");
        errors.invalid(Path::root("type"), "", detail);
    }
    for (field, is_set) in [
        ("firstTimestamp", !at(new, "/firstTimestamp").is_empty()),
        ("lastTimestamp", !at(new, "/lastTimestamp").is_empty()),
        ("count", int(new, "/count") != 0),
        (
            "source",
            !at(new, "/source/component").is_empty() || !at(new, "/source/host").is_empty(),
        ),
    ] {
        if is_set {
            errors.invalid(Path::root(field), "", "needs to be unset");
        }
    }
}

/// Only the series and the metadata of a reported event may change.
fn updated(errors: &mut Errors, new: &Value, old: &Value) {
    let part = |object: &Value, field: &str| object.get(field).cloned().unwrap_or_default();
    if part(new, "series") != part(old, "series") {
        series(errors, new);
    }
    for field in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
    ] {
        unchanged(
            errors,
            Path::root(field),
            &part(new, field),
            &part(old, field),
        );
    }
    for (field, stored) in [
        ("reportingController", "reportingComponent"),
        ("reportingInstance", "reportingInstance"),
    ] {
        unchanged(
            errors,
            Path::root(field),
            &part(new, stored),
            &part(old, stored),
        );
    }
}

fn series(errors: &mut Errors, event: &Value) {
    if event.get("series").is_none_or(Value::is_null) {
        return;
    }
    if int(event, "/series/count") < 2 {
        errors.invalid(Path::root("series.count"), "", "should be at least 2");
    }
    if at(event, "/series/lastObservedTime").is_empty() {
        errors.required(Path::root("series.lastObservedTime"), "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "e", "namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
            "reportingController": "example.com/x",
            "reportingInstance": "x-1",
            "action": "Start",
            "reason": "Started",
            "note": "it runs",
            "type": "Normal",
        })
    }

    fn texts(new: &Value, old: Option<&Value>) -> Vec<String> {
        let stored = |object: &Value| {
            let mut object = object.clone();
            KIND.to_stored(&mut object);
            object
        };
        let errors = validate(&stored(new), old.map(stored).as_ref());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_change_on_the_way() {
        let mut object = event();
        KIND.to_stored(&mut object);
        assert_eq!(object["apiVersion"], "v1");
        assert_eq!(object["message"], "it runs");
        assert_eq!(object["involvedObject"]["name"], "p");
        assert_eq!(object["reportingComponent"], "example.com/x");
        KIND.from_stored(&mut object);
        assert_eq!(object, event());
    }

    #[test]
    fn creates_are_checked_strictly() {
        assert_eq!(texts(&event(), None), [""; 0]);
        for (pointer, value, expected) in [
            (
                "/type",
                json!("Odd"),
                "type: Invalid value: \"\": has invalid value: Odd",
            ),
            (
                "/reportingInstance",
                json!(""),
                "reportingInstance: Required value",
            ),
            (
                "/action",
                json!("x".repeat(129)),
                "action: Invalid value: \"\": can have at most 128 characters",
            ),
            (
                "/note",
                json!("x".repeat(1025)),
                "message: Invalid value: \"\": can have at most 1024 characters",
            ),
            (
                "/series",
                json!({"count": 1}),
                "series.count: Invalid value: \"\": should be at least 2",
            ),
            (
                "/deprecatedCount",
                json!(3),
                "count: Invalid value: \"\": needs to be unset",
            ),
            ("/eventTime", json!(null), "eventTime: Required value"),
        ] {
            let mut object = event();
            object[&pointer[1..]] = value;
            assert_eq!(texts(&object, None)[0], expected);
        }
    }

    #[test]
    fn updates_change_the_series_alone() {
        let mut new = event();
        new["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"});
        assert_eq!(texts(&new, Some(&event())), [""; 0]);
        new["note"] = json!("else");
        new["reportingController"] = json!("example.com/y");
        assert_eq!(
            texts(&new, Some(&event())),
            [
                "message: Invalid value: \"else\": field is immutable",
                "reportingController: Invalid value: \"example.com/y\": field is immutable",
            ]
        );
    }
}
