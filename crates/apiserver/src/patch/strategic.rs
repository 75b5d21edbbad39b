//! Strategic merge patch: like a merge patch, but lists merge by a key that the kind's schema names, and directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/f`, `$deleteFromPrimitiveList/f`) say what merging alone cannot.
//!
//! After `apimachinery/pkg/util/strategicpatch`, the applying half.

use std::collections::{HashMap, HashSet};

use kontiki_api::managed_fields::Shape;
use kontiki_base::status::{Reason, Status};
use serde_json::{Map, Value};

use super::order;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Fields = Map<String, Value>;

/// Applies `patch` to `document` along its schema.
pub(crate) fn apply(shape: Shape<'_>, document: &mut Value, patch: &Value) -> Result<(), Status> {
    let (Value::Object(document), Value::Object(patch)) = (document, patch) else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    merge_fields(shape, document, patch.clone())
}

fn merge_fields(shape: Shape<'_>, original: &mut Fields, mut patch: Fields) -> Result<(), Status> {
    match patch.remove(PATCH) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => {
            *original = without_directives(Value::Object(patch))
                .as_object()
                .cloned()
                .unwrap_or_default();
            return Ok(());
        }
        Some(Value::String(directive)) if directive == "delete" => {
            original.clear();
            return Ok(());
        }
        Some(Value::String(directive)) if directive == "merge" => {}
        Some(other) => return Err(bad(format!("unknown patch type found: {other}"))),
    }
    if let Some(retained) = patch.remove(RETAIN_KEYS) {
        retain(original, &patch, &retained)?;
    }
    let ordered: Vec<String> = patch
        .keys()
        .filter_map(|name| name.strip_prefix(ELEMENT_ORDER).map(str::to_owned))
        .collect();
    for name in ordered {
        merge_ordered(shape, original, &mut patch, &name)?;
    }
    for (name, value) in patch {
        merge_field(shape, original, name, value)?;
    }
    Ok(())
}

/// `$retainKeys` lists all keys that may stay; it has to name those that the patch sets.
fn retain(original: &mut Fields, patch: &Fields, retained: &Value) -> Result<(), Status> {
    let wrong = || bad("invalid patch format of retainKeys");
    let names = retained.as_array().ok_or_else(wrong)?;
    let names: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
    let is_named = |name: &str| names.contains(name);
    let is_set = |(name, value): (&String, &Value)| !value.is_null() && !name.starts_with('$');
    if patch
        .iter()
        .any(|field| is_set(field) && !is_named(field.0))
    {
        return Err(wrong());
    }
    original.retain(|name, _| is_named(name));
    Ok(())
}

fn merge_field(
    shape: Shape<'_>,
    original: &mut Fields,
    name: String,
    value: Value,
) -> Result<(), Status> {
    if let Some(name) = name.strip_prefix(DELETE_PRIMITIVES) {
        let gone = value
            .as_array()
            .ok_or_else(|| bad("invalid patch format of primitive list"))?;
        if let Some(items) = original.get_mut(name).and_then(Value::as_array_mut) {
            let gone: HashSet<&Value> = gone.iter().collect();
            items.retain(|item| !gone.contains(item));
        }
        return Ok(());
    }
    let field = shape.field(&name);
    match (original.get_mut(&name), value) {
        (_, Value::Null) => {
            original.remove(&name);
        }
        (Some(Value::Object(current)), Value::Object(patch)) if !field.patch_replaces() => {
            merge_fields(field, current, patch)?;
        }
        (Some(Value::Array(current)), Value::Array(patch)) if field.patch_merges() => {
            *current = merge_items(field, std::mem::take(current), patch)?;
        }
        (_, value) => {
            original.insert(name, without_directives(value));
        }
    }
    Ok(())
}

