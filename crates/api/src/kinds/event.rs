//! Event (upstream `pkg/registry/core/event`). The core group's version is stored; that of `events.k8s.io` is made of
//! it in `event/events_v1.rs`.

pub mod events_v1;

use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{Meta, names};
use crate::{table, time};

const REPORTER_BYTES: usize = 128;
const REASON_BYTES: usize = 128;
const NOTE_BYTES: usize = 1024;

/// Event.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "event",
    short_names: &["ev"],
    columns: COLUMNS,
    selectable: SELECTABLE,
    name_rule: names::path_segment,
    create_on_update: true,
    hooks: HOOKS,
    ..BuiltIn::of::<Event>()
});

const SELECTABLE: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

const HOOKS: Hooks = Hooks {
    validate,
    row,
    fields,
    ..Hooks::NONE
};

const COLUMNS: &[Column] = &[
    Column::text(
        "Last Seen",
        "The time at which the most recent occurrence was recorded.",
    ),
    Column::text("Type", "Type of this event (Normal, Warning)."),
    Column::text(
        "Reason",
        "The reason for the transition into the object's current status.",
    ),
    Column::text("Object", "The object that this event is about."),
    Column::text(
        "Subobject",
        "The part of the object that this event is about.",
    )
    .wide(),
    Column::text("Source", "The component reporting this event.").wide(),
    Column::text("Message", "A human-readable description of the status."),
    Column::text(
        "First Seen",
        "The time at which the event was first recorded.",
    )
    .wide(),
    Column::text("Count", "The number of times this event has occurred.").wide(),
    Column::NAME.wide(),
];

fn at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What all events must say, whatever version they come in (upstream's `legacyValidateEvent`).
fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let namespace = Meta::of(new).namespace();
    let about = at(new, "/involvedObject/namespace");
    let has_time = !at(new, "/eventTime").is_empty();
    let agrees = match (about, has_time) {
        ("", false) => matches!(namespace, "" | "default"),
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (about, false) => namespace == about,
        (_, true) => true,
    };
    if !agrees {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            about,
            detail,
        ));
    }
    if has_time {
        errors.extend(validate_reported(new));
    }
    let messages = names::dns1123_subdomain(namespace);
    errors.extend(FieldError::invalid_each("namespace", namespace, messages));
    errors
}

/// What events of the newer style (with `eventTime`) must say.
fn validate_reported(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    // Upstream tells of the reporter under its newer name.
    let reporter = at(event, "/reportingComponent");
    if reporter.is_empty() {
        errors.push(FieldError::required("reportingController", ""));
    }
    let messages = names::qualified_name(reporter);
    errors.extend(FieldError::invalid_each(
        "reportingController",
        reporter,
        messages,
    ));
    for (field, max_bytes) in [
        ("reportingInstance", REPORTER_BYTES),
        ("action", REASON_BYTES),
        ("reason", REASON_BYTES),
        ("message", NOTE_BYTES),
    ] {
        let text = at(event, &format!("/{field}"));
        if text.is_empty() && field != "message" {
            errors.push(FieldError::required(field, ""));
        }
        if text.len() > max_bytes {
            let detail = format!("can have at most {max_bytes} characters");
            errors.push(FieldError::invalid(field, "", detail));
        }
    }
    errors
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let age = |pointers: &[&str]| {
        let mut set = pointers
            .iter()
            .filter_map(|pointer| object.pointer(pointer));
        let set = set.find(|time| !time.is_null());
        time::age(set, now_unix_ms)
    };
    let first = ["/firstTimestamp", "/eventTime"];
    let last = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/firstTimestamp",
        "/eventTime",
    ];
    let count = object
        .pointer("/series/count")
        .or_else(|| object.get("count"));
    let count = count
        .and_then(Value::as_i64)
        .filter(|count| *count != 0)
        .unwrap_or(1);
    let kind = at(object, "/involvedObject/kind").to_lowercase();
    let target = match at(object, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        age(&last).into(),
        at(object, "/type").into(),
        at(object, "/reason").into(),
        target.into(),
        at(object, "/involvedObject/fieldPath").into(),
        source(object).into(),
        at(object, "/message").trim().into(),
        age(&first).into(),
        count.into(),
        table::name(object),
    ]
}

fn source(object: &Value) -> String {
    let either = |old: &str, new: &str| match at(object, old) {
        "" => at(object, new).to_owned(),
        text => text.to_owned(),
    };
    let component = either("/source/component", "/reportingComponent");
    match either("/source/host", "/reportingInstance") {
        instance if instance.is_empty() => component,
        instance => format!("{component}, {instance}"),
    }
}

fn fields(object: &Value) -> Vec<(&'static str, String)> {
    let value = |field: &&'static str| {
        let text = match *field {
            "source" => match at(object, "/source/component") {
                "" => at(object, "/reportingComponent"),
                component => component,
            },
            field => at(object, &format!("/{}", field.replace('.', "/"))),
        };
        (*field, text.to_owned())
    };
    SELECTABLE.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_read_old_and_new_events() {
        let old = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started",
            "message": " ok ", "count": 3, "lastTimestamp": "1970-01-01T00:00:30Z",
            "firstTimestamp": "1970-01-01T00:00:00Z", "source": {"component": "a", "host": "h"},
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"}});
        assert_eq!(
            row(&old, 60_000),
            [
                json!("30s"),
                json!("Normal"),
                json!("Started"),
                json!("pod/p"),
                json!("f"),
                json!("a, h"),
                json!("ok"),
                json!("60s"),
                json!(3),
                json!("e"),
            ]
        );
        let new = json!({"eventTime": "1970-01-01T00:00:10.000000Z",
            "series": {"count": 7, "lastObservedTime": "1970-01-01T00:00:50.000000Z"}});
        let cells = row(&new, 60_000);
        assert_eq!(
            (&cells[0], &cells[7], &cells[8]),
            (&json!("10s"), &json!("50s"), &json!(7))
        );
    }

    #[test]
    fn namespaces_agree() {
        let event = json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b"}});
        assert_eq!(
            validate(&event, None)[0].to_string(),
            "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"
        );
        let event = json!({"metadata": {"namespace": "default"}, "involvedObject": {}});
        assert!(validate(&event, None).is_empty());
    }

    #[test]
    fn fields_select_by_object_and_source() {
        let event = json!({"reportingComponent": "r", "involvedObject": {"name": "p"}});
        let fields = fields(&event);
        assert!(fields.contains(&("involvedObject.name", "p".into())));
        assert!(fields.contains(&("source", "r".into())));
    }
}
