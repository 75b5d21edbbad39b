//! CSIDriver (upstream `ValidateCSIDriver`).

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec};
use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::kind::{BuiltIn, Column, Hooks, Kind};
use crate::podspec::json::{ensure, into_object, list, or_pointer, typed};
use crate::podspec::path::{Errors, Given, to_value};
use crate::podspec::scaled::{SPEC, unchanged};
use crate::table;

const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;
const MIN_PERIOD_SECONDS: i64 = 10;

/// CSIDriver.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "csidriver",
    namespaced: false,
    columns: COLUMNS,
    counts_generation: true,
    unconditional_update: false,
    hooks: Hooks {
        default,
        validate,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<CSIDriver>()
});

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::typed(
        "AttachRequired",
        "boolean",
        "Whether the volume driver requires an attach operation.",
    ),
    Column::typed(
        "PodInfoOnMount",
        "boolean",
        "Whether the volume driver requires additional pod information during mount operations.",
    ),
    Column::typed(
        "StorageCapacity",
        "boolean",
        "Whether pod scheduling considers the storage capacity that the driver reports.",
    ),
    Column::text(
        "TokenRequests",
        "The audiences of the service account tokens that the driver needs.",
    ),
    Column::typed(
        "RequiresRepublish",
        "boolean",
        "Whether NodePublishVolume is called periodically.",
    ),
    Column::text("Modes", "The kinds of volumes that the driver supports."),
    Column::AGE,
];

