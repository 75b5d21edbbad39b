//! Table answers (`meta.k8s.io/v1 Table`), which kubectl prints as they come.
//!
//! Not here: the cells of each kind (`kinds/`).

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::meta::Meta;
use crate::time;

/// What each row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// A `PartialObjectMetadata` (the default).
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// The value of the `includeObject` query parameter.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// The `columnDefinitions` of a kind.
pub fn column_definitions(kind: &Kind) -> Value {
    kind.columns()
}

/// One row.
pub fn row(kind: &Kind, object: Value, include: IncludeObject, now_unix_ms: u64) -> Value {
    let cells = kind.row(&object, now_unix_ms);
    match include {
        IncludeObject::None => json!({"cells": cells, "object": null}),
        IncludeObject::Metadata => json!({"cells": cells, "object": partial_metadata(object)}),
        IncludeObject::Object => json!({"cells": cells, "object": object}),
    }
}

/// A table of rows; `metadata` is the list's (`resourceVersion`, `continue`, ...).
/// Watch events leave the columns out after the first.
pub fn table(kind: &Kind, metadata: Value, rows: Vec<Value>, with_columns: bool) -> Value {
    let columns = if with_columns {
        column_definitions(kind)
    } else {
        Value::Null
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The `PartialObjectMetadata` of an object.
pub fn partial_metadata(mut object: Value) -> Value {
    let metadata = object
        .get_mut("metadata")
        .map(Value::take)
        .unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// The name cell.
pub fn name(object: &Value) -> Value {
    Meta::of(object).name().into()
}

/// The age cell.
pub fn age(object: &Value, now_unix_ms: u64) -> Value {
    time::age(Meta::of(object).get("creationTimestamp"), now_unix_ms).into()
}

/// A text field by JSON pointer, or `otherwise`.
pub fn text(object: &Value, pointer: &str, otherwise: &str) -> Value {
    let found = object
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty());
    found.unwrap_or(otherwise).into()
}

/// The number of entries of an object or list by JSON pointer.
pub fn count(object: &Value, pointer: &str) -> usize {
    match object.pointer(pointer) {
        Some(Value::Object(fields)) => fields.len(),
        Some(Value::Array(items)) => items.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn tables_have_a_cell_per_column_and_partial_objects() {
        for kind in KINDS {
            let object = json!({"metadata": {"name": "x"}, "spec": {}});
            let row = row(kind, object, IncludeObject::Metadata, 0);
            let table = table(kind, json!({}), vec![row], true);
            let columns = table["columnDefinitions"].as_array().unwrap();
            assert_eq!(
                columns.len(),
                table["rows"][0]["cells"].as_array().unwrap().len()
            );
            assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        }
    }
}
