//! How large the values of a schema may be: by its bounds, else by what fits into a request (upstream's
//! `apiserver/pkg/cel/common/schemas.go`, `limits.go`).

use std::collections::BTreeMap;

use crate::cel::{Below, Extent, escaped};
use crate::custom::structural::{META_FIELDS, Structural};

/// Largest request that upstream counts with.
const REQUEST_BYTES: u64 = 3 * 1024 * 1024;
/// `""`, `[]`, `{}`.
const EMPTY_BYTES: u64 = 2;
const DURATION_BYTES: (u64, u64) = (3, 32);
const DATE_BYTES: u64 = 12;
const MOMENT_BYTES: (u64, u64) = (21, 32);

/// The extent of a value of a schema; a resource has the fields of every object too.
pub(crate) fn extent_of(schema: &Structural, is_resource: bool) -> Extent {
    measured(schema, is_resource).extent
}

/// Values of a schema that one request may hold, when nothing bounds them.
pub(crate) fn most_in_a_request(schema: &Structural, is_resource: bool) -> u64 {
    REQUEST_BYTES / (measured(schema, is_resource).min_bytes + 1)
}

/// The bound of a list's elements or a map's entries; 1 of anything else.
pub(crate) fn bound_of(schema: &Structural) -> Option<u64> {
    let values = schema.values.as_ref();
    match &*schema.kind {
        "array" => values.and_then(|values| values.max_items),
        "object" => values.and_then(|values| values.max_properties),
        _ => Some(1),
    }
}

struct Measured {
    extent: Extent,
    /// The shortest JSON of such a value.
    min_bytes: u64,
}

fn leaf(max: u64, min_bytes: u64) -> Measured {
    let extent = Extent {
        max,
        below: Below::Nothing,
    };
    Measured { extent, min_bytes }
}

fn measured(schema: &Structural, is_resource: bool) -> Measured {
    if schema.is_int_or_string {
        return leaf(REQUEST_BYTES - EMPTY_BYTES, 1);
    }
    match &*schema.kind {
        "array" => {
            let item = schema.items.as_deref();
            let item = item.map_or(leaf(0, 1), |of| measured(of, of.is_embedded));
            let max = bound_of(schema);
            let max = max.unwrap_or((REQUEST_BYTES - EMPTY_BYTES) / (item.min_bytes + 1));
            within(max, Below::Items(Box::new(item.extent)))
        }
        "object" => match schema.additional_schema() {
            Some(of) if schema.properties.is_empty() => {
                let value = measured(of, of.is_embedded);
                // A key of no letters, a colon and a comma.
                let entry = value.min_bytes + 6;
                let max = bound_of(schema).unwrap_or((REQUEST_BYTES - EMPTY_BYTES) / entry);
                within(max, Below::Values(Box::new(value.extent)))
            }
            _ => object(schema, is_resource),
        },
        "integer" | "number" => leaf(0, 1),
        "boolean" => leaf(0, 4),
        "string" => text(schema),
        _ => leaf(0, 1),
    }
}

fn within(max: u64, below: Below) -> Measured {
    Measured {
        extent: Extent { max, below },
        min_bytes: EMPTY_BYTES,
    }
}

fn object(schema: &Structural, is_resource: bool) -> Measured {
    let required = schema.values.as_ref().map_or(&[][..], |it| &it.required);
    let mut min_bytes = EMPTY_BYTES;
    let mut fields = BTreeMap::new();
    for (name, of) in &schema.properties {
        if is_resource && META_FIELDS.contains(&&**name) {
            continue;
        }
        let field = measured(of, of.is_embedded);
        // A default is filled in by the server.
        if required.contains(name) && of.default.is_none() {
            min_bytes += name.len() as u64 + field.min_bytes + 4;
        }
        fields.extend(escaped(name).map(|name| (name, field.extent)));
    }
    if is_resource {
        let any = || leaf(REQUEST_BYTES - EMPTY_BYTES, EMPTY_BYTES).extent;
        let metadata = ["name", "generateName"].map(|name| (name.to_owned(), any()));
        let metadata = Below::Fields(metadata.into());
        fields.insert("apiVersion".to_owned(), any());
        fields.insert("kind".to_owned(), any());
        fields.insert("metadata".to_owned(), within(0, metadata).extent);
    }
    Measured {
        min_bytes,
        ..within(0, Below::Fields(fields))
    }
}

fn text(schema: &Structural) -> Measured {
    let values = schema.values.as_deref();
    let max = values.and_then(|values| values.max_length);
    let any = REQUEST_BYTES - EMPTY_BYTES;
    match values.and_then(|values| values.format.as_deref()) {
        Some("byte") => leaf(max.unwrap_or(any), EMPTY_BYTES),
        Some("duration") => leaf(DURATION_BYTES.1, DURATION_BYTES.0),
        Some("date") => leaf(DATE_BYTES, DATE_BYTES),
        Some("date-time") => leaf(MOMENT_BYTES.1, MOMENT_BYTES.0),
        _ => {
            let choices = values.map_or(&[][..], |values| &values.values);
            let choices = choices.iter().filter_map(|choice| choice.as_str());
            let longest = choices.map(|choice| choice.len() as u64).max();
            // A bound counts characters, of four bytes at most.
            let max = max.map(|max| max.saturating_mul(4)).or(longest);
            leaf(max.unwrap_or(any), EMPTY_BYTES)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn max(schema: serde_json::Value) -> u64 {
        extent_of(&Structural::of(&schema), false).max
    }

    #[test]
    fn bounds_are_the_schemas_else_the_requests() {
        assert_eq!(max(json!({"type": "string", "maxLength": 10})), 40);
        assert_eq!(max(json!({"type": "string", "enum": ["a", "abc"]})), 3);
        assert_eq!(max(json!({"type": "string"})), 3_145_726);
        assert_eq!(max(json!({"type": "string", "format": "date"})), 12);
        assert_eq!(
            max(json!({"type": "array", "maxItems": 7, "items": {"type": "integer"}})),
            7
        );
        assert_eq!(
            max(json!({"type": "array", "items": {"type": "integer"}})),
            3_145_726 / 2
        );
        let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
        assert_eq!(max(map), 3_145_726 / 8);
        let item = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}});
        assert_eq!(max(json!({"type": "array", "items": item})), 3_145_726 / 13);
    }
}
