//! PriorityClass (upstream `ValidatePriorityClass`, plugin `Priority`), and the two classes that always exist.

use std::sync::Arc;

use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::admission::{Admission, Denied, Objects};
use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::meta::{Meta, metadata_mut};
use crate::podspec::json::{int, into_object, or_pointer, text};
use crate::podspec::path::{Errors, Path};
use crate::podspec::scaled::unchanged;
use crate::table;

/// The resource of classes.
pub const RESOURCE: &str = "priorityclasses.scheduling.k8s.io";
/// Names that begin so are the system's.
const SYSTEM_PREFIX: &str = "system-";
/// The highest value that a class of a user may have.
const HIGHEST_USER_VALUE: i64 = 1_000_000_000;

/// The classes that always exist: name, value, description.
pub const SYSTEM_CLASSES: [(&str, i32, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// PriorityClass.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "priorityclass",
    short_names: &["pc"],
    namespaced: false,
    columns: &[
        Column::NAME,
        Column::typed(
            "Value",
            "integer",
            "value represents the integer value of this priority class. This is the actual priority that pods receive \
             when they have the name of this class in their pod spec.",
        ),
        Column::typed(
            "Global-Default",
            "boolean",
            "globalDefault specifies whether this PriorityClass should be considered as the default priority for pods \
             that do not have any priority class.",
        ),
        Column::AGE,
        Column::text(
            "PreemptionPolicy",
            "preemptionPolicy is the Policy for preempting pods with lower priority. One of Never, \
             PreemptLowerPriority. Defaults to PreemptLowerPriority if unset.",
        ),
    ],
    hooks: Hooks {
        default: |class| {
            or_pointer(
                into_object(class),
                "preemptionPolicy",
                "PreemptLowerPriority",
            )
        },
        admit,
        admit_delete,
        // The generation says that there is one, and stays.
        prepare_create: |class| {
            metadata_mut(class).insert("generation".to_owned(), 1.into());
        },
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<PriorityClass>()
});

fn is_default(class: &Value) -> bool {
    class["globalDefault"] == true
}

/// The class of pods that name none; of several the one with the lowest value.
pub(super) fn default_class(objects: &dyn Objects) -> Option<Arc<Value>> {
    let classes = objects.list(RESOURCE).into_iter();
    let defaults = classes.filter(|class| is_default(class));
    defaults.min_by_key(|class| int(class, "/value"))
}

/// The class of that name. The system's are known before they are stored.
pub(super) fn class(objects: &dyn Objects, name: &str) -> Option<Arc<Value>> {
    objects.get(RESOURCE, "", name).or_else(|| {
        let (_, value, _) = SYSTEM_CLASSES.iter().find(|(known, ..)| *known == name)?;
        let class = serde_json::json!({
            "metadata": {"name": name}, "value": value, "preemptionPolicy": "PreemptLowerPriority",
        });
        Some(Arc::new(class))
    })
}

fn admit(new: &mut Value, old: Option<&Value>, admission: &Admission<'_>) -> Result<(), Denied> {
    if !is_default(new) {
        return Ok(());
    }
    match default_class(admission.objects) {
        Some(other) if old.is_none() || Meta::of(&other).name() != Meta::of(new).name() => {
            Err(Denied(format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                Meta::of(&other).name()
            )))
        }
        _ => Ok(()),
    }
}

