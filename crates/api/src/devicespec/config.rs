//! Configuration that is for a driver to understand.

use k8s_openapi::api::resource::v1::OpaqueDeviceConfiguration;
use serde_json::Value;

use crate::podspec::names::csi_driver;
use crate::podspec::path::{Errors, Path, to_value};

const MAX_PARAMETERS_BYTES: usize = 10 * 1024;

/// Checks a configuration, `opaque` being the only way of it. A stored one may be longer than is allowed today.
pub fn validate(
    errors: &mut Errors,
    at: &Path<'_>,
    opaque: Option<&OpaqueDeviceConfiguration>,
    is_stored: bool,
) {
    let at = at.child("opaque");
    let Some(opaque) = opaque else {
        return errors.required(at, "");
    };
    csi_driver(errors, at.child("driver"), &opaque.driver);
    let max = (!is_stored).then_some(MAX_PARAMETERS_BYTES);
    raw(
        errors,
        at.child("parameters"),
        &to_value(&opaque.parameters),
        max,
    );
}

/// Checks a JSON object that only others understand.
pub fn raw(errors: &mut Errors, at: Path<'_>, value: &Value, max_bytes: Option<usize>) {
    let too_long = |max: &usize| value.to_string().len() > *max;
    if value.is_null() {
        errors.required(at, "");
    } else if let Some(max) = max_bytes.filter(too_long) {
        errors.too_long(at, max);
    } else if !value.is_object() {
        errors.invalid(at, "<value omitted>", "must be a valid JSON object");
    }
}