fn default(driver: &mut Value) {
    let spec = ensure(into_object(driver), "spec");
    or_pointer(spec, "attachRequired", true);
    for field in [
        "podInfoOnMount",
        "storageCapacity",
        "requiresRepublish",
        "seLinuxMount",
    ] {
        or_pointer(spec, field, false);
    }
    or_pointer(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    let modes = spec.get("volumeLifecycleModes").and_then(Value::as_array);
    if modes.is_none_or(Vec::is_empty) {
        spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let spec: CSIDriverSpec = typed(new.get("spec"));
    // The field's name in messages is upstream's, with its slip.
    let attach_at = SPEC.child("attachedRequired");
    for (at, is_set) in [
        (attach_at, spec.attach_required.is_some()),
        (
            SPEC.child("podInfoOnMount"),
            spec.pod_info_on_mount.is_some(),
        ),
        (
            SPEC.child("storageCapacity"),
            spec.storage_capacity.is_some(),
        ),
    ] {
        if !is_set {
            errors.required(at, "");
        }
    }
    errors.one_of_if(
        SPEC.child("fsGroupPolicy"),
        spec.fs_group_policy.as_deref(),
        &["File", "None", "ReadWriteOnceWithFSType"],
    );
    token_requests(&mut errors, &spec);
    let modes_at = SPEC.child("volumeLifecycleModes");
    for mode in spec.volume_lifecycle_modes.given() {
        errors.one_of_if(modes_at, Some(mode), &["Persistent", "Ephemeral"]);
    }
    if spec.se_linux_mount.is_none() {
        errors.required(SPEC.child("seLinuxMount"), "");
    }
    if let Some(seconds) = spec.node_allocatable_update_period_seconds
        && seconds < MIN_PERIOD_SECONDS
    {
        let at = SPEC.child("nodeAllocatableUpdatePeriodSeconds");
        errors.invalid(at, seconds, "must be greater than or equal to 10 seconds");
    }
    if let Some(old) = old {
        let old: CSIDriverSpec = typed(old.get("spec"));
        errors.immutable(attach_at, &spec.attach_required, &old.attach_required);
        unchanged(
            &mut errors,
            modes_at,
            &to_value(&spec.volume_lifecycle_modes),
            &to_value(&old.volume_lifecycle_modes),
        );
    }
    errors.0
}

fn token_requests(errors: &mut Errors, spec: &CSIDriverSpec) {
    let list = SPEC.child("tokenRequests");
    let requests = spec.token_requests.given();
    let mut audiences = BTreeSet::new();
    for (i, request) in requests.iter().enumerate() {
        let at = list.index(i);
        if !audiences.insert(request.audience.as_str()) {
            errors.duplicate(at.child("audience"), request.audience.as_str());
            continue;
        }
        let at = at.child("expirationSeconds");
        match request.expiration_seconds {
            Some(seconds) if seconds < MIN_TOKEN_SECONDS => {
                let detail = "may not specify a duration less than 10 minutes";
                errors.invalid(at, seconds, detail);
            }
            Some(seconds) if seconds > MAX_TOKEN_SECONDS => {
                let detail = "may not specify a duration larger than 2^32 seconds";
                errors.invalid(at, seconds, detail);
            }
            _ => {}
        }
    }
    if let Some(in_secrets) = spec.service_account_token_in_secrets
        && requests.is_empty()
    {
        let at = SPEC.child("serviceAccountTokenInSecrets");
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(at, in_secrets, detail);
    }
}

fn row(driver: &Value, now_unix_ms: u64) -> Vec<Value> {
    let spec = &driver["spec"];
    let flag = |field: &str, otherwise: bool| spec[field].as_bool().unwrap_or(otherwise).into();
    let typed: CSIDriverSpec = typed(driver.get("spec"));
    let tokens = match &typed.token_requests {
        None => "<unset>".to_owned(),
        Some(requests) => {
            let audiences: Vec<&str> = requests.iter().map(|one| one.audience.as_str()).collect();
            audiences.join(",")
        }
    };
    let modes = match list(driver, "/spec/volumeLifecycleModes").is_empty() {
        true => "<none>".to_owned(),
        false => typed.volume_lifecycle_modes.given().join(","),
    };
    vec![
        table::name(driver),
        flag("attachRequired", true),
        flag("podInfoOnMount", false),
        flag("storageCapacity", false),
        tokens.into(),
        flag("requiresRepublish", false),
        modes.into(),
        table::age(driver, now_unix_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_creates, check_updates, created};
    use super::*;

    #[test]
    fn broken_rules_are_told_in_upstreams_words() {
        let driver = json!({"spec": {"tokenRequests": [{"audience": "a"}]}});
        check_creates(
            &KIND,
            &driver,
            &[
                (
                    "/spec/fsGroupPolicy",
                    json!("Some"),
                    "spec.fsGroupPolicy: Unsupported value: \"Some\": supported values: \"File\", \"None\", \
                     \"ReadWriteOnceWithFSType\"",
                ),
                (
                    "/spec/tokenRequests",
                    json!([{"audience": "a"}, {"audience": "a"}]),
                    "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                ),
                (
                    "/spec/tokenRequests/0/expirationSeconds",
                    json!(599),
                    "spec.tokenRequests[0].expirationSeconds: Invalid value: 599: may not specify a duration less \
                     than 10 minutes",
                ),
                (
                    "/spec/volumeLifecycleModes",
                    json!(["Eternal"]),
                    "spec.volumeLifecycleModes: Unsupported value: \"Eternal\": supported values: \"Persistent\", \
                     \"Ephemeral\"",
                ),
                (
                    "/spec/nodeAllocatableUpdatePeriodSeconds",
                    json!(9),
                    "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 \
                     seconds",
                ),
            ],
        );
        check_updates(
            &KIND,
            &driver,
            &[
                (
                    "/spec/attachRequired",
                    json!(false),
                    "spec.attachedRequired: Invalid value: false: field is immutable",
                ),
                (
                    "/spec/volumeLifecycleModes",
                    json!(["Ephemeral"]),
                    "spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable",
                ),
                ("/spec/podInfoOnMount", json!(true), ""),
            ],
        );
    }

    #[test]
    fn rows_show_flags() {
        let driver = json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b"}]}});
        let driver = created(&KIND, &driver);
        assert_eq!(
            row(&driver, 0)[1..7],
            [
                json!(true),
                json!(false),
                json!(false),
                json!("a,b"),
                json!(false),
                json!("Persistent")
            ]
        );
    }
}