fn admit_delete(class: &Value) -> Result<(), Denied> {
    let name = Meta::of(class).name();
    match SYSTEM_CLASSES.iter().any(|(known, ..)| *known == name) {
        true => Err(Denied(
            "this is a system priority class and cannot be deleted".to_owned(),
        )),
        false => Ok(()),
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let (value_at, policy_at) = (Path::root("value"), Path::root("preemptionPolicy"));
    if let Some(old) = old {
        if int(new, "/value") != int(old, "/value") {
            errors.forbidden(value_at, "may not be changed in an update.");
        }
        let policy = |class: &Value| class["preemptionPolicy"].clone();
        unchanged(&mut errors, policy_at, &policy(new), &policy(old));
        return errors.0;
    }
    if Meta::of(new).name().starts_with(SYSTEM_PREFIX) {
        if let Err(why) = is_known_system_class(new) {
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {why}"
            );
            errors.forbidden(Path::root("metadata.name"), detail);
        }
    } else if int(new, "/value") > HIGHEST_USER_VALUE {
        let detail =
            format!("maximum allowed value of a user defined priority is {HIGHEST_USER_VALUE}");
        errors.forbidden(value_at, detail);
    }
    match new.get("preemptionPolicy").and_then(Value::as_str) {
        Some("") => errors.required(policy_at, ""),
        policy => errors.one_of_if(policy_at, policy, &["PreemptLowerPriority", "Never"]),
    }
    errors.0
}

fn is_known_system_class(class: &Value) -> Result<(), String> {
    let name = Meta::of(class).name();
    let Some((_, value, _)) = SYSTEM_CLASSES.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if int(class, "/value") != i64::from(*value) {
        return Err(format!("value of {name} PriorityClass must be {value}"));
    }
    match is_default(class) {
        true => Err(format!(
            "globalDefault of {name} PriorityClass must be false"
        )),
        false => Ok(()),
    }
}

fn row(class: &Value, now_unix_ms: u64) -> Vec<Value> {
    vec![
        table::name(class),
        int(class, "/value").into(),
        is_default(class).into(),
        table::age(class, now_unix_ms),
        text(class, "/preemptionPolicy").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;
    use crate::admission::testing::Given;
    use serde_json::json;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let class = json!({"value": 1000});
        check_creates(
            &KIND,
            &class,
            &[
                (
                    "/value",
                    json!(1_000_000_001),
                    "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
                ),
                (
                    "/metadata",
                    json!({"name": "system-mine"}),
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use \
                     only. error: system-mine is not a known system priority class",
                ),
                (
                    "/metadata",
                    json!({"name": "system-node-critical"}),
                    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use \
                     only. error: value of system-node-critical PriorityClass must be 2000001000",
                ),
                (
                    "/preemptionPolicy",
                    json!("Maybe"),
                    "preemptionPolicy: Unsupported value: \"Maybe\": supported values: \"PreemptLowerPriority\", \
                     \"Never\"",
                ),
            ],
        );
        check_updates(
            &KIND,
            &class,
            &[
                (
                    "/value",
                    json!(1),
                    "value: Forbidden: may not be changed in an update.",
                ),
                (
                    "/preemptionPolicy",
                    json!("Never"),
                    "preemptionPolicy: Invalid value: \"Never\": field is immutable",
                ),
                ("/description", json!("x"), ""),
            ],
        );
    }

    #[test]
    fn one_class_is_the_default_and_the_systems_own_stay() {
        let default = json!({"metadata": {"name": "a"}, "value": 1, "globalDefault": true});
        let objects = Given::new(vec![(RESOURCE, vec![default.clone()])]);
        let mut second = json!({"metadata": {"name": "b"}, "value": 2, "globalDefault": true});
        let why = "PriorityClass a is already marked as default. Only one default can exist";
        let denied = admit(&mut second, None, &objects.admission());
        assert_eq!(denied, Err(Denied(why.to_owned())));
        let mut same = default.clone();
        assert!(admit(&mut same, Some(&default), &objects.admission()).is_ok());
        assert!(admit_delete(&default).is_ok());
        let system = json!({"metadata": {"name": "system-node-critical"}});
        assert!(admit_delete(&system).is_err());
    }

    #[test]
    fn rows_and_generations() {
        let class = created(&KIND, &json!({"value": 7}));
        assert_eq!(class["metadata"]["generation"], 1);
        let cells = row(&class, 0);
        assert_eq!(cells[1..3], [json!(7), json!(false)]);
        assert_eq!(cells[4], "PreemptLowerPriority");
    }
}
