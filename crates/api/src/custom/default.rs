//! Defaulting along a structural schema (upstream's `schema/defaulting`).

use serde_json::Value;

use super::structural::Structural;

/// Drops nulls where null is no value, then fills in what is absent and has a default, as deep as the object goes.
pub(crate) fn default(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !value.is_null() || takes_null(schema.field(name)));
            for (name, of) in &schema.properties {
                if let Some(default) = &of.default
                    && !fields.contains_key(&**name)
                {
                    fields.insert(name.to_string(), default.clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(of) = schema.field(name) {
                    self::default(of, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = &schema.items else { return };
            for item in items {
                if let (Value::Null, false, Some(default)) = (&*item, of.nullable, &of.default) {
                    *item = default.clone();
                }
                self::default(of, item);
            }
        }
        _ => {}
    }
}

/// Whether null may stand here: where nothing is known of the field, it stays as it was sent.
fn takes_null(schema: Option<&Structural>) -> bool {
    schema.is_none_or(|schema| schema.nullable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_fill_what_is_absent_and_nulls_that_are_no_values() {
        let schema = Structural::of(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "default": {}, "properties": {
                "foo": {"type": "string", "default": "d"},
                "bar": {"type": "string", "nullable": true, "default": "e"},
                "baz": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object",
                    "properties": {"x": {"type": "integer", "default": 1}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object",
                    "properties": {"y": {"type": "boolean", "default": true}}}},
            }},
        }}));
        for (sent, expected) in [
            (json!({}), json!({"spec": {"foo": "d", "bar": "e"}})),
            (
                json!({"spec": {"foo": null, "bar": null, "baz": null}}),
                json!({"spec": {"foo": "d", "bar": null}}),
            ),
            (
                json!({"spec": {"foo": "", "bar": "", "list": [{}, {"x": 2}], "map": {"k": {}}}}),
                json!({"spec": {"foo": "", "bar": "", "list": [{"x": 1}, {"x": 2}],
                    "map": {"k": {"y": true}}}}),
            ),
        ] {
            let mut object = sent;
            default(&schema, &mut object);
            assert_eq!(object, expected);
        }
    }
}