/// A list whose final order the patch gives in `$setElementOrder/name`.
fn merge_ordered(
    shape: Shape<'_>,
    original: &mut Fields,
    patch: &mut Fields,
    name: &str,
) -> Result<(), Status> {
    let wrong = || bad("invalid patch format of setElementOrder list");
    let wanted = patch.remove(&format!("{ELEMENT_ORDER}{name}"));
    let Some(Value::Array(wanted)) = wanted else {
        return Err(wrong());
    };
    let field = shape.field(name);
    let before = original.get(name).and_then(Value::as_array).cloned();
    let gone = patch.remove(&format!("{DELETE_PRIMITIVES}{name}"));
    if let Some(gone) = gone {
        merge_field(shape, original, format!("{DELETE_PRIMITIVES}{name}"), gone)?;
    }
    match patch.remove(name) {
        Some(value @ Value::Array(_)) => {
            merge_field(shape, original, name.to_owned(), value)?;
        }
        Some(value) => return merge_field(shape, original, name.to_owned(), value),
        None => {}
    }
    if let Some(items) = original.get_mut(name).and_then(Value::as_array_mut) {
        let merged = std::mem::take(items);
        let before = before.unwrap_or_default();
        *items = order::normalize(merged, &wanted, &before, field.patch_merge_key());
    }
    Ok(())
}

fn merge_items(
    shape: Shape<'_>,
    original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, Status> {
    let Some(merge_key) = shape.patch_merge_key() else {
        return Ok(union(original, patch));
    };
    if patch.iter().chain(&original).all(|item| !item.is_object()) {
        return Ok(union(original, patch));
    }
    let mut items = original;
    let mut gone = HashSet::new();
    let mut plain = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        match item.get(PATCH).and_then(Value::as_str) {
            None => plain.push(item),
            Some("replace") => replaces = true,
            Some("delete") => {
                gone.insert(key_of(&item, merge_key)?);
            }
            Some("merge") => return Err(bad("merging list cannot yet be specified in the patch")),
            Some(other) => return Err(bad(format!("unknown patch type found: {other}"))),
        }
    }
    let is_gone = |item: &Value| item.get(merge_key).is_some_and(|key| gone.contains(key));
    items.retain(|item| !is_gone(item));
    if replaces {
        return Ok(plain.into_iter().map(without_directives).collect());
    }
    let mut places: HashMap<Value, usize> = HashMap::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        if let Some(key) = item.get(merge_key) {
            places.entry(key.clone()).or_insert(place);
        }
    }
    for item in plain {
        let key = key_of(&item, merge_key)?;
        let current = places.get(&key).and_then(|place| items.get_mut(*place));
        match (current, item) {
            (Some(Value::Object(current)), Value::Object(patch)) => {
                merge_fields(shape.item(), current, patch)?;
            }
            (_, item) => {
                places.insert(key, items.len());
                items.push(without_directives(item));
            }
        }
    }
    Ok(items)
}

fn union(mut original: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    original.extend(patch);
    let mut seen = HashSet::with_capacity(original.len());
    let is_first: Vec<bool> = original.iter().map(|item| seen.insert(item)).collect();
    let mut is_first = is_first.into_iter();
    original.retain(|_| is_first.next().unwrap_or(true));
    original
}

fn key_of(item: &Value, merge_key: &str) -> Result<Value, Status> {
    item.get(merge_key).cloned().ok_or_else(|| {
        let message = format!("map: {item} does not contain declared merge key: {merge_key}");
        Status::new(Reason::Invalid, message)
    })
}

/// What is new is taken as it is, but for nulls and directives, which have nothing to act on.
fn without_directives(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_plain = |(name, value): &(String, Value)| {
                !value.is_null() && (!name.starts_with('$') || !is_directive(name))
            };
            let fields = fields.into_iter().filter(is_plain);
            Value::Object(
                fields
                    .map(|(name, value)| (name, without_directives(value)))
                    .collect(),
            )
        }
        Value::Array(items) => {
            let items = items.into_iter().filter(|item| item.get(PATCH).is_none());
            Value::Array(items.map(without_directives).collect())
        }
        scalar => scalar,
    }
}

