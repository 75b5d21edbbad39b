//! JSON merge patch (RFC 7386): null removes, objects merge, all else replaces.

use kontiki_base::status::Status;
use serde_json::Value;

/// Applies `patch` to `document`.
pub(crate) fn apply(document: &mut Value, patch: &Value) -> Result<(), Status> {
    if !patch.is_object() {
        return Err(Status::bad_request("Invalid JSON Patch"));
    }
    json_patch::merge(document, patch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_removes_objects_merge_and_lists_are_replaced() {
        let cases = [
            (json!({"a": 1}), json!({"a": null}), json!({})),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 3}}),
                json!({"a": {"b": 3, "c": 2}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                json!({"a": 1}),
                json!({"a": {"b": {"c": null}}}),
                json!({"a": {"b": {}}}),
            ),
            (json!({}), json!({"a": null}), json!({})),
        ];
        for (mut document, patch, expected) in cases {
            apply(&mut document, &patch).unwrap();
            assert_eq!(document, expected, "{patch}");
        }
        assert!(apply(&mut json!({}), &json!([1])).is_err());
    }
}
