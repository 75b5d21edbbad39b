//! JSON patch (RFC 6902), one operation at a time so that a small patch cannot grow a document without bound.

use json_patch::{Patch, PatchOperation};
use kontiki_base::limits;
use kontiki_base::status::{Reason, Status};
use serde_json::Value;

/// Applies `patch` to `document`; all or nothing is the caller's, who drops the document on an error.
pub(crate) fn apply(document: &mut Value, patch: &Value) -> Result<(), Status> {
    let n_ops = patch.as_array().map_or(0, Vec::len);
    if n_ops > limits::PATCH_OPS {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {}, got {n_ops}",
            limits::PATCH_OPS
        );
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    let Patch(ops) = serde_json::from_value(patch.clone())
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut copied_bytes = 0;
    for op in &ops {
        if let PatchOperation::Copy(copy) = op {
            copied_bytes += document.pointer(copy.from.as_str()).map_or(0, size_bytes);
            if copied_bytes > limits::REQUEST_BYTES {
                let message = format!(
                    "Unable to complete the copy, the accumulated size increase of copy is \
                     {copied_bytes}, exceeding the limit {}",
                    limits::REQUEST_BYTES
                );
                return Err(Status::new(Reason::RequestEntityTooLarge, message));
            }
        }
        if let PatchOperation::Test(test) = op
            && test.value.is_null()
            && is_absent(document, test.path.as_str())
        {
            continue;
        }
        json_patch::patch_unsafe(document, std::slice::from_ref(op)).map_err(|_| {
            let message = "the server rejected our request due to an error in our request";
            Status::new(Reason::Invalid, message)
        })?;
    }
    Ok(())
}

/// Whether an object is there but not this field of it. The patch library of upstream lets a test of such a field against
/// null pass, and clients rely on it: kube-rs adds its finalizer so.
fn is_absent(document: &Value, path: &str) -> bool {
    let Some((parent, _)) = path.rsplit_once('/') else {
        return false;
    };
    let parent = document.pointer(parent);
    parent.is_some_and(Value::is_object) && document.pointer(path).is_none()
}

/// About the length of the value's JSON: only `copy` multiplies bytes, so only what it copies is measured.
fn size_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(size_bytes).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(name, value)| name.len() + 4 + size_bytes(value))
                .sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_operation_does_what_the_rfc_says() {
        let cases = [
            (
                json!([{"op": "add", "path": "/a/-", "value": 3}]),
                json!({"a": [1, 2, 3], "b": "x"}),
            ),
            (
                json!([{"op": "remove", "path": "/a/0"}]),
                json!({"a": [2], "b": "x"}),
            ),
            (
                json!([{"op": "replace", "path": "/b", "value": "y"}]),
                json!({"a": [1, 2], "b": "y"}),
            ),
            (
                json!([{"op": "move", "from": "/b", "path": "/c"}]),
                json!({"a": [1, 2], "c": "x"}),
            ),
            (
                json!([{"op": "copy", "from": "/b", "path": "/c"}]),
                json!({"a": [1, 2], "b": "x", "c": "x"}),
            ),
            (
                json!([{"op": "test", "path": "/b", "value": "x"}]),
                json!({"a": [1, 2], "b": "x"}),
            ),
            (
                json!([{"op": "test", "path": "/none", "value": null}]),
                json!({"a": [1, 2], "b": "x"}),
            ),
        ];
        for (patch, expected) in cases {
            let mut document = json!({"a": [1, 2], "b": "x"});
            apply(&mut document, &patch).unwrap();
            assert_eq!(document, expected, "{patch}");
        }
    }

    #[test]
    fn failures_carry_upstreams_codes() {
        let cases = [
            (
                json!([{"op": "test", "path": "/b", "value": 2}]),
                Reason::Invalid,
            ),
            (json!([{"op": "remove", "path": "/none"}]), Reason::Invalid),
            (
                json!([{"op": "test", "path": "/none/deeper", "value": null}]),
                Reason::Invalid,
            ),
            (json!({"op": "add"}), Reason::BadRequest),
            (
                json!([{"op": "frobnicate", "path": "/b"}]),
                Reason::BadRequest,
            ),
        ];
        for (patch, reason) in cases {
            let status = apply(&mut json!({"b": 1}), &patch).unwrap_err();
            assert_eq!(status.reason, reason, "{patch}");
        }
    }

    #[test]
    fn operations_and_growth_are_bounded() {
        let many: Vec<Value> = (0..=limits::PATCH_OPS)
            .map(|_| json!({"op": "test", "path": "", "value": {}}))
            .collect();
        let status = apply(&mut json!({}), &Value::Array(many)).unwrap_err();
        assert_eq!(status.reason, Reason::RequestEntityTooLarge);
        let doubling: Vec<Value> = (0..40)
            .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
            .collect();
        let status = apply(&mut json!({"a": ["x"]}), &Value::Array(doubling)).unwrap_err();
        assert_eq!(status.reason, Reason::RequestEntityTooLarge);
    }
}