fn is_directive(name: &str) -> bool {
    name == PATCH
        || name == RETAIN_KEYS
        || name.starts_with(ELEMENT_ORDER)
        || name.starts_with(DELETE_PRIMITIVES)
}

fn bad(message: impl Into<String>) -> Status {
    Status::bad_request(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_api::kinds;
    use serde_json::json;

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"finalizers": ["a", "b"]}, "spec": spec})
    }

    fn patched(original: &Value, patch: &Value) -> Result<Value, Status> {
        let kind = kinds::by_resource("pods").unwrap();
        let mut document = original.clone();
        apply(Shape::of(kind.schema()), &mut document, patch)?;
        Ok(document)
    }

    #[test]
    fn lists_merge_by_key_and_directives_act() {
        let two = json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}]);
        let spec = pod(json!({"containers": two, "nodeSelector": {"k": "v", "l": "w"}}));
        let cases = [
            (
                json!({"containers": [{"name": "b", "image": "3"}]}),
                json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "3"}]),
            ),
            (
                json!({"containers": [{"name": "a", "$patch": "delete"}]}),
                json!([{"name": "b", "image": "2"}]),
            ),
            (
                json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
                json!([{"name": "c"}]),
            ),
            (
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "b", "image": "3"}]}),
                json!([{"name": "b", "image": "3"}, {"name": "a", "image": "1", "args": ["x"]}]),
            ),
            (
                json!({"containers": [{"name": "a", "args": ["y"], "image": null}]}),
                json!([{"name": "a", "args": ["y"]}, {"name": "b", "image": "2"}]),
            ),
        ];
        for (patch, expected) in cases {
            let out = patched(&spec, &json!({"spec": patch})).unwrap();
            assert_eq!(out["spec"]["containers"], expected, "{patch}");
        }
        let map = json!({"spec": {"nodeSelector": {"k": null, "m": "x"}}});
        assert_eq!(
            patched(&spec, &map).unwrap()["spec"]["nodeSelector"],
            json!({"l": "w", "m": "x"})
        );
        let map = json!({"spec": {"nodeSelector": {"$patch": "replace", "m": "x"}}});
        assert_eq!(
            patched(&spec, &map).unwrap()["spec"]["nodeSelector"],
            json!({"m": "x"})
        );
        let map = json!({"spec": {"nodeSelector": {"$retainKeys": ["k"], "k": "z"}}});
        assert_eq!(
            patched(&spec, &map).unwrap()["spec"]["nodeSelector"],
            json!({"k": "z"})
        );
    }

    #[test]
    fn primitive_lists_grow_shrink_and_are_ordered() {
        let cases = [
            (json!({"finalizers": ["c", "a"]}), json!(["a", "b", "c"])),
            (
                json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
                json!(["b"]),
            ),
            (
                json!({"$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"],
                "$deleteFromPrimitiveList/finalizers": ["a"]}),
                json!(["c", "b"]),
            ),
        ];
        for (patch, expected) in cases {
            let out = patched(&pod(json!({})), &json!({"metadata": patch})).unwrap();
            assert_eq!(out["metadata"]["finalizers"], expected, "{patch}");
        }
    }

    #[test]
    fn malformed_directives_are_refused() {
        let spec = pod(json!({"containers": [{"name": "a"}]}));
        let cases = [
            (json!({"containers": [{"image": "x"}]}), Reason::Invalid),
            (
                json!({"containers": [{"name": "a", "$patch": "frob"}]}),
                Reason::BadRequest,
            ),
            (json!({"$patch": "frob"}), Reason::BadRequest),
            (
                json!({"$retainKeys": ["a"], "hostname": "h"}),
                Reason::BadRequest,
            ),
            (
                json!({"$setElementOrder/containers": 1}),
                Reason::BadRequest,
            ),
        ];
        for (patch, reason) in cases {
            let status = patched(&spec, &json!({"spec": patch})).unwrap_err();
            assert_eq!(status.reason, reason, "{patch}");
        }
    }
}
