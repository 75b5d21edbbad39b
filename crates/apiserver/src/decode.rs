//! From a request body to an object of the target's kind: version and kind match, unknown fields are dropped, told
//! or refused, name and namespace agree with the URL.

use kontiki_api::Kind;
use kontiki_api::meta::metadata_mut;
use kontiki_base::status::Status;
use serde_json::{Value, json};

use crate::body::Body;
use crate::options::{FieldValidation, Target};

/// A body that is an object of its kind, without defaults yet.
pub(crate) fn decode(
    kind: &Kind,
    body: Body,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let mut object = body.value;
    if !object.is_object() {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): not a JSON object",
            kind.kind()
        )));
    }
    check_type(kind, &mut object)?;
    let strict = strict_errors(kind, &mut object, &body.duplicates)
        .map_err(|why| cannot_be_handled(kind, &why))?;
    report(strict, validation, warnings).map_err(|why| cannot_be_handled(kind, &why))?;
    Ok(object)
}

/// Drops unknown fields and nulls; answers what a strict decoder would complain about.
pub(crate) fn strict_errors(
    kind: &Kind,
    object: &mut Value,
    duplicates: &[String],
) -> Result<Vec<String>, String> {
    let unknown = kind.check(object)?;
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    let unknown = unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""));
    let duplicates = duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""));
    Ok(unknown.chain(duplicates).collect())
}

/// What admission made of an object of a kind that a user defines is pruned and defaulted as if it had been sent so.
pub(crate) fn recheck(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    if kind.definition().is_some() {
        kind.check(object)
            .map_err(|why| cannot_be_handled(kind, &why))?;
        kind.from_stored(object);
    }
    Ok(())
}

/// Warns of, refuses or ignores what a strict decoder complained about.
pub(crate) fn report(
    strict: Vec<String>,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    match validation {
        FieldValidation::Strict if !strict.is_empty() => {
            return Err(format!("strict decoding error: {}", strict.join(", ")));
        }
        FieldValidation::Warn | FieldValidation::Unsaid => warnings.extend(strict),
        _ => {}
    }
    Ok(())
}

fn cannot_be_handled(kind: &Kind, why: &str) -> Status {
    let (name, version) = (kind.kind(), kind.version());
    let message = format!("{name} in version \"{version}\" cannot be handled as a {name}: {why}");
    Status::bad_request(message)
}

/// Fills in or compares `apiVersion` and `kind`.
pub(crate) fn check_type(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (api_version, name) = (text("apiVersion"), text("kind"));
    if !name.is_empty() && name != kind.kind() {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{name} in version \"{version}\" cannot be handled as a {}: converting ({name}) to ({}): unknown conversion",
            kind.kind(),
            kind.kind()
        )));
    }
    if !api_version.is_empty() && api_version != kind.api_version() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            kind.api_version()
        )));
    }
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind());
    Ok(())
}

/// The namespace of the body is that of the URL, or absent.
pub(crate) fn match_namespace(target: &Target, object: &mut Value) -> Result<(), Status> {
    let metadata = metadata_mut(object);
    let sent = metadata
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !sent.is_empty() && sent != target.namespace {
        let message =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    if target.namespace.is_empty() {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".into(), json!(target.namespace));
    }
    Ok(())
}

/// The name of the body is that of the URL, or absent.
pub(crate) fn match_name(target: &Target, object: &mut Value) -> Result<(), Status> {
    let metadata = metadata_mut(object);
    let sent = metadata
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !sent.is_empty() && sent != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({})",
            target.name
        )));
    }
    metadata.insert("name".into(), json!(target.name));
    Ok(())
}

/// A text field of metadata, empty when absent.
pub(crate) fn meta_text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
