//! Pruning: what the schema doesn't name goes (upstream's `schema/pruning`).
//!
//! Not here: `apiVersion`, `kind` and `metadata` of a resource, which have a schema of their own.

use serde_json::Value;

use super::structural::{META_FIELDS, Structural};

/// Removed paths kept for one object; more are dropped silently, as they tell nothing new.
const MAX_TOLD: usize = 100;
/// And so many bytes of each path.
const PATH_BYTES: usize = 1024;

/// Removes what the schema of a resource doesn't name. Answers the removed paths in order.
pub(crate) fn prune(schema: &Structural, object: &mut Value) -> Vec<String> {
    let mut pruner = Pruner::default();
    pruner.prune(Some(schema), object, true);
    pruner.removed.sort();
    pruner.removed
}

#[derive(Default)]
struct Pruner {
    path: String,
    removed: Vec<String>,
}

impl Pruner {
    fn at<T>(&mut self, step: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        if len > 0 && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let walked = walk(self);
        self.path.truncate(len);
        walked
    }

    fn tell(&mut self, name: &str) {
        if self.removed.len() < MAX_TOLD {
            let mut path = self.at(name, |this| this.path.clone());
            path.truncate(path.floor_char_boundary(PATH_BYTES));
            self.removed.push(path);
        }
    }

    /// `is_resource`: the value has the fields of every object besides those that its schema names.
    fn prune(&mut self, schema: Option<&Structural>, value: &mut Value, is_resource: bool) {
        match value {
            Value::Object(fields) => {
                let keeps_all = schema.is_some_and(|schema| schema.preserves_unknown);
                let mut unknown = Vec::new();
                for (name, value) in fields.iter_mut() {
                    if is_resource && META_FIELDS.contains(&name.as_str()) {
                        continue;
                    }
                    let of = schema.and_then(|schema| schema.field(name));
                    let is_known =
                        of.is_some() || schema.is_some_and(|schema| schema.additional.is_some());
                    match (is_known, keeps_all) {
                        (true, _) if of.is_none() && keeps_all => {}
                        (true, _) => {
                            let is_resource = of.is_some_and(|of| of.is_embedded);
                            self.at(name, |this| this.prune(of, value, is_resource));
                        }
                        (false, true) => {}
                        (false, false) => unknown.push(name.clone()),
                    }
                }
                for name in unknown {
                    fields.remove(&name);
                    self.tell(&name);
                }
            }
            Value::Array(items) => {
                let of = schema.and_then(|schema| schema.items.as_deref());
                if of.is_none() && schema.is_some_and(|schema| schema.preserves_unknown) {
                    return;
                }
                let is_resource = of.is_some_and(|of| of.is_embedded);
                for (idx, item) in items.iter_mut().enumerate() {
                    self.at(&format!("[{idx}]"), |this| {
                        this.prune(of, item, is_resource);
                    });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_no_schema_names_goes() {
        let schema = Structural::of(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object",
                    "properties": {"x": {"type": "integer"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object",
                    "properties": {"y": {"type": "string"}}}},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"known": {"type": "object"}}},
                "raw": {"type": "object", "x-kubernetes-embedded-resource": true,
                    "properties": {"data": {"type": "object"}}},
            }},
        }}));
        let mut object = json!({
            "apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n"}, "extra": 1,
            "spec": {
                "a": "x", "b": 1,
                "list": [{"x": 1}, {"x": 2, "z": 3}],
                "map": {"k": {"y": "1", "n": 2}},
                "any": {"free": {"is": "kept"}, "known": {"but": "empty"}},
                "raw": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {}},
            },
        });
        let removed = prune(&schema, &mut object);
        assert_eq!(
            removed,
            [
                "extra",
                "spec.any.known.but",
                "spec.b",
                "spec.list[1].z",
                "spec.map.k.n",
                "spec.raw.spec",
            ]
        );
        assert_eq!(
            object,
            json!({
                "apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n"},
                "spec": {
                    "a": "x",
                    "list": [{"x": 1}, {"x": 2}],
                    "map": {"k": {"y": "1"}},
                    "any": {"free": {"is": "kept"}, "known": {}},
                    "raw": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}},
                },
            })
        );
    }
}
