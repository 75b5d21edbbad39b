//! ControllerRevision: a snapshot of a workload's template, never changed once made (upstream `pkg/apis/apps`).

use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{self, Meta, names};
use crate::podspec::json::int;
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::unchanged;
use crate::table;

/// ControllerRevision.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "controllerrevision",
    columns: &[
        Column::NAME,
        Column::text("Controller", "The controller that made the revision."),
        Column::text(
            "Revision",
            "The number of the revision: later ones are larger.",
        ),
        Column::AGE,
    ],
    hooks: Hooks {
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ControllerRevision>()
});

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let data = |object: &Value| object.get("data").cloned().unwrap_or_default();
    if old.is_some() {
        // Upstream looks at an update as at a new object besides.
        (errors.0).extend(meta::validate(new, true, names::subdomain));
    }
    if data(new).is_null() {
        errors.required(Path::root("data"), "data is mandatory");
    }
    errors.nonnegative(Path::root("revision"), int(new, "/revision"));
    if let Some(old) = old {
        unchanged(&mut errors, Path::root("data"), &data(new), &data(old));
    }
    errors.0
}

fn row(object: &Value, now_unix_ms: u64) -> Vec<Value> {
    let owners = Meta::of(object).owners();
    let controller = owners.iter().find(|owner| owner["controller"] == true);
    let controller = controller.map_or("<none>".to_owned(), |owner| {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let group = text("apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group);
        let kind = kontiki_base::status::qualified(group, text("kind"));
        format!("{}/{}", kind.to_lowercase(), text("name"))
    });
    vec![
        table::name(object),
        controller.into(),
        int(object, "/revision").into(),
        table::age(object, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn revision() -> Value {
        json!({
            "metadata": {"name": "web-1", "namespace": "default", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u",
                 "controller": true},
            ]},
            "revision": 1,
            "data": {"spec": {}},
        })
    }

    #[test]
    fn data_is_there_and_stays() {
        let texts = |new: &Value, old: Option<&Value>| -> Vec<String> {
            validate(new, old).iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&revision(), None), [""; 0]);
        assert_eq!(
            texts(&json!({"revision": -1}), None),
            [
                "data: Required value: data is mandatory",
                "revision: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
        let mut new = revision();
        new["revision"] = json!(2);
        assert_eq!(texts(&new, Some(&revision())), [""; 0]);
        new["data"] = json!({"spec": {"a": 1}});
        assert_eq!(
            texts(&new, Some(&revision())),
            ["data: Invalid value: {\"spec\":{\"a\":1}}: field is immutable"]
        );
    }

    #[test]
    fn rows_name_the_controller() {
        assert_eq!(
            row(&revision(), 0)[1..3],
            [json!("statefulset.apps/web"), json!(1)]
        );
        assert_eq!(row(&json!({}), 0)[1], "<none>");
    }
}
