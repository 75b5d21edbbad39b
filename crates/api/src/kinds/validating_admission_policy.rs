//! ValidatingAdmissionPolicy: the kind, its defaults and columns. Rules are in `validating_admission_policy/`.

mod expressions;
mod type_check;
mod validate;

pub use type_check::expression_warnings;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use serde_json::Value;

use crate::admissionspec::defaults;
use crate::kind::{BuiltIn, Column, Hooks, Kind, Subresource};
use crate::meta::StatusMetadata;
use crate::podspec::json::{ensure, into_object, or_pointer, text};
use crate::table;

/// ValidatingAdmissionPolicy.
pub static KIND: Kind = Kind::BuiltIn(&BuiltIn {
    singular: "validatingadmissionpolicy",
    namespaced: false,
    subresources: &[Subresource::Status],
    status_metadata: StatusMetadata::Kept,
    columns: &[
        Column::NAME,
        Column::typed(
            "Validations",
            "integer",
            "Validations indicates the number of validation rules defined in this configuration",
        ),
        Column::text(
            "ParamKind",
            "ParamKind specifies the kind of resources used to parameterize this policy",
        ),
        Column::AGE,
    ],
    counts_generation: true,
    unconditional_update: false,
    hooks: Hooks {
        default: |policy| {
            let spec = ensure(into_object(policy), "spec");
            or_pointer(spec, "failurePolicy", "Fail");
            defaults::match_resources(spec, "matchConstraints");
        },
        validate: validate::validate,
        validate_status: validate::validate_status,
        row,
        ..Hooks::NONE
    },
    ..BuiltIn::of::<ValidatingAdmissionPolicy>()
});

fn row(policy: &Value, now_unix_ms: u64) -> Vec<Value> {
    let param = match policy.pointer("/spec/paramKind") {
        None | Some(Value::Null) => "<unset>".to_owned(),
        Some(param) => format!("{}/{}", text(param, "/apiVersion"), text(param, "/kind")),
    };
    vec![
        table::name(policy),
        table::count(policy, "/spec/validations").into(),
        param.into(),
        table::age(policy, now_unix_ms),
    ]
}
